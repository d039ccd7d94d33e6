package repoconfig

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference is docs/conductor-yaml.md, made of the same types as the schema.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("| Key | Value | Left out | Meaning |\n|---|---|---|---|\n")
	rows(&b, "", reflect.TypeFor[Config]())
	b.WriteString(referenceTail)
	return []byte(b.String())
}

// rows writes a row for each key of a struct, and those of the structs in it.
func rows(b *strings.Builder, prefix string, t reflect.Type) {
	for _, f := range fieldsOf(t) {
		inner := t.Field(f.index).Type
		path := prefix + f.key
		value, below := words(inner, f)
		absent := "nothing"
		switch {
		case f.need:
			absent = "**needed**"
		case f.byDefault != "":
			absent = "`" + f.byDefault + "`"
		case strings.Contains(f.doc, "Left out,") || strings.Contains(f.doc, "left out,"):
			absent = "see there"
		case inner.Kind() == reflect.Struct && below == nil:
			absent = "the operator's"
		case inner.Kind() == reflect.Struct:
			absent = "as below"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, value, absent, f.doc)
		if below != nil {
			rows(b, path+map[reflect.Kind]string{reflect.Map: ".NAME.", reflect.Slice: "[].", reflect.Struct: "."}[inner.Kind()], below)
		}
	}
}

// words says what a value of type t is, and which struct its keys are explained by.
func words(t reflect.Type, f field) (string, reflect.Type) {
	switch t {
	case reflect.TypeFor[Command]():
		return "a text or a list of texts", nil
	case reflect.TypeFor[Duration]():
		return "a duration", nil
	case reflect.TypeFor[Keep]():
		return "a duration or `forever`, alone or as `ttl` of a mapping", nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return "a mapping", t
	case reflect.Map:
		if t.Elem().Kind() == reflect.Struct {
			return "a mapping of names to mappings", t.Elem()
		}
		return "a mapping of names to values", nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "a list of mappings", t.Elem()
		}
		return "a text or a list of texts", nil
	case reflect.Bool:
		return "`true` or `false`", nil
	}
	return formats[f.is].what, nil
}

const referenceHead = `<!-- Made of the types by go generate ./internal/repoconfig: change internal/repoconfig, not this file. -->

# .conductor.yaml

A repository steers Conductor with ` + "`.conductor.yaml`" + ` in its root. Where the defaults fit, three lines are enough:

` + "```yaml" + `
version: 1
tests:
  integration: yarn test:integration:nc
` + "```" + `

Conductor then starts ` + "`docker-compose.qa.yml`" + ` and runs that command in the image of the compose service ` + "`integration`, `tests`, `test` or `sut`" + `,
or in one that it builds of ` + "`Dockerfile.test` or `Dockerfile`" + `. The file may only tighten what the operator allows.

[examples/.conductor.yaml](../examples/.conductor.yaml) shows every key. Editors that know JSON Schema complete and check the file when it begins with:

` + "```yaml" + `
# yaml-language-server: $schema=` + SchemaID + `
` + "```" + `

## Keys

`

var referenceTail = fmt.Sprintf(`
NAME stands for a name of your own: %s. Environment variables and build arguments are named by %s.

## Rules

- A key that is not in the table is an error; so is one that is there twice, and one with nothing behind it. Errors name line, column and key,
  and several are told at once.
- A duration is written as in Go: `+"`90s`, `30m`, `1h30m`"+`. There is no day: write `+"`24h`"+`. It is between %s and %dh.
- Paths are relative to the repository's root, with slashes and without `+"`..`"+`.
- Where a list of texts is expected, one text alone will do. Values of variables may be numbers or `+"`true` and `false`"+`; they are taken as they are written.
- Anchors, aliases and `+"`<<`"+` work. Tags such as `+"`!x`"+` do not, nor does a second document. The file has at most %d KiB and %d values.
`, formats["label"].what, strings.TrimPrefix(formats["env"].what, "the name of an environment variable: "), shortest, int(longest.Hours()), MaxSize>>10, maxValues)
