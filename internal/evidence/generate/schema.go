package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// schemaID is where the schema is published.
const schemaID = "https://raw.githubusercontent.com/w3evolutionsllc/conductor/main/schemas/result.schema.json"

// enums lists the allowed values of types and fields.
var enums = map[string][]string{
	"Status":         {string(evidence.Passed), string(evidence.Failed), string(evidence.Error), string(evidence.Skipped)},
	"Result.outcome": {"passed", "failed", "error", "canceled"},
	"Suite.outcome":  {"passed", "failed", "error", "canceled"},
}

// shape is the part of JSON Schema 2020-12 that is needed here, with the same field names. Properties are sorted by name.
type shape struct {
	Schema      string            `json:"$schema,omitempty"`
	ID          string            `json:"$id,omitempty"`
	Ref         string            `json:"$ref,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Type        string            `json:"type,omitempty"`
	Format      string            `json:"format,omitempty"`
	Const       any               `json:"const,omitempty"`
	Enum        []string          `json:"enum,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Properties  map[string]*shape `json:"properties,omitempty"`
	Additional  *shape            `json:"additionalProperties,omitempty"`
	Items       *shape            `json:"items,omitempty"`
	Defs        map[string]*shape `json:"$defs,omitempty"`
}

// schema returns the JSON Schema of evidence.Result. It allows unknown properties, because a later Conductor may add some. dir contains
// the sources of package evidence, for their comments.
func schema(dir string) ([]byte, error) {
	docs, err := comments(dir)
	if err != nil {
		return nil, err
	}
	b := &builder{docs: docs, defs: map[string]*shape{}}
	root := b.object(reflect.TypeFor[evidence.Result]())
	root.Schema, root.ID, root.Title, root.Defs = "https://json-schema.org/draft/2020-12/schema", schemaID, "result.json of a record", b.defs
	root.Properties["schemaVersion"].Const = evidence.SchemaVersion
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return out.Bytes(), nil
}

type builder struct {
	docs map[string]string // comments by Type and Type.Field
	defs map[string]*shape
}

func (b *builder) object(t reflect.Type) *shape {
	s := &shape{Type: "object", Description: b.docs[t.Name()], Properties: map[string]*shape{}}
	b.fields(t, s)
	slices.Sort(s.Required)
	return s
}

// fields adds the fields of a struct, including those of embedded structs.
func (b *builder) fields(t reflect.Type, s *shape) {
	for f := range t.Fields() {
		if f.Anonymous {
			b.fields(f.Type, s)
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		one := b.value(f.Type)
		one.Description = b.docs[t.Name()+"."+f.Name]
		if values := enums[t.Name()+"."+key]; values != nil {
			one.Enum = values
		}
		s.Properties[key] = one
		if options != "omitempty" {
			s.Required = append(s.Required, key)
		}
	}
}

func (b *builder) value(t reflect.Type) *shape {
	if t == reflect.TypeFor[time.Time]() {
		return &shape{Type: "string", Format: "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.value(t.Elem())
	case reflect.Struct:
		if b.defs[t.Name()] == nil {
			b.defs[t.Name()] = &shape{} // for recursive types
			*b.defs[t.Name()] = *b.object(t)
		}
		return &shape{Ref: "#/$defs/" + t.Name()}
	case reflect.Slice:
		return &shape{Type: "array", Items: b.value(t.Elem())}
	case reflect.Map:
		return &shape{Type: "object", Additional: b.value(t.Elem())}
	case reflect.Bool:
		return &shape{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &shape{Type: "integer"}
	case reflect.Float64:
		return &shape{Type: "number"}
	}
	return &shape{Type: "string", Enum: enums[t.Name()]}
}

// comments returns the comments of the types in a directory's sources and of their fields. A comment on several fields applies to each
// of them.
func comments(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no sources in %s: %w", dir, errOr(err))
	}
	docs := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read the types: %w", err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					describe(spec.(*ast.TypeSpec), d.Doc, docs)
				}
			}
			return true
		})
	}
	return docs, nil
}

func describe(t *ast.TypeSpec, doc *ast.CommentGroup, docs map[string]string) {
	docs[t.Name.Name] = text(doc)
	s, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			docs[t.Name.Name+"."+name.Name] = text(f.Doc)
		}
	}
}

// text returns a comment as one line.
func text(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

func errOr(err error) error {
	if err == nil {
		return os.ErrNotExist
	}
	return err
}
