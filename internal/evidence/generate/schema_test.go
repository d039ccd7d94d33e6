package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

func TestTheSchemaIsFresh(t *testing.T) {
	want, err := schema("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../schemas/result.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("schemas/result.schema.json is stale: run go generate ./internal/evidence (-want +got):\n%s", diff)
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := schema("..")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// full is a Result in which every field of every type has a value.
func full() evidence.Result {
	var r evidence.Result
	fill(reflect.ValueOf(&r).Elem())
	r.SchemaVersion, r.Outcome = evidence.SchemaVersion, "failed"
	for i := range r.Suites {
		r.Suites[i].Outcome = "canceled"
		for j := range r.Suites[i].Cases {
			r.Suites[i].Cases[j].Status = evidence.Error
		}
	}
	return r
}

func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.FixedZone("", 3600))))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(7)
	case v.CanFloat():
		v.SetFloat(1.5)
	default:
		panic("no value for " + v.Type().String())
	}
}

func valid(t *testing.T, s *jsonschema.Schema, r any) error {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestResultsAreValid(t *testing.T) {
	s := compiled(t)
	least := evidence.Result{SchemaVersion: evidence.SchemaVersion, Outcome: "passed"}
	for name, r := range map[string]evidence.Result{"full": full(), "least": least} {
		if err := valid(t, s, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpoiledResultsAreNot takes a full result and gives each of its values, one after the other, another type, and takes away each
// one that has to be there.
func TestSpoiledResultsAreNot(t *testing.T) {
	s := compiled(t)
	data, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	each(t, data, func(path string, doc any) {
		count++
		if s.Validate(doc) == nil {
			t.Errorf("the schema takes a result whose %s is no longer of its type", path)
		}
	})
	if count < 80 {
		t.Errorf("only %d values were spoiled", count)
	}
	for _, key := range []string{"schemaVersion", "run", "repository", "sha", "outcome"} {
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		delete(doc, key)
		if valid(t, s, doc) == nil {
			t.Errorf("the schema takes a result without %s", key)
		}
	}
	wrong := full()
	wrong.SchemaVersion++
	other := full()
	other.Suites[0].Cases[0].Status = "green"
	for name, r := range map[string]evidence.Result{"another version": wrong, "another status": other} {
		if valid(t, s, r) == nil {
			t.Errorf("the schema takes a result of %s", name)
		}
	}
}

// each calls f with a copy of the document for each of its values, that value replaced by one of another type.
func each(t *testing.T, data []byte, f func(path string, doc any)) {
	t.Helper()
	var paths [][]any
	var walk func(v any, path []any)
	walk = func(v any, path []any) {
		if len(path) > 0 {
			paths = append(paths, path)
		}
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(x, append(path[:len(path):len(path)], k))
			}
		case []any:
			for i, x := range v {
				walk(x, append(path[:len(path):len(path)], i))
			}
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	walk(doc, nil)
	for _, path := range paths {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		f(spoil(doc, path), doc)
	}
}

// spoil replaces the value at a path by null, which is invalid everywhere in a result, and returns the name of the path.
func spoil(doc any, path []any) string {
	var name []string
	for i, step := range path {
		last := i == len(path)-1
		switch step := step.(type) {
		case string:
			name = append(name, step)
			if last {
				doc.(map[string]any)[step] = nil
			} else {
				doc = doc.(map[string]any)[step]
			}
		case int:
			if last {
				doc.([]any)[step] = nil
			} else {
				doc = doc.([]any)[step]
			}
		}
	}
	return strings.Join(name, ".")
}
