package compose

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// renames maps names that no Kubernetes Service can have to the names used instead.
type renames map[string]string

// addRename replaces a host name in the texts of the stack.
func (c *converter) addRename(from, to string) {
	if _, ok := c.renames[from]; ok {
		return
	}
	if c.renames == nil {
		c.renames = renames{}
	}
	c.renames[from] = to
}

// host is a word in a text that could be a host name.
type host struct {
	from, to int
	// isAddress is set when its context proves that it is the host of an address, isRenamed when it counts as one if it is the name of a
	// service.
	isAddress, isRenamed bool
}

// hostsIn are the words of a text that could be hosts. Names of services have letters, digits, dots, dashes and underscores, and so a name
// is always a whole word.
func hostsIn(text string) iter.Seq[host] {
	return func(yield func(host) bool) {
		for i := 0; i < len(text); {
			if !isNameByte(text[i]) {
				i++
				continue
			}
			h := host{from: i}
			for i < len(text) && isNameByte(text[i]) {
				i++
			}
			h.to = i
			h.isAddress, h.isRenamed = roles(text[:h.from], text[h.to:])
			if (h.isAddress || h.isRenamed) && !yield(h) {
				return
			}
		}
	}
}

func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_' || b == '.'
}

const spaces = " \t\n\f\r"

// roles classifies a word by the text before and after it: HOST:PORT, scheme://HOST, user@HOST, or nginx's "server HOST;".
func roles(before, after string) (isAddress, isRenamed bool) {
	ends := func(chars string) bool { return before == "" || strings.IndexByte(chars, before[len(before)-1]) >= 0 }
	begins := func(chars string) bool { return after == "" || strings.IndexByte(chars, after[0]) >= 0 }
	hasPort := len(after) > 1 && after[0] == ':' && after[1] >= '0' && after[1] <= '9'
	isRemote := strings.HasSuffix(before, "://") || strings.HasSuffix(before, "@")
	isAddress = hasPort && ends("/@,="+spaces) || isRemote && begins("/,"+spaces)
	isRenamed = hasPort && ends(`/@,;="'[(`+spaces) || isRemote && begins(`/,;"'])?`+spaces) || isServer(before, after)
	return isAddress, isRenamed
}

// isServer reports whether a word is what nginx calls a server of an upstream: server HOST;
func isServer(before, after string) bool {
	end := strings.TrimLeft(after, spaces)
	if !strings.HasPrefix(end, ";") || !strings.HasSuffix(strings.TrimRight(before, spaces), "server") {
		return false
	}
	word := strings.TrimSuffix(strings.TrimRight(before, spaces), "server")
	last := byte(' ')
	if word != "" {
		last = word[len(word)-1]
	}
	return len(strings.TrimRight(before, spaces)) < len(before) && (!isNameByte(last) || last == '-' || last == '.')
}

// replaceHosts replaces names where a text uses them as the host of an address, and adds them to used.
func (rs renames) replaceHosts(text string, used map[string]bool) string {
	var b strings.Builder
	done := 0
	for h := range hostsIn(text) {
		to, ok := rs[text[h.from:h.to]]
		if !ok || !h.isRenamed {
			continue
		}
		used[text[h.from:h.to]] = true
		b.WriteString(text[done:h.from])
		b.WriteString(to)
		done = h.to
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// hostLike matches the names of variables whose whole value is a host.
var hostLike = regexp.MustCompile(`(?i)host|addr|server|endpoint|broker|upstream|url`)

// rewrite replaces names in a text and reports each. Variable is the one whose value the text is, or empty.
func (rs renames) rewrite(text, variable string, report func(from, to string)) string {
	if len(rs) == 0 {
		return text
	}
	used := map[string]bool{}
	if to, ok := rs[text]; ok && hostLike.MatchString(variable) {
		used[text] = true
		text = to
	} else {
		text = rs.replaceHosts(text, used)
	}
	for _, from := range slices.Sorted(maps.Keys(used)) {
		report(from, rs[from])
	}
	return text
}

// renamed replaces names in a text of a service, with a note.
func (u *unit) renamed(field, text string) string {
	top, key, _ := strings.Cut(field, ".")
	variable := ""
	if top == "environment" {
		variable = key
	}
	return u.c.renames.rewrite(text, variable, func(from, to string) {
		u.note(top, key, "no Kubernetes Service can have the name %q: it is written %s here", from, to)
	})
}

// Renamed replaces names in a text of a test, its command or the value of a variable, as in those of services. It also returns a note for
// each name.
func (s *Stack) Renamed(text, variable string) (string, []string) {
	var notes []string
	text = s.renames.rewrite(text, variable, func(from, to string) {
		notes = append(notes, fmt.Sprintf("no Kubernetes Service can have the name %q: it is written %s", from, to))
	})
	return text, notes
}

// renamedFile replaces names in the content of a mounted file, with a note.
func (c *converter) renamedFile(name string, data []byte) []byte {
	if len(c.renames) == 0 || strings.ContainsRune(string(data), 0) {
		return data
	}
	return []byte(c.renames.rewrite(string(data), "", func(from, to string) {
		c.add(Finding{File: name, Level: LevelNote, Outcome: Approximated,
			Reason: "no Kubernetes Service can have the name \"" + from + "\": it is written " + to + " in the copy of this file"})
	}))
}
