package compose

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// compose-go stops at its first error, and names neither file nor line. Once it has refused a project, faults finds all that is wrong with
// the files, in the YAML as written.

const (
	// maxSteps is how many values are checked: more than a project within the bounds has.
	maxSteps = 4 * maxValues
	// maxDepth is how deep values may be nested; aliases can form a cycle.
	maxDepth = 2000
)

// faults checks one file.
type faults struct {
	r    *reader
	s    *source
	root *shape
	// isPart is set if other files or documents can complete this one.
	isPart bool
	steps  int
}

// checkFiles refuses what is wrong in the files, each by itself.
func (r *reader) checkFiles() {
	documents := 0
	for _, s := range r.sources.files {
		documents += len(s.docs)
	}
	users := r.sources.users(r.sources.services())
	for _, s := range r.sources.files {
		f := &faults{r: r, s: s, root: composeShape(), isPart: documents > 1}
		for _, doc := range s.docs {
			if !s.extended {
				f.duplicates(doc, nil, map[*yaml.Node]bool{})
				f.check(doc, doc, f.root, nil)
				continue
			}
			// Of a file that services extend, only those services count.
			for k, service := range entries(child(doc, "services")) {
				if _, ok := users[serviceKey(s.name, k.Value)]; ok {
					f.check(k, service, f.root.Defs["service"], []string{"services", k.Value})
				}
			}
		}
	}
}

// services are the names of the services of all files, without those of files that are only extended, sorted.
func (s *sources) services() []string {
	names := map[string]bool{}
	for _, f := range s.files {
		for _, doc := range f.docs {
			for k := range entries(child(doc, "services")) {
				if !f.extended {
					names[k.Value] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// refuse adds a refusal of the value at a path from the top.
func (f *faults) refuse(at *yaml.Node, path []string, format string, args ...any) {
	if f.r.findings.isFull(LevelRefused) {
		return
	}
	service, field := split(path)
	f.r.refuse(place{file: f.s.name, line: at.Line}, service, field, format, args...)
}

// split returns the service and the field of a path from the top.
func split(path []string) (service, field string) {
	if len(path) > 1 && path[0] == "services" {
		return path[1], strings.Join(path[2:], ".")
	}
	return "", strings.Join(path, ".")
}

// duplicates refuses keys that a mapping has twice.
func (f *faults) duplicates(n *yaml.Node, path []string, seen map[*yaml.Node]bool) {
	if n == nil || seen[n] || n.Kind == yaml.AliasNode || len(path) > maxDepth {
		return
	}
	seen[n] = true
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			f.duplicates(c, path, seen)
		}
	}
	lines := map[string]int{}
	for k, v := range entries(n) {
		below := append(path[:len(path):len(path)], k.Value)
		if first, ok := lines[k.Value]; ok && k.Kind == yaml.ScalarNode {
			f.refuse(k, below, "%s is already in line %d: YAML takes a key once", k.Value, first)
		}
		lines[k.Value] = k.Line
		f.duplicates(v, below, seen)
	}
}

// check refuses what is wrong with a value. Key is the node with its place, unless the value is a scalar.
func (f *faults) check(key, n *yaml.Node, s *shape, path []string) {
	n, s = target(n), f.root.resolve(s)
	if f.steps++; n == nil || n.Tag == "!reset" || f.steps > maxSteps || len(path) > maxDepth {
		return
	}
	kind, text := kindOf(n), n.Value
	if n.Kind == yaml.ScalarNode {
		key = n
		if kind == "string" {
			var ok bool
			if text, ok = f.interpolated(n, path); !ok || strings.Contains(text, secretBegin) {
				return
			}
		}
		if s.format != nil && kind != "null" {
			if why := s.format.check(text); why != "" {
				f.refuse(n, path, "%s", why)
			}
			return
		}
	}
	if len(s.OneOf) > 0 {
		i := slices.IndexFunc(s.OneOf, func(o *shape) bool { return f.root.takes(o, kind) })
		if i < 0 {
			f.wrongKind(key, s, kind, text, path)
			return
		}
		if kind == "array" && slices.ContainsFunc(s.OneOf, func(o *shape) bool { return f.root.takes(o, "object") }) && f.hasKeys(n, s.OneOf[i], path) {
			return
		}
		f.check(key, n, s.OneOf[i], path)
		return
	}
	if !f.root.takes(s, kind) {
		f.wrongKind(key, s, kind, text, path)
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		f.mapping(key, n, s, path)
	case yaml.SequenceNode:
		f.list(n, s, path)
	default:
		f.scalar(n, s, kind, text, path)
	}
}

// hasKeys refuses the first item with keys of a list of strings that could be a mapping, and reports whether there is one.
func (f *faults) hasKeys(n *yaml.Node, s *shape, path []string) bool {
	items := cmp.Or(f.root.resolve(s).Items, anything)
	i := slices.IndexFunc(n.Content, func(c *yaml.Node) bool { t := target(c); return t != nil && t.Kind == yaml.MappingNode })
	if i < 0 || f.root.takes(f.root.resolve(items), "object") {
		return false
	}
	f.refuse(n.Content[i], path, "a string is expected here, and this is a mapping: leave out the dashes to write keys")
	return true
}

// kindOf is the kind of a value in the words of JSON Schema.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "object"
	case n.Kind == yaml.SequenceNode:
		return "array"
	}
	switch n.ShortTag() {
	case "!!null":
		return "null"
	case "!!bool":
		return "boolean"
	case "!!int":
		return "integer"
	case "!!float":
		return "number"
	}
	return "string"
}

// unspaced matches a key whose value follows without a space, which YAML reads as one text.
var unspaced = regexp.MustCompile(`^[A-Za-z_]\w*:[^\s:/]`)

func (f *faults) wrongKind(at *yaml.Node, s *shape, kind, text string, path []string) {
	want := f.root.expected(s)
	is := "this is " + kindNames[kind]
	switch kind {
	case "null":
		is = "this is empty"
	case "string", "number", "integer", "boolean":
		is = "this is " + text
		if kind == "string" {
			is = "this is " + quoted(text)
		}
		if strings.Contains(want, "a string") {
			is += ", which needs quotes"
		}
		if kind == "string" && unspaced.MatchString(text) {
			is += ": write a space after the colon"
		}
	}
	if len(path) == 2 && path[0] == "services" && f.root.resolve(f.root.Defs["service"]).field(path[1]) != nil {
		is += ": if " + path[1] + " is a field of a service, indent it below the service"
	}
	f.refuse(at, path, "%s is expected here, and %s", want, is)
}

// interpolated is the text of a scalar with its variables, if they have values.
func (f *faults) interpolated(n *yaml.Node, path []string) (string, bool) {
	if !strings.Contains(n.Value, "$") {
		return n.Value, true
	}
	if hasManyVariables(n.Value) {
		return "", false // The reader refused it.
	}
	given := map[string]string{}
	lookup := func(name string) (string, bool) {
		if v, ok := given[name]; ok {
			return v, true
		}
		v, ok := f.s.env[name]
		return v, ok
	}
	for range 10 {
		text, err := template.Substitute(n.Value, lookup)
		var missing *template.MissingRequiredError
		switch {
		case err == nil:
			return text, len(given) == 0
		case !errors.As(err, &missing):
			f.refuse(n, path, "%s has a $ that does not begin a variable: write $$ for a dollar sign", quoted(n.Value))
			return "", false
		}
		f.refuse(n, path, "%s has no value: %s", missing.Variable, fmt.Sprintf("%s (%s)", cmp.Or(missing.Reason, "it is required"), f.r.places()))
		given[missing.Variable] = "x"
	}
	return "", false
}

// mapping checks the fields of a mapping, with those that are merged into it.
func (f *faults) mapping(key, n *yaml.Node, s *shape, path []string) {
	has := map[string]bool{}
	for k, v := range f.all(n, has, 0) {
		below := append(path[:len(path):len(path)], k.Value)
		if field := s.field(k.Value); field != nil {
			f.check(k, v, field, below)
		} else {
			f.unknown(k, v, s, below)
		}
	}
	for _, name := range s.Required {
		if !has[name] && !f.isPart {
			f.refuse(key, path, "the field %s is missing", name)
		}
	}
}

// all yields the entries of a mapping, its own before those that are merged into it. Names in seen are skipped.
func (f *faults) all(n *yaml.Node, seen map[string]bool, depth int) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		if n = target(n); n == nil || depth > maxAliases {
			return
		}
		var merged []*yaml.Node
		for k, v := range entries(n) {
			if k.ShortTag() == "!!merge" {
				merged = append(merged, v)
				continue
			}
			if f.steps++; seen[k.Value] || f.steps > maxSteps {
				continue
			}
			seen[k.Value] = true
			if !yield(k, v) {
				return
			}
		}
		for _, m := range merged {
			list := []*yaml.Node{m}
			if t := target(m); t != nil && t.Kind == yaml.SequenceNode {
				list = t.Content
			}
			for _, m := range list {
				for k, v := range f.all(m, seen, depth+1) {
					if !yield(k, v) {
						return
					}
				}
			}
		}
	}
}

// unknown refuses a key that the shape does not have.
func (f *faults) unknown(k, v *yaml.Node, s *shape, path []string) {
	fields := slices.Sorted(maps.Keys(s.Fields))
	row, known := serviceTable[k.Value]
	near := nearest.Word(k.Value, fields)
	switch {
	case len(fields) == 0:
		f.refuse(k, path, "a name consists of letters, digits, dots, dashes and underscores")
	case len(path) == 1 && near == "" && f.isService(v):
		f.refuse(k, path, "this is a service of a Compose 1 file, or one with a wrong indentation: put it below services:")
	case len(path) == 3 && path[0] == "services" && known && row.outcome == Refused:
		f.refuse(k, path, "%s", row.text)
	case near != "":
		f.refuse(k, path, "compose has no such field; did you mean %s?", near)
	case len(path) == 3 && path[0] == "services" && elsewhere(k.Value) != "":
		f.refuse(k, path, "compose has no such field here; did you mean %s?", elsewhere(k.Value))
	case len(fields) <= 10:
		f.refuse(k, path, "compose has no such field; the fields are %s", strings.Join(fields, ", "))
	default:
		f.refuse(k, path, "compose has no such field")
	}
}

// isService reports whether a value has a field of services.
func (f *faults) isService(n *yaml.Node) bool {
	for k := range entries(target(n)) {
		if f.root.Defs["service"].Fields[k.Value] != nil {
			return true
		}
	}
	return false
}

// elsewhere is the only field deeper in a service that has a name, or "".
func elsewhere(name string) string {
	found := ""
	for _, r := range serviceRows {
		if strings.HasSuffix(r.path, "."+name) {
			if found != "" {
				return ""
			}
			found = r.path
		}
	}
	return found
}

func (f *faults) list(n *yaml.Node, s *shape, path []string) {
	items := cmp.Or(s.Items, anything)
	lines := map[string]int{}
	for _, c := range n.Content {
		f.check(c, c, items, path)
		if t := target(c); s.Unique && t != nil && t.Kind == yaml.ScalarNode {
			if first, ok := lines[t.Value]; ok {
				f.refuse(c, path, "%s is already in line %d of the list", quoted(t.Value), first)
			}
			lines[t.Value] = c.Line
		}
	}
}

func (f *faults) scalar(n *yaml.Node, s *shape, kind, text string, path []string) {
	if len(s.Enum) > 0 && kind == "string" && !slices.Contains(s.Enum, text) {
		f.refuse(n, path, "%s", oneOf(text, s.Enum))
		return
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || kind != "integer" && kind != "number" {
		return
	}
	if s.Minimum != nil && number < *s.Minimum {
		f.refuse(n, path, "%s is less than %v", text, *s.Minimum)
	}
	if s.Maximum != nil && number > *s.Maximum {
		f.refuse(n, path, "%s is greater than %v", text, *s.Maximum)
	}
}
