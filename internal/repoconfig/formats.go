package repoconfig

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

// format constrains a scalar. Parser and schema use the same formats.
type format struct {
	// kind is the type in JSON Schema: string or integer.
	kind string
	// pattern constrains strings. It is valid in both Go and ECMA 262: no look-around.
	pattern *regexp.Regexp
	// length is the maximum length of a string, in characters.
	length int
	// least and most constrain an integer.
	least, most int
	// what completes "must be ...".
	what string
}

// element matches one element of a path: not "..", without slashes, backslashes and control characters.
const element = `(\.|\.?[^./\\\x00-\x1f][^/\\\x00-\x1f]*|\.\.[^/\\\x00-\x1f]+)`

var formats = map[string]format{
	"version": {kind: "integer", least: 1, most: 1, what: "1, the only supported version"},
	"port":    {kind: "integer", least: 1, most: 65535, what: "a port between 1 and 65535"},
	"retry":   {kind: "integer", least: 0, most: 5, what: "a number between 0 and 5"},
	"shards":  {kind: "integer", least: 1, most: 32, what: "a number between 1 and 32"},
	"glob": {kind: "string", length: 1024, pattern: regexp.MustCompile(`^` + element + `(/` + element + `)*/?$`),
		what: "a pattern of paths below the working directory: relative, with slashes, without .."},
	"label": {kind: "string", length: 63, pattern: regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`),
		what: "lowercase letters, digits and dashes, at most 63 characters, starting and ending with a letter or digit"},
	"env": {kind: "string", length: 255, pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`),
		what: "the name of an environment variable: letters, digits and underscores, not starting with a digit"},
	"value": {kind: "string", length: 64 << 10, pattern: regexp.MustCompile(`^[^\x00]*$`), what: "a string without NUL characters, of at most 64 KiB"},
	"path": {kind: "string", length: 1024, pattern: regexp.MustCompile(`^` + element + `(/` + element + `)*/?$`),
		what: "a path inside the repository: relative, with slashes, without .."},
	"image": {kind: "string", length: 512, pattern: regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._:/@]*$`),
		what: "a key of build.images, a compose service or an image reference"},
	"service": {kind: "string", length: 255, pattern: regexp.MustCompile(`^[A-Za-z0-9._][-A-Za-z0-9._]*$`), what: "the name of a compose service"},
	"profile": {kind: "string", length: 255, pattern: regexp.MustCompile(`^(\*|[A-Za-z0-9][-A-Za-z0-9._]*)$`), what: "the name of a compose profile, or *"},
	"target":  {kind: "string", length: 255, pattern: regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._]*$`), what: "the name of a build stage"},
	"line": {kind: "string", length: 64 << 10, pattern: regexp.MustCompile(`^[^\x00]*[^\s\x00][^\x00]*$`),
		what: "a command that is not empty, without NUL characters"},
	"keep": {kind: "string", length: 64, pattern: regexp.MustCompile(`^(forever|([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+)$`),
		what: "forever or a duration such as 24h"},
	"duration": {kind: "string", length: 64, pattern: regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`),
		what: "a duration such as 90s, 30m or 24h"},
}

// check returns what is wrong with a string; "" if it is valid.
func (f format) check(text string) string {
	if f.kind == "integer" {
		n, err := strconv.Atoi(text)
		if err == nil && n >= f.least && n <= f.most {
			return ""
		}
	} else if f.pattern != nil && utf8.RuneCountInString(text) <= f.length && f.pattern.MatchString(text) {
		return ""
	}
	return fmt.Sprintf("must be %s, but is %s", f.what, show(text))
}

// Limits of durations: Kubernetes counts deadlines in whole seconds, and more than a year is a mistake.
const (
	shortest = time.Second
	longest  = 366 * 24 * time.Hour
)

var days = regexp.MustCompile(`^([0-9]{1,4})\s*(d|days?|w|weeks?)$`)

// duration parses a duration, or returns what is wrong with it.
func duration(text string) (time.Duration, string) {
	if m := days.FindStringSubmatch(text); m != nil {
		hours := 24
		if m[2][0] == 'w' {
			hours *= 7
		}
		if n, err := strconv.Atoi(m[1]); err == nil {
			hours *= n
		}
		return 0, fmt.Sprintf("must be %s; the largest unit is h: write %dh", formats["duration"].what, hours)
	}
	if problem := formats["duration"].check(text); problem != "" {
		return 0, problem
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortest || d > longest {
		return 0, fmt.Sprintf("must be between %s and %dh, but is %s", shortest, int(longest.Hours()), show(text))
	}
	return d, ""
}
