package main

import (
	"fmt"
	"strings"
)

type object = map[string]any

// take builds the subset: the wanted operations and webhooks and, as often as needed, what they refer to.
func take(full object, wanted []item) (object, error) {
	t := taker{full: full, paths: object{}, components: object{}}
	for _, w := range wanted {
		var err error
		if w.method == "WEBHOOK" {
			err = t.component("schemas", "webhook-"+w.name)
		} else {
			err = t.operation(strings.ToLower(w.method), w.name)
		}
		if err != nil {
			return nil, err
		}
	}
	return object{
		"openapi":    full["openapi"],
		"info":       object{"title": "subset of GitHub's REST API", "version": version},
		"paths":      t.paths,
		"components": t.components,
	}, nil
}

type taker struct {
	full       object
	paths      object
	components object
	err        error
}

func (t *taker) operation(method, path string) error {
	from, _ := child(t.full, "paths", path)
	op, ok := from[method].(object)
	if !ok {
		return fmt.Errorf("%s %s is not in the description", method, path)
	}
	to, ok := t.paths[path].(object)
	if !ok {
		to = object{}
		t.paths[path] = to
	}
	out := object{"operationId": op["operationId"], "responses": t.each(op["responses"], t.response)}
	if p, ok := op["parameters"].([]any); ok {
		out["parameters"] = t.list(p, t.parameter)
	}
	if body, ok := op["requestBody"].(object); ok {
		out["requestBody"] = object{"required": body["required"] == true, "content": t.each(body["content"], t.media)}
	}
	to[method] = out
	return t.err
}

// component copies components/<kind>/<name>, once.
func (t *taker) component(kind, name string) error {
	to, ok := t.components[kind].(object)
	if !ok {
		to = object{}
		t.components[kind] = to
	}
	if _, done := to[name]; done {
		return t.err
	}
	from, _ := child(t.full, "components", kind)
	value, ok := from[name].(object)
	if !ok {
		return fmt.Errorf("components/%s/%s is not in the description", kind, name)
	}
	to[name] = object{} // before its content: descriptions refer to themselves
	switch kind {
	case "schemas":
		to[name] = t.schema(value)
	case "parameters":
		to[name] = t.parameter(value)
	case "responses":
		to[name] = t.response(value)
	default:
		return fmt.Errorf("cannot take components/%s", kind)
	}
	return t.err
}

// ref follows a reference and returns it; nil when o is not one.
func (t *taker) ref(o object) object {
	ref, ok := o["$ref"].(string)
	if !ok {
		return nil
	}
	kind, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
	if err := t.component(kind, name); err != nil && t.err == nil {
		t.err = err
	}
	return object{"$ref": ref}
}

func (t *taker) parameter(o object) any {
	if ref := t.ref(o); ref != nil {
		return ref
	}
	out := keep(o, "name", "in", "required", "style", "explode")
	if s, ok := o["schema"].(object); ok {
		out["schema"] = t.schema(s)
	}
	return out
}

func (t *taker) response(o object) any {
	if ref := t.ref(o); ref != nil {
		return ref
	}
	out := object{"description": ""}
	if content, ok := o["content"].(object); ok {
		out["content"] = t.each(content, t.media)
	}
	return out
}

func (t *taker) media(o object) any {
	out := object{}
	if s, ok := o["schema"].(object); ok {
		out["schema"] = t.schema(s)
	}
	return out
}

// schema copies what a validator acts on and nothing a person wrote to be read.
func (t *taker) schema(o object) any {
	if ref := t.ref(o); ref != nil {
		return ref
	}
	out := keep(o, "type", "format", "enum", "required", "nullable", "pattern", "uniqueItems",
		"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
		"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
	for _, key := range []string{"items", "not"} {
		if s, ok := o[key].(object); ok {
			out[key] = t.schema(s)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		if l, ok := o[key].([]any); ok {
			out[key] = t.list(l, t.schema)
		}
	}
	if p, ok := o["properties"].(object); ok {
		out["properties"] = t.each(p, t.schema)
	}
	switch extra := o["additionalProperties"].(type) {
	case bool:
		out["additionalProperties"] = extra
	case object:
		out["additionalProperties"] = t.schema(extra)
	}
	return out
}

func (t *taker) each(from any, copy func(object) any) object {
	out := object{}
	in, _ := from.(object)
	for key, value := range in {
		if o, ok := value.(object); ok {
			out[key] = copy(o)
		}
	}
	return out
}

func (t *taker) list(from []any, copy func(object) any) []any {
	out := make([]any, 0, len(from))
	for _, value := range from {
		if o, ok := value.(object); ok {
			out = append(out, copy(o))
		}
	}
	return out
}

func keep(o object, keys ...string) object {
	out := object{}
	for _, key := range keys {
		if v, ok := o[key]; ok {
			out[key] = v
		}
	}
	return out
}

func child(o object, keys ...string) (object, bool) {
	for _, key := range keys {
		next, ok := o[key].(object)
		if !ok {
			return nil, false
		}
		o = next
	}
	return o, true
}
