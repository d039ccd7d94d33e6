package repoconfig

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
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
	// refuse returns what a string that matches the pattern must be or must not be; "" if it is valid.
	refuse func(text string) string
	// correct returns what was probably meant by an invalid string.
	correct func(text string) string
}

// element matches one element of a path: not "..", without slashes, backslashes and control characters.
const element = `(\.|\.?[^./\\\x00-\x1f][^/\\\x00-\x1f]*|\.\.[^/\\\x00-\x1f]+)`

var formats = map[string]format{
	"version": {kind: "integer", least: 1, most: 1, what: "1, the only supported version"},
	"port":    {kind: "integer", least: 1, most: 65535, what: "a port between 1 and 65535"},
	"retry":   {kind: "integer", least: 0, most: 5, what: "a number between 0 and 5"},
	"shards":  {kind: "integer", least: 1, most: 32, what: "a number between 1 and 32"},
	"glob": {kind: "string", length: 1024, pattern: regexp.MustCompile(`^/?` + element + `(/` + element + `)*/?$`), refuse: refuseGlob,
		what: "a pattern of paths with slashes and without ..: relative to the working directory, or absolute such as /out/*.xml"},
	"label": {kind: "string", length: 63, correct: asLabel, pattern: regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`),
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
		if f.refuse == nil {
			return ""
		}
		problem := f.refuse(text)
		if problem != "" {
			problem += ", but is " + show(text)
		}
		return problem
	}
	return fmt.Sprintf("must be %s, but is %s", f.what, show(text))
}

// instead returns the valid text that was probably meant by an invalid one; "" if that is not known.
func (f format) instead(text string) string {
	guess := ""
	switch {
	case f.kind == "integer" && f.least == f.most:
		guess = strconv.Itoa(f.least)
	case f.correct != nil:
		guess = f.correct(text)
	}
	if f.check(guess) != "" {
		return ""
	}
	return guess
}

// asLabel turns a name such as My_Suite into a label.
func asLabel(text string) string {
	return strings.Trim(strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(strings.ToLower(text)), "-")
}

// refuseGlob refuses absolute patterns that search the whole file system or that of the kernel.
func refuseGlob(text string) string {
	if !path.IsAbs(text) {
		return ""
	}
	switch first, _, _ := strings.Cut(path.Clean(text)[1:], "/"); {
	case first == "" || strings.ContainsAny(first, "*?[{"):
		return "must begin with the name of a directory, as in /out/**; the whole file system is not searched"
	case first == "proc" || first == "sys" || first == "dev":
		return "must not begin in /proc, /sys or /dev"
	}
	return ""
}

// Limits of durations: Kubernetes counts deadlines in whole seconds, and more than a year is a mistake.
const (
	shortest = time.Second
	longest  = 366 * 24 * time.Hour
)

var days = regexp.MustCompile(`^([0-9]{1,4})\s*(d|days?|w|weeks?)$`)

// duration parses a duration, or returns what is wrong with it.
func duration(text string) (time.Duration, string) {
	if hours := inHours(text); hours != "" {
		return 0, fmt.Sprintf("must be %s; the largest unit is h: write %s", formats["duration"].what, hours)
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

// inHours returns a number of days or weeks as a duration; "" for any other text.
func inHours(text string) string {
	m := days.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	hours := 24
	if m[2][0] == 'w' {
		hours *= 7
	}
	n, _ := strconv.Atoi(m[1]) // at most four digits
	return strconv.Itoa(n*hours) + "h"
}
