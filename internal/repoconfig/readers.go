package repoconfig

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// places are the keys of a suite that define where its command runs.
var places = []string{"image", "service", "run"}

// read reads a suite from a mapping, or from a string that is its command.
func (t *Test) read(d *decoder, n *yaml.Node, at place) {
	v := reflect.ValueOf(t).Elem()
	switch n.Kind {
	case yaml.MappingNode:
		seen := d.object(n, v, at)
		given := slices.DeleteFunc(slices.Clone(places), func(key string) bool { return !seen[key] })
		switch {
		case len(given) > 1:
			d.wrong(n, at, "must have only one of the keys image, service and run, but has %s", strings.Join(given, " and "))
		case len(given) == 0 && !seen["command"]:
			d.wrong(n, at, "must have one of the keys command, image, service and run")
		}
		return
	case yaml.ScalarNode:
		if n.Tag != "!!null" {
			t.Command.read(d, n, at)
			for _, f := range fieldsOf(v.Type()) {
				fill(v.Field(f.index), f.byDefault)
			}
			return
		}
	}
	d.wrong(n, at, "must be a command or a mapping, but is %s", describe(n))
}

func (*Test) shape() *shape {
	object := objectShape(reflect.TypeFor[Test]())
	object.AnyOf = []*shape{{Required: []string{"command"}}}
	object.Not = &shape{}
	for i, key := range places {
		object.AnyOf = append(object.AnyOf, &shape{Required: []string{key}})
		for _, other := range places[i+1:] {
			object.Not.AnyOf = append(object.Not.AnyOf, &shape{Required: []string{key, other}})
		}
	}
	return &shape{AnyOf: []*shape{formatShape("line"), object}}
}

// read reads a command from a string or a list.
func (c *Command) read(d *decoder, n *yaml.Node, at place) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		at.is = "line"
		c.Shell, _ = d.scalar(n, at)
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		d.wrong(n, at, "must not be empty")
	case n.Kind == yaml.SequenceNode:
		for i, item := range n.Content {
			var arg string
			inner := place{path: fmt.Sprintf("%s[%d]", at.path, i), is: "value"}
			if i == 0 {
				inner.is = "line"
			}
			d.value(item, reflect.ValueOf(&arg).Elem(), inner)
			c.Args = append(c.Args, arg)
		}
	default:
		d.wrong(n, at, "must be a string or a list of strings, but is %s", describe(n))
	}
}

func (*Command) shape() *shape {
	return &shape{AnyOf: []*shape{
		formatShape("line"),
		{Type: "array", MinItems: 1, PrefixItems: []*shape{formatShape("line")}, Items: formatShape("value")},
	}}
}

// read reads patterns from a string, a list, or a mapping with one of them as junit.
func (r *Reports) read(d *decoder, n *yaml.Node, at place) {
	v := reflect.ValueOf(r).Elem()
	if n.Kind != yaml.MappingNode {
		at.is = "glob"
		d.list(n, v.Field(0), at)
		return
	}
	if seen := d.object(n, v, at); !seen["junit"] && len(n.Content) > 0 {
		d.wrong(n, at, "list the files of every format without a key, as in reports: [out/*.xml, out/*.trx]")
	}
}

func (*Reports) shape() *shape {
	object := objectShape(reflect.TypeFor[Reports]())
	return &shape{AnyOf: append(slices.Clone(object.Properties[0].shape.AnyOf), object)}
}

// read reads a duration from a string.
func (x *Duration) read(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, at, "must be %s, but is %s", formats["duration"].what, describe(n))
		return
	}
	value, problem := duration(n.Value)
	if problem != "" {
		d.instead(n, at, inHours(n.Value), "%s", problem)
	}
	x.Duration = value
}

func (*Duration) shape() *shape { return formatShape("duration") }

// read reads a keep from a duration, the word forever, or a mapping with one of them as ttl.
func (k *Keep) read(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.MappingNode {
		k.word(d, n, at)
		return
	}
	d.keys(n, at, names(fieldsOf(reflect.TypeFor[Keep]())), func(key string, value *yaml.Node) {
		switch inner := at.at(key); key {
		case "ttl":
			if value = d.resolve(value, inner); value != nil {
				k.word(d, value, inner)
			}
		case "idle":
			d.value(value, reflect.ValueOf(&k.Idle).Elem(), inner)
		case "after_close":
			d.value(value, reflect.ValueOf(&k.AfterClose).Elem(), inner)
		}
	})
}

func (k *Keep) word(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, at, "must be %s, but is %s", formats["keep"].what, describe(n))
		return
	}
	if k.Forever = n.Value == "forever"; !k.Forever {
		k.TTL.read(d, n, at)
	}
}

func (*Keep) shape() *shape {
	object := objectShape(reflect.TypeFor[Keep]())
	ttl := formatShape("keep")
	ttl.Description = object.Properties[0].shape.Description
	object.Properties[0].shape = ttl
	return &shape{AnyOf: []*shape{formatShape("keep"), object}}
}
