package repoconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

//go:generate go run ./generate

// SchemaID is where the schema is published.
const SchemaID = "https://raw.githubusercontent.com/w3evolutionsllc/conductor/main/schemas/conductor.schema.json"

// Schema returns the JSON Schema (2020-12) of .conductor.yaml, for editors. It accepts everything that Parse accepts. Parse also
// rejects durations out of range, patterns that search the whole file system, and duplicate keys.
func Schema() []byte {
	s := objectShape(reflect.TypeFor[Config]())
	s.Schema, s.ID, s.Title = "https://json-schema.org/draft/2020-12/schema", SchemaID, ".conductor.yaml"
	s.Description = "Steers Conductor's integration-test runs of this repository."
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		panic(fmt.Sprintf("the schema cannot be written: %v", err)) // it consists of this package's types only
	}
	return b.Bytes()
}

// shape is the part of JSON Schema that is needed here, with the same field names.
type shape struct {
	Schema               string     `json:"$schema,omitempty"`
	ID                   string     `json:"$id,omitempty"`
	Title                string     `json:"title,omitempty"`
	Description          string     `json:"description,omitempty"`
	Type                 any        `json:"type,omitempty"`
	Default              any        `json:"default,omitempty"`
	Pattern              string     `json:"pattern,omitempty"`
	MaxLength            int        `json:"maxLength,omitempty"`
	Minimum              int        `json:"minimum,omitempty"`
	Maximum              int        `json:"maximum,omitempty"`
	MinItems             int        `json:"minItems,omitempty"`
	MinProperties        int        `json:"minProperties,omitempty"`
	Required             []string   `json:"required,omitempty"`
	Properties           properties `json:"properties,omitempty"`
	PropertyNames        *shape     `json:"propertyNames,omitempty"`
	AdditionalProperties any        `json:"additionalProperties,omitempty"`
	PrefixItems          []*shape   `json:"prefixItems,omitempty"`
	Items                *shape     `json:"items,omitempty"`
	AnyOf                []*shape   `json:"anyOf,omitempty"`
	Not                  *shape     `json:"not,omitempty"`
}

type property struct {
	key   string
	shape *shape
}

// properties keep the order of the types, in which editors offer them.
type properties []property

// MarshalJSON writes an object.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, one := range p {
		key, err := json.Marshal(one.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(one.shape)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s%s:%s", []string{"{", ","}[min(i, 1)], key, value)
	}
	return append(b.Bytes(), '}'), nil
}

// shapeOf returns the schema of a value of type t with the formats of f.
func shapeOf(t reflect.Type, f field) *shape {
	if r, ok := reflect.New(t).Interface().(reader); ok {
		return r.shape()
	}
	full := 0
	if f.need || f.byDefault != "" {
		full = 1
	}
	switch t.Kind() {
	case reflect.Struct:
		return objectShape(t)
	case reflect.Map:
		return &shape{
			Type: "object", MinProperties: full, PropertyNames: formatShape(f.keys), AdditionalProperties: shapeOf(t.Elem(), field{is: f.is}),
		}
	case reflect.Slice:
		item := shapeOf(t.Elem(), field{is: f.is})
		list := &shape{Type: "array", MinItems: full, Items: item}
		if t.Elem().Kind() == reflect.String {
			return &shape{AnyOf: []*shape{item, list}}
		}
		return list
	case reflect.Bool:
		return &shape{Type: "boolean"}
	}
	return formatShape(f.is)
}

// objectShape returns the schema of a struct.
func objectShape(t reflect.Type) *shape {
	s := &shape{Type: "object", AdditionalProperties: false}
	for _, f := range fieldsOf(t) {
		one := shapeOf(t.Field(f.index).Type, f)
		one.Description = f.doc
		if f.byDefault != "" {
			one.Default = f.byDefault
			if t.Field(f.index).Type.Kind() == reflect.Bool {
				one.Default = f.byDefault == "true"
			}
		}
		if f.need {
			s.Required = append(s.Required, f.key)
		}
		s.Properties = append(s.Properties, property{f.key, one})
	}
	return s
}

// formatShape returns the schema of a format.
func formatShape(name string) *shape {
	f := formats[name]
	if f.kind == "integer" {
		return &shape{Type: f.kind, Minimum: f.least, Maximum: f.most}
	}
	s := &shape{Type: f.kind, Pattern: f.pattern.String(), MaxLength: f.length}
	if name == "value" {
		s.Type = []string{"string", "number", "boolean"} // as in compose files: PORT: 3000
	}
	return s
}
