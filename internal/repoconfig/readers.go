package repoconfig

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// read reads a suite from a mapping, or from a string that is its command.
func (t *Test) read(d *decoder, n *yaml.Node, at place) {
	v := reflect.ValueOf(t).Elem()
	switch n.Kind {
	case yaml.MappingNode:
		switch seen := d.object(n, v, at); {
		case seen["image"] && seen["service"]:
			d.wrong(n, at, "must not have both image and service; a service has its own image")
		case !seen["image"] && !seen["service"] && !seen["command"]:
			d.wrong(n, at, "must have one of the keys command, image and service")
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
	object.AnyOf = []*shape{{Required: []string{"command"}}, {Required: []string{"image"}}, {Required: []string{"service"}}}
	object.Not = &shape{Required: []string{"image", "service"}}
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

// read reads a duration from a string.
func (x *Duration) read(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.wrong(n, at, "must be %s, but is %s", formats["duration"].what, describe(n))
		return
	}
	value, problem := duration(n.Value)
	if problem != "" {
		d.wrong(n, at, "%s", problem)
	}
	x.Duration = value
}

func (*Duration) shape() *shape { return formatShape("duration") }

// read reads a keep from a duration, the word forever, or a mapping with one of them as ttl.
func (k *Keep) read(d *decoder, n *yaml.Node, at place) {
	if n.Kind == yaml.MappingNode {
		d.keys(n, at, []string{"ttl"}, func(key string, value *yaml.Node) {
			if value = d.resolve(value, at.at(key)); value != nil {
				k.word(d, value, at.at(key))
			}
		})
		return
	}
	k.word(d, n, at)
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
