package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	composeschema "github.com/compose-spec/compose-go/v2/schema"
)

// shape is what the JSON Schema of the Compose Specification requires of a value, as far as the schema uses JSON Schema.
type shape struct {
	Ref      string            `json:"$ref"`
	Types    oneOrMore         `json:"type"`
	Fields   map[string]*shape `json:"properties"`
	Patterns map[string]*shape `json:"patternProperties"`
	Extra    *bool             `json:"additionalProperties"`
	ExtraAll *bool             `json:"unevaluatedProperties"`
	Items    *shape            `json:"items"`
	OneOf    []*shape          `json:"oneOf"`
	AllOf    []*shape          `json:"allOf"`
	Required []string          `json:"required"`
	Enum     []string          `json:"enum"`
	Unique   bool              `json:"uniqueItems"`
	Minimum  *float64          `json:"minimum"`
	Maximum  *float64          `json:"maximum"`

	Defs map[string]*shape `json:"$defs"`

	// format checks the text of a scalar, which the schema leaves to compose-go.
	format  *format
	matches []match
}

// match is a shape of the keys that match a pattern.
type match struct {
	keys *regexp.Regexp
	*shape
}

// oneOrMore is a string or a list of strings in JSON.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// anything is the shape of what the schema leaves open.
var anything = &shape{}

// composeShape is the shape of a compose file. It is compose-go's own, so that both know the same fields.
var composeShape = sync.OnceValue(func() *shape {
	root := &shape{}
	if err := json.Unmarshal([]byte(composeschema.Schema), root); err != nil {
		panic(fmt.Sprintf("the schema of compose files: %v", err))
	}
	seen := map[*shape]bool{}
	for _, name := range slices.Sorted(maps.Keys(root.Defs)) {
		root.prepare(root.Defs[name], seen)
	}
	root.prepare(root, seen)
	for _, f := range formats {
		for _, path := range f.paths {
			keys := strings.Split(path, ".")
			for _, s := range root.below(root.Defs[keys[0]], keys[1:]) {
				s.format = f
			}
		}
	}
	return root
})

// resolve follows references.
func (root *shape) resolve(s *shape) *shape {
	for s.Ref != "" {
		s = root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")]
	}
	return s
}

// prepare compiles patterns and gives a shape the fields of those that it consists of.
func (root *shape) prepare(s *shape, seen map[*shape]bool) {
	if seen[s] {
		return
	}
	seen[s] = true
	for _, part := range s.AllOf {
		part = root.resolve(part)
		root.prepare(part, seen)
		if s.Fields == nil {
			s.Fields = map[string]*shape{}
		}
		maps.Copy(s.Fields, part.Fields)
		s.matches = append(s.matches, part.matches...)
	}
	for _, pattern := range slices.Sorted(maps.Keys(s.Patterns)) {
		s.matches = append(s.matches, match{regexp.MustCompile(pattern), s.Patterns[pattern]})
		root.prepare(s.Patterns[pattern], seen)
	}
	for _, f := range s.Fields {
		root.prepare(f, seen)
	}
	for _, o := range s.OneOf {
		root.prepare(o, seen)
	}
	if s.Items != nil {
		root.prepare(s.Items, seen)
	}
}

// below are the shapes at a path of fields, through lists and alternatives.
func (root *shape) below(s *shape, path []string) []*shape {
	s = root.resolve(s)
	if len(path) == 0 {
		return []*shape{s}
	}
	if path[0] == "[]" && s.Items != nil {
		return root.below(s.Items, path[1:])
	}
	if f := s.Fields[path[0]]; f != nil {
		return root.below(f, path[1:])
	}
	if s.Items != nil {
		return root.below(s.Items, path)
	}
	var out []*shape
	for _, o := range s.OneOf {
		out = append(out, root.below(o, path)...)
	}
	return out
}

// isClosed reports whether a mapping has only the fields of the shape.
func (s *shape) isClosed() bool {
	return s.Extra != nil && !*s.Extra || s.ExtraAll != nil && !*s.ExtraAll
}

// field is the shape of a key's value, or nil if there is no such key.
func (s *shape) field(key string) *shape {
	if f := s.Fields[key]; f != nil {
		return f
	}
	for _, m := range s.matches {
		if m.keys.MatchString(key) {
			return m.shape
		}
	}
	if s.isClosed() {
		return nil
	}
	return anything
}

// kinds are the kinds of values that a shape takes, sorted; nil means all.
func (root *shape) kinds(s *shape) []string {
	s = root.resolve(s)
	out := slices.Clone(s.Types)
	for _, o := range s.OneOf {
		out = append(out, root.kinds(o)...)
	}
	if len(out) == 0 && s.Fields != nil {
		out = append(out, "object")
	}
	slices.Sort(out)
	return slices.Compact([]string(out))
}

// takes reports whether a shape takes a kind of value.
func (root *shape) takes(s *shape, kind string) bool {
	kinds := root.kinds(s)
	return len(kinds) == 0 || slices.Contains(kinds, kind) || kind == "integer" && slices.Contains(kinds, "number")
}

// kindNames are the schema's kinds of values in the words of findings.
var kindNames = map[string]string{
	"object": "a mapping", "array": "a list", "string": "a string", "integer": "a whole number", "number": "a number",
	"boolean": "true or false", "null": "nothing",
}

// expected is what a shape takes, for findings.
func (root *shape) expected(s *shape) string {
	var out []string
	for _, k := range root.kinds(s) {
		if k != "null" {
			out = append(out, kindNames[k])
		}
	}
	if len(out) < 2 {
		return strings.Join(out, "")
	}
	return strings.Join(out[:len(out)-1], ", ") + " or " + out[len(out)-1]
}
