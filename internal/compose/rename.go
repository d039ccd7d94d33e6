package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// maxPlaces is how many places of one name are reported for one text, such as a mounted file.
const maxPlaces = 10

// remark is what the author of a text should know about a name in it.
type remark struct {
	name, reason string
	// line counts the lines of the text before the name.
	line int
	// isRewritten is set when the name was replaced.
	isRewritten bool
}

// addRename replaces a host name in the texts of the stack. A number is too often something else.
func (c *converter) addRename(from, to string) {
	if _, ok := c.hostNames.renamed[from]; !ok && strings.Trim(from, "0123456789.") != "" {
		c.hostNames.renamed[from] = to
	}
}

// apply replaces the names in a text of a service, which is empty for a suite, that no Kubernetes Service can have, where they are hosts. The
// remarks are about these names and others that do not resolve, each once for a line.
func (n *hostNames) apply(p phrase, service string) (string, []remark) {
	var out strings.Builder
	r := remarks{text: p.text}
	done := 0
	for from, to := range words(p.text) {
		word := p.text[from:to]
		name, ok := n.renamed[word]
		if !ok && p.isCommand && strings.HasPrefix(word, "-h") {
			if name, ok = n.renamed[word[2:]]; ok {
				out.WriteString(p.text[done : from+2])
				out.WriteString(name)
				done = to
				r.add(remark{name: word[2:], isRewritten: true, reason: rewritten(word[2:], name)}, from)
				continue
			}
		}
		if !ok {
			if p.file == "" {
				r.add(remark{name: word, reason: n.hint(p, from, to, service)}, from)
			}
			continue
		}
		switch p.usage(from, to) {
		case isHost:
			out.WriteString(p.text[done:from])
			out.WriteString(name)
			done = to
			r.add(remark{name: word, isRewritten: true, reason: rewritten(word, name)}, from)
		case unclear:
			r.add(remark{name: word, reason: left(word, name)}, from)
		}
	}
	if reason := n.advertised(p, service); reason != "" {
		r.add(remark{reason: reason}, 0)
	}
	if done == 0 {
		return p.text, r.list
	}
	out.WriteString(p.text[done:])
	return out.String(), r.list
}

func rewritten(from, to string) string {
	return fmt.Sprintf("no Kubernetes Service can have the name %q: it is written %s", from, to)
}

func left(from, to string) string {
	return fmt.Sprintf("%q is not a name that Kubernetes can resolve: if it is a host, write %s here", from, to)
}

// remarks are those about one text.
type remarks struct {
	text string
	list []remark
	// read is the offset up to which lines are counted.
	read, line int
	count      map[string]int
}

// add adds a remark about the name at an offset, unless its reason is empty: once where the name was replaced, else once for a line.
func (r *remarks) add(x remark, at int) {
	if x.reason == "" {
		return
	}
	r.line, r.read = r.line+strings.Count(r.text[min(r.read, at):at], "\n"), max(r.read, at)
	x.line = r.line
	isKnown := slices.ContainsFunc(r.list[max(0, len(r.list)-maxPlaces):], func(o remark) bool {
		return o.reason == x.reason && (x.isRewritten || o.line == x.line)
	})
	if isKnown || r.count[x.reason] >= maxPlaces || x.isRewritten && r.count[x.reason] > 0 {
		return
	}
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[x.reason]++
	r.list = append(r.list, x)
}

// renamed replaces names in a text of a service, with a note for each name that does not resolve in the stack.
func (u *unit) renamed(field string, p phrase) string {
	p.isOwn = field != "command" && field != "entrypoint" && field != "environment"
	text, remarks := u.c.hostNames.apply(p, u.s.Name)
	for _, r := range remarks {
		if u.c.isFull(LevelNote, Approximated) {
			continue
		}
		if r.isRewritten {
			r.reason += " here"
		}
		at, name := u.placeOf(field, p.key, r.name), field
		if field == "environment" {
			name += "." + p.key
		}
		u.c.reportAt(at, LevelNote, Approximated, u.s.Name, name, "%s", r.reason)
	}
	return text
}

// renamedArgs replaces names in the elements of a command.
func (u *unit) renamedArgs(field string, args []string) []string {
	var out []string
	for i := range args {
		out = append(out, u.renamed(field, argument(args, i)))
	}
	return out
}

// buildArgs reports names in build arguments, which are not rewritten: a build does not run in the stack.
func (u *unit) buildArgs() {
	if u.hook != "" || u.s.Build == nil || len(u.c.hostNames.renamed) == 0 {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(u.s.Build.Args)) {
		v := u.s.Build.Args[k]
		if v == nil {
			continue
		}
		_, remarks := u.c.hostNames.apply(phrase{text: *v, key: k}, u.s.Name)
		for _, r := range remarks {
			if to, ok := u.c.hostNames.renamed[r.name]; ok {
				u.report(LevelInfo, Approximated, "build.args."+k, "", "%s", left(r.name, to))
			}
		}
	}
}

// placeOf is where a name was written in a field of the service; variable is the name of an environment variable.
func (u *unit) placeOf(field, variable, name string) place {
	path := []string{"services", u.s.Name, field}
	switch field {
	case "healthcheck":
		path = append(path, "test")
	case "environment":
		if at := u.c.sources.find("", append(path, variable)...); at.whole {
			return at
		}
		if at := u.c.sources.find(variable+"=", path...); at.whole && strings.HasPrefix(at.text, variable) {
			return at
		}
		if at, ok := u.c.inEnvFile(u.s.EnvFiles, variable); ok {
			return at
		}
	}
	return u.c.sources.find(name, path...)
}

// inEnvFile is where a variable is set in the last of these files that has it.
func (c *converter) inEnvFile(files []types.EnvFile, variable string) (place, bool) {
	for _, f := range slices.Backward(files) {
		file := c.relOf(f.Path)
		if line := c.setAt[file][variable]; line > 0 {
			return place{file: file, line: line}, true
		}
	}
	return place{}, false
}

// Renamed replaces names in a text of a test, a script or the value of a variable, as in those of services. The service is the one that runs
// as the test, or empty. It also returns a note for each name.
func (s *Stack) Renamed(service, text, variable string) (string, []string) {
	return s.hostNames.note(phrase{text: text, key: variable, isCommand: variable == "", isProgram: variable == ""}, service)
}

// RenamedArgs does so in the elements of a command.
func (s *Stack) RenamedArgs(service string, args []string) (out, notes []string) {
	for i := range args {
		text, more := s.hostNames.note(argument(args, i), service)
		out = append(out, text)
		notes = append(notes, slices.DeleteFunc(more, func(reason string) bool { return slices.Contains(notes, reason) })...)
	}
	return out, notes
}

// note replaces names in a text, and returns the reasons of the remarks.
func (n *hostNames) note(p phrase, service string) (text string, reasons []string) {
	text, remarks := n.apply(p, service)
	for _, r := range remarks {
		if !slices.Contains(reasons, r.reason) {
			reasons = append(reasons, r.reason)
		}
	}
	return text, reasons
}

// renamedFile replaces names in the content of a mounted file, with notes.
func (c *converter) renamedFile(name string, data []byte) []byte {
	if len(c.hostNames.renamed) == 0 || strings.ContainsRune(string(data), 0) {
		return data
	}
	text, remarks := c.hostNames.apply(phrase{text: string(data), file: name}, "")
	for _, r := range remarks {
		f := Finding{File: name, Line: r.line + 1, Level: LevelNote, Outcome: Approximated, Reason: r.reason}
		if r.isRewritten {
			f.Line, f.Reason = 0, r.reason+" in the copy of this file"
		}
		c.add(f)
	}
	return []byte(text)
}
