package repoconfig

import (
	"reflect"
	"strconv"
	"time"
)

// field is one key of a struct, from its tags.
type field struct {
	index                         int
	key, doc, byDefault, is, keys string
	need                          bool
}

// fieldsOf returns the keys of a struct type in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		if key := tag.Get("yaml"); key != "-" {
			out = append(out, field{
				index: i, key: key, doc: tag.Get("doc"), byDefault: tag.Get("default"), is: tag.Get("is"), keys: tag.Get("keys"), need: tag.Get("need") == "true",
			})
		}
	}
	return out
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key
	}
	return out
}

// place returns the place of the field's value. A list or mapping that is required or has a default must not be empty.
func (f field) place(parent place) place {
	p := parent.at(f.key)
	p.is, p.keys, p.full = f.is, f.keys, f.need || f.byDefault != ""
	return p
}

// fill sets a missing value to its default; for a struct, the defaults of its fields.
func fill(v reflect.Value, text string) {
	switch x := v.Addr().Interface().(type) {
	case *Duration:
		if text != "" {
			x.Duration = mustDuration(text)
		}
		return
	case reader:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			fill(v.Field(f.index), f.byDefault)
		}
	case reflect.Slice:
		if text != "" {
			v.Set(reflect.ValueOf([]string{text}))
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		if n, err := strconv.Atoi(text); err == nil {
			v.SetInt(int64(n))
		}
	}
}

// mustDuration parses the default of a tag.
func mustDuration(text string) time.Duration {
	d, problem := duration(text)
	if problem != "" {
		panic("a default " + problem)
	}
	return d
}
