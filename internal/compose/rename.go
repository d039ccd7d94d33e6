package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rename is a name that no Kubernetes Service can have, and the one that the service has instead.
type rename struct {
	from, to string
	address  *regexp.Regexp
}

// renames are those of a stack, sorted.
type renames []rename

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

// in is a text with names that can be resolved; say is told of each that was another. The text is the value of a variable, or of none.
func (rs renames) in(text, variable string, say func(r rename)) string {
	for _, r := range rs {
		was := text
		if text == r.from && hostLike.MatchString(variable) {
			text = r.to
		}
		if text = r.apply(text); text != was {
			say(r)
		}
	}
	return text
}

// renamed is a text of a service with names that can be resolved.
func (u *unit) renamed(field, text string) string {
	top, key, _ := strings.Cut(field, ".")
	variable := ""
	if top == "environment" {
		variable = key
	}
	return u.c.renames.in(text, variable, func(r rename) {
		u.note(top, key, "no Kubernetes Service can have the name %q: it is written %s here", r.from, r.to)
	})
}

// Renamed is what a test is told, its command or the value of a variable of its own, with names that can be resolved, as those of services
// are. The sentences say which names were others.
func (s *Stack) Renamed(text, variable string) (string, []string) {
	var told []string
	text = s.renames.in(text, variable, func(r rename) {
		told = append(told, fmt.Sprintf("no Kubernetes Service can have the name %q: it is written %s", r.from, r.to))
	})
	return text, told
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
