package repoconfig

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

const (
	// maxValues limits the number of values, including those of aliases.
	maxValues = 100_000
	// maxText limits the total length of the strings, in bytes: Jobs and pods contain copies of them.
	maxText = 1 << 20
	// maxMerges limits the nesting of merges (<<).
	maxMerges = 16
	// enough is how many problems are collected. It is more than maxErrors, so that the first ones by line are among them.
	enough = 1000
)

// decoder fills the types of config.go from YAML nodes and collects all problems.
type decoder struct {
	file   string
	source []string
	errs   []Error
	lines  map[string]mark
	values int
	text   int
}

// place is the position of a value in the document, and its constraints.
type place struct {
	path string
	// is and keys are formats; full means that a list or mapping must not be empty.
	is, keys string
	full     bool
}

// reader is a type with more than one notation.
type reader interface {
	// read reads a value from a node.
	read(d *decoder, n *yaml.Node, at place)
	// shape returns its JSON Schema.
	shape() *shape
}

func (d *decoder) fail(line, column int, path, message string, args ...any) {
	if len(d.errs) < enough {
		e := Error{File: d.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(message, args...)}
		e.quote(d.source, "", "")
		d.errs = append(d.errs, e)
	}
}

// instead adds a problem at a node, and what its text should be; "" if that is not known.
func (d *decoder) instead(n *yaml.Node, at place, instead, message string, args ...any) {
	before := len(d.errs)
	d.wrong(n, at, message, args...)
	if len(d.errs) > before {
		d.errs[before].quote(d.source, n.Value, instead)
	}
}

// wrong adds a problem at a node.
func (d *decoder) wrong(n *yaml.Node, at place, message string, args ...any) {
	d.fail(n.Line, n.Column, at.path, message, args...)
}

// resolve follows an alias and counts the value; nil if there is a problem.
func (d *decoder) resolve(n *yaml.Node, at place) *yaml.Node {
	d.values++
	if d.values == maxValues {
		d.wrong(n, at, "the file has more than %d values, counting each use of an alias", maxValues)
	}
	if d.values >= maxValues {
		return nil
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		if d.text += len(n.Value); d.text > maxText {
			d.wrong(n, at, "the strings in the file exceed %d KiB, counting each use of an alias", maxText>>10)
			d.values = maxValues
			return nil
		}
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.wrong(n, at, "tags such as %s are not supported", show(n.Tag))
		return nil
	}
	return n
}

// value sets v from a node.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at place) {
	if n = d.resolve(n, at); n == nil {
		return
	}
	d.lines[at.path] = mark{n.Line, n.Column}
	if r, ok := v.Addr().Interface().(reader); ok {
		r.read(d, n, at)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, at)
	case reflect.Map:
		d.dictionary(n, v, at)
	case reflect.Slice:
		d.list(n, v, at)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			d.wrong(n, at, "must be true or false, but is %s", describe(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		if text, ok := d.scalar(n, at); ok {
			i, _ := strconv.Atoi(text) // its format has been checked already
			v.SetInt(int64(i))
		}
	case reflect.String:
		if text, ok := d.scalar(n, at); ok {
			v.SetString(text)
		}
	default:
		panic("unsupported type " + v.Type().String())
	}
}

// scalar returns a scalar's text if it is valid.
func (d *decoder) scalar(n *yaml.Node, at place) (string, bool) {
	f := formats[at.is]
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, at, "must be %s, but is %s", f.what, describe(n))
		return "", false
	}
	if problem := f.check(n.Value); problem != "" {
		d.instead(n, at, f.instead(n.Value), "%s", problem)
		return "", false
	}
	if number := n.Tag == "!!int"; f.kind == "integer" && !number {
		d.instead(n, at, n.Value, "must be a number; write %s without quotes", n.Value)
		return "", false
	}
	if f.kind == "string" && at.is != "value" && n.Tag != "!!str" && n.Tag != "!!timestamp" {
		d.instead(n, at, strconv.Quote(n.Value), "must be a string, but YAML reads %s here; write it in quotes", describe(n))
		return "", false
	}
	return n.Value, true
}

// object sets the fields of a struct.
func (d *decoder) object(n *yaml.Node, v reflect.Value, at place) (seen map[string]bool) {
	fields := fieldsOf(v.Type())
	seen = map[string]bool{}
	ok := d.keys(n, at, names(fields), func(key string, value *yaml.Node) {
		seen[key] = true
		for _, f := range fields {
			if f.key == key {
				d.value(value, v.Field(f.index), f.place(at))
			}
		}
	})
	if !ok {
		return seen
	}
	for _, f := range fields {
		switch {
		case seen[f.key]:
		case f.need:
			d.wrong(n, at, "the required key %s is missing", f.key)
		default:
			fill(v.Field(f.index), f.byDefault)
		}
	}
	return seen
}

// keys calls each with the known keys of a mapping; it returns false if n is not a mapping.
func (d *decoder) keys(n *yaml.Node, at place, known []string, each func(key string, value *yaml.Node)) bool {
	pairs, ok := d.pairs(n, at)
	for _, p := range pairs {
		found := false
		for _, k := range known {
			found = found || k == p.key.Value
		}
		switch near := nearest.Word(p.key.Value, known); {
		case found:
			each(p.key.Value, p.value)
		case near != "":
			d.instead(p.key, at.at(p.key.Value), near, "unknown key; did you mean %s?", near)
		default:
			d.wrong(p.key, at.at(p.key.Value), "unknown key; the known keys are %s", strings.Join(known, ", "))
		}
	}
	return ok
}

// dictionary fills a map, whose keys users choose.
func (d *decoder) dictionary(n *yaml.Node, v reflect.Value, at place) {
	pairs, ok := d.pairs(n, at)
	if ok && at.full && len(pairs) == 0 {
		d.wrong(n, at, "must not be empty")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		inner := place{path: at.at(p.key.Value).path, is: at.is}
		if problem := formats[at.keys].check(p.key.Value); problem != "" {
			d.instead(p.key, inner, formats[at.keys].instead(p.key.Value), "the name %s", problem)
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, e, inner)
		v.SetMapIndex(reflect.ValueOf(p.key.Value), e)
	}
}

// list fills a slice. A single string is a list of one, as in compose files.
func (d *decoder) list(n *yaml.Node, v reflect.Value, at place) {
	items := n.Content
	switch single := v.Type().Elem().Kind() == reflect.String; {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && single:
		items = []*yaml.Node{n}
	case n.Kind != yaml.SequenceNode:
		d.wrong(n, at, "must be a list, but is %s", describe(n))
		return
	}
	if at.full && len(items) == 0 {
		d.wrong(n, at, "must not be empty")
	}
	for i, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(item, e, place{path: fmt.Sprintf("%s[%d]", at.path, i), is: at.is})
		v.Set(reflect.Append(v, e))
	}
}

type pair struct{ key, value *yaml.Node }

// pairs returns a mapping's keys and values, merged ones last; false if n is not a mapping.
func (d *decoder) pairs(n *yaml.Node, at place) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, "must be a mapping, but is %s", describe(n))
		return nil, false
	}
	return d.merge(n, at, map[string]*yaml.Node{}, 0), true
}

// merge collects the pairs whose keys are not in seen. A mapping's own keys have priority over merged ones, according to YAML's merge
// type.
func (d *decoder) merge(n *yaml.Node, at place, seen map[string]*yaml.Node, depth int) []pair {
	var out []pair
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		key := d.resolve(n.Content[i], at)
		switch {
		case key == nil:
			continue
		case key.Kind != yaml.ScalarNode:
			d.wrong(key, at, "a key must be a string, but is %s", describe(key))
			continue
		case key.Tag == "!!merge":
			merged = append(merged, value)
			continue
		case own[key.Value]:
			d.wrong(n.Content[i], at.at(key.Value), "duplicate key, first used in line %d", seen[key.Value].Line)
			continue
		}
		own[key.Value] = true
		if seen[key.Value] == nil {
			seen[key.Value] = n.Content[i]
			out = append(out, pair{key, value})
		}
	}
	for _, m := range merged {
		out = append(out, d.mergeValue(m, at, seen, depth+1)...)
	}
	return out
}

// mergeValue collects the pairs of the value of <<: a mapping, or a list of mappings.
func (d *decoder) mergeValue(n *yaml.Node, at place, seen map[string]*yaml.Node, depth int) []pair {
	n = d.resolve(n, at)
	switch {
	case n == nil:
		return nil
	case depth > maxMerges:
		d.wrong(n, at, "merges (<<) are nested more than %d levels deep", maxMerges)
	case n.Kind == yaml.MappingNode:
		return d.merge(n, at, seen, depth)
	case n.Kind == yaml.SequenceNode:
		var out []pair
		for _, item := range n.Content {
			out = append(out, d.mergeValue(item, at, seen, depth+1)...)
		}
		return out
	default:
		d.wrong(n, at, "<< must be a mapping or a list of mappings, but is %s", describe(n))
	}
	return nil
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)

// at returns the place of a key below p.
func (p place) at(key string) place {
	if !plainKey.MatchString(key) {
		key = show(key)
	}
	if p.path != "" {
		key = p.path + "." + key
	}
	return place{path: key}
}

// describe names what a node is, for messages.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "empty"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	}
	return "the string " + show(n.Value)
}
