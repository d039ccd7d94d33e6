package compose

import (
	"regexp"
	"slices"
	"strings"
)

// rename is a name that no Kubernetes Service can have, and the one that the service has instead.
type rename struct {
	from, to string
	address  *regexp.Regexp
}

// addRename has texts of the stack that use a name as a host use another.
func (c *converter) addRename(from, to string) {
	if slices.ContainsFunc(c.renames, func(r rename) bool { return r.from == from }) {
		return
	}
	name := regexp.QuoteMeta(from)
	c.renames = append(c.renames, rename{from, to, regexp.MustCompile(
		`((?:^|[/@,;=\s"'\[(])` + name + `)(:\d)|((?:://|@)` + name + `)($|[/\s,;"'\])?])|(\bserver\s+` + name + `)(\s*;)`)})
	slices.SortFunc(c.renames, func(a, b rename) int { return strings.Compare(a.from, b.from) })
}

// apply changes the name where a text uses it as the host of an address, and nowhere else.
func (r rename) apply(text string) string {
	if !strings.Contains(text, r.from) {
		return text
	}
	// One host's end can be the next one's beginning, so that a second look finds what the first has stepped over.
	for range 2 {
		text = r.address.ReplaceAllStringFunc(text, func(m string) string {
			i := strings.LastIndex(m, r.from)
			return m[:i] + r.to + m[i+len(r.from):]
		})
	}
	return text
}

// hostLike matches the names of variables whose whole value is a host.
var hostLike = regexp.MustCompile(`(?i)host|addr|server|endpoint|broker|upstream|url`)

// renamed is a text of a service with names that can be resolved.
func (u *unit) renamed(field, text string) string {
	out := text
	_, key, _ := strings.Cut(field, ".")
	for _, r := range u.c.renames {
		was := out
		if out == r.from && strings.HasPrefix(field, "environment.") && hostLike.MatchString(key) {
			out = r.to
		}
		if out = r.apply(out); out != was {
			top, _, _ := strings.Cut(field, ".")
			u.note(top, key, "no Kubernetes Service can have the name %q: it is written %s here", r.from, r.to)
		}
	}
	return out
}

// renamedFile is the content of a mounted file with names that can be resolved.
func (c *converter) renamedFile(name string, data []byte) []byte {
	if len(c.renames) == 0 || strings.ContainsRune(string(data), 0) {
		return data
	}
	text := string(data)
	for _, r := range c.renames {
		was := text
		if text = r.apply(text); text != was {
			c.findings = append(c.findings, Finding{File: name, Level: LevelNote, Outcome: Approximated,
				Reason: "no Kubernetes Service can have the name \"" + r.from + "\": it is written " + r.to + " in the copy of this file"})
		}
	}
	return []byte(text)
}
