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
	// maxValues bounds what a file may grow to through aliases.
	maxValues = 100_000
	// maxText bounds the texts of these together, in bytes: Jobs and pods have copies of them.
	maxText = 1 << 20
	// maxMerges bounds how deep << may follow <<.
	maxMerges = 16
	// enough is how many problems are looked for; more than maxErrors, so that the first ones by line are among them.
	enough = 1000
)

// decoder fills the types of config.go from YAML nodes and collects every problem on the way.
type decoder struct {
	file   string
	errs   []Error
	values int
	text   int
}

// place is where in the document a value is, and what it holds to.
type place struct {
	path string
	// is and keys are formats; full says that a list or mapping may not be empty.
	is, keys string
	full     bool
}

// reader is a type that is written in more than one way.
type reader interface {
	// read takes a value from a node.
	read(d *decoder, n *yaml.Node, at place)
	// shape is its JSON Schema.
	shape() *shape
}

func (d *decoder) fail(line, column int, path, message string, args ...any) {
	if len(d.errs) < enough {
		d.errs = append(d.errs, Error{File: d.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(message, args...)})
	}
}

// wrong adds a problem of a node.
func (d *decoder) wrong(n *yaml.Node, at place, message string, args ...any) {
	d.fail(n.Line, n.Column, at.path, message, args...)
}

// resolve follows an alias and counts the value; nil when there is a problem.
func (d *decoder) resolve(n *yaml.Node, at place) *yaml.Node {
	d.values++
	if d.values == maxValues {
		d.wrong(n, at, "The file holds more than %d values, those of aliases counted each time", maxValues)
	}
	if d.values >= maxValues {
		return nil
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		if d.text += len(n.Value); d.text > maxText {
			d.wrong(n, at, "The texts of the file have more than %d KiB, those of aliases counted each time", maxText>>10)
			d.values = maxValues
			return nil
		}
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.wrong(n, at, "Tags such as %s are not read", show(n.Tag))
		return nil
	}
	return n
}

// value fills v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at place) {
	if n = d.resolve(n, at); n == nil {
		return
	}
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
			i, _ := strconv.Atoi(text) // its format has read it already
			v.SetInt(int64(i))
		}
	case reflect.String:
		if text, ok := d.scalar(n, at); ok {
			v.SetString(text)
		}
	default:
		panic("no reader for " + v.Type().String())
	}
}

// scalar is a scalar's text when it holds to its format.
func (d *decoder) scalar(n *yaml.Node, at place) (string, bool) {
	f := formats[at.is]
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, at, "must be %s, but is %s", f.what, describe(n))
		return "", false
	}
	if problem := f.check(n.Value); problem != "" {
		d.wrong(n, at, "%s", problem)
		return "", false
	}
	if number := n.Tag == "!!int"; f.kind == "integer" && !number {
		d.wrong(n, at, "must be a number; write %s without quotes", n.Value)
		return "", false
	}
	if f.kind == "string" && at.is != "value" && n.Tag != "!!str" && n.Tag != "!!timestamp" {
		d.wrong(n, at, "must be a text, but YAML reads %s here; write it in quotes", describe(n))
		return "", false
	}
	return n.Value, true
}

// object fills a struct.
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
			d.wrong(n, at, "needs the key %s", f.key)
		default:
			fill(v.Field(f.index), f.byDefault)
		}
	}
	return seen
}

// keys calls each with the known keys of a mapping; false when it is none.
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
			d.wrong(p.key, at.at(p.key.Value), "There is no such key; did you mean %s?", near)
		default:
			d.wrong(p.key, at.at(p.key.Value), "There is no such key; there is %s", strings.Join(known, ", "))
		}
	}
	return ok
}

// dictionary fills a map, whose keys users choose.
func (d *decoder) dictionary(n *yaml.Node, v reflect.Value, at place) {
	pairs, ok := d.pairs(n, at)
	if ok && at.full && len(pairs) == 0 {
		d.wrong(n, at, "is empty")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		inner := place{path: at.at(p.key.Value).path, is: at.is}
		if problem := formats[at.keys].check(p.key.Value); problem != "" {
			d.wrong(p.key, inner, "The name %s", problem)
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, e, inner)
		v.SetMapIndex(reflect.ValueOf(p.key.Value), e)
	}
}

// list fills a slice. One text alone is a list of one, as in compose files.
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
		d.wrong(n, at, "is empty")
	}
	for i, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(item, e, place{path: fmt.Sprintf("%s[%d]", at.path, i), is: at.is})
		v.Set(reflect.Append(v, e))
	}
}

type pair struct{ key, value *yaml.Node }

// pairs are a mapping's keys and values, those that << brings behind its own; false when n is no mapping.
func (d *decoder) pairs(n *yaml.Node, at place) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, "must be a mapping, but is %s", describe(n))
		return nil, false
	}
	return d.merge(n, at, map[string]*yaml.Node{}, 0), true
}

// merge collects pairs whose keys are not in seen: a mapping's own keys go before merged ones, YAML's merge type says.
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
			d.wrong(key, at, "A key must be a text, but is %s", describe(key))
			continue
		case key.Tag == "!!merge":
			merged = append(merged, value)
			continue
		case own[key.Value]:
			d.wrong(n.Content[i], at.at(key.Value), "The key is there twice, first in line %d", seen[key.Value].Line)
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

// mergeValue collects the pairs of what stands behind <<: a mapping, or a list of them.
func (d *decoder) mergeValue(n *yaml.Node, at place, seen map[string]*yaml.Node, depth int) []pair {
	n = d.resolve(n, at)
	switch {
	case n == nil:
		return nil
	case depth > maxMerges:
		d.wrong(n, at, "The merges << go more than %d deep", maxMerges)
	case n.Kind == yaml.MappingNode:
		return d.merge(n, at, seen, depth)
	case n.Kind == yaml.SequenceNode:
		var out []pair
		for _, item := range n.Content {
			out = append(out, d.mergeValue(item, at, seen, depth+1)...)
		}
		return out
	default:
		d.wrong(n, at, "<< must have a mapping behind it, but has %s", describe(n))
	}
	return nil
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,63}$`)

// at is the place of a key below p.
func (p place) at(key string) place {
	if !plainKey.MatchString(key) {
		key = show(key)
	}
	if p.path != "" {
		key = p.path + "." + key
	}
	return place{path: key}
}

// describe says in words what a node is.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "left empty"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	}
	return "the text " + show(n.Value)
}
