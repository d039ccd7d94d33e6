package repoconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	for file, want := range map[string][]byte{
		"../../schemas/conductor.schema.json": Schema(), "../../docs/conductor-yaml.md": Reference(),
	} {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale: run go generate ./internal/repoconfig (-want +got):\n%s", file, diff)
		}
	}
}

// compiled is the schema, and a proof that it is one.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid asks the schema about a YAML text.
func valid(t testing.TB, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	return s.Validate(plain(v))
}

// plain is a YAML value as JSON has it: keys are strings, and what JSON lacks is text.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
	case map[any]any:
		out := map[string]any{}
		for k, x := range v {
			out[fmt.Sprint(k)] = plain(x)
		}
		return out
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
	case time.Time:
		return v.String()
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

func TestExampleNamesEveryKey(t *testing.T) {
	data, err := os.ReadFile("../../examples/.conductor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("examples/.conductor.yaml", data); err != nil {
		t.Error(err)
	}
	if err := valid(t, compiled(t), string(data)); err != nil {
		t.Errorf("the schema refuses the example: %v", err)
	}
	if head := "# yaml-language-server: $schema=../schemas/conductor.schema.json\n"; !strings.HasPrefix(string(data), head) {
		t.Errorf("the example does not begin with %q", head)
	}
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	paths(reflect.TypeFor[Config](), doc, "", have)
	all := map[string]bool{}
	every(reflect.TypeFor[Config](), "", all)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if !have[p] {
			t.Errorf("the example does not show %s", p)
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d keys were found", len(all))
	}
}

// every collects the paths of all keys below t, * standing for names and items.
func every(t reflect.Type, prefix string, out map[string]bool) {
	if t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		every(t.Elem(), prefix+"*.", out)
		return
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Command]() || t == reflect.TypeFor[Duration]() {
		return
	}
	for _, f := range fieldsOf(t) {
		out[prefix+f.key] = true
		every(t.Field(f.index).Type, prefix+f.key+".", out)
	}
}

// paths collects the paths that a document holds.
func paths(t reflect.Type, v any, prefix string, out map[string]bool) {
	switch m := v.(type) {
	case map[string]any:
		for k, x := range m {
			if t.Kind() == reflect.Map {
				paths(t.Elem(), x, prefix+"*.", out)
				continue
			}
			for _, f := range fieldsOf(t) {
				if f.key == k {
					out[prefix+k] = true
					paths(t.Field(f.index).Type, x, prefix+k+".", out)
				}
			}
		}
	case []any:
		for _, x := range m {
			if t.Kind() == reflect.Slice {
				paths(t.Elem(), x, prefix+"*.", out)
			}
		}
	}
}

// TestSchemaAndParserAgree asks both about the same texts, and about the example with each of its keys spoiled.
func TestSchemaAndParserAgree(t *testing.T) {
	s := compiled(t)
	texts := []string{
		least, "{}", "[]", "version: 1", "tests: {a: b}", "version: 2\ntests: {a: b}", "version: \"1\"\ntests: {a: b}", "version: 1\ntests: {}",
		"version: 1\ntests: {a: }", "version: 1\ntests: {a: []}", "version: 1\ntests: {a: {}}", "version: 1\ntests: {A: b}", "version: 1\ntests: {a: true}",
		"version: 1\ntests: {a: {command: []}}", "version: 1\ntests: {a: {command: [x, 1, true]}}", "version: 1\ntests: {a: {command: [1]}}",
		"version: 1\ntests: {a: {command: x, env: {A: 1, B: 1.5, C: true, D: x}}}", "version: 1\ntests: {a: {command: x, env: {A: }}}",
		"version: 1\ntests: {a: {command: x, env: {A: []}}}", "version: 1\ntests: {a: {command: x, env: {A-B: x}}}", "version: 1\ntests: {1: x}",
		"version: 1\ntests: {a: {run: x}}", "version: 1\ntests: {a: {run: x, command: y}}", "version: 1\ntests: {a: {run: x, image: y}}",
		"version: 1\ntests: {a: {run: x, service: y}}", "version: 1\ntests: {a: {image: x, service: y}}",
	}
	for _, extra := range []string{
		"keep: 1h", "keep: forever", "keep: {ttl: forever}", "keep: {ttl: 5}", "keep: {idle: 2h, after_close: true}", "keep: {idle: forever}", "keep: {after_close: 1}", "keep: {}", "keep: 7d", "keep: [1h]", "keep: ", "stack: ", "stack: {}",
		"stack: {compose: a}", "stack: {compose: []}", "stack: {compose: ../a}", "stack: {compose: [a, ./b/c/]}", "stack: {compose: [5]}", "stack: {profiles: []}",
		"stack: {profiles: ['*', a b]}", "stack: {env_file: /a}", "stack: {strict: \"true\"}", "stack: {public: []}", "stack: {public: [{service: a}]}",
		"stack: {public: [{service: a, port: 0}]}", "stack: {public: [{service: a, port: 1}]}", "stack: {public: {service: a, port: 1}}",
		"stack: {ready: {timeout: 1}}", "stack: {ready: {timeout: 1s}}", "build: {images: {}}", "build: {images: {a: {}}}", "build: {images: {a: }}",
		"build: {images: {a: {args: {A: 1}, target: -x}}}", "unknown: 1",
	} {
		texts = append(texts, least+extra+"\n")
	}
	data, err := os.ReadFile("../../examples/.conductor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, string(data))
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if at := strings.Index(line, ": "); at > 0 && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			for _, bad := range []string{line[:at] + "zz" + line[at:], line[:at] + ": {x: y}", line[:at] + ": [[x]]", line[:at] + ":"} {
				texts = append(texts, strings.Join(slices.Concat(lines[:i], []string{bad}, lines[i+1:]), "\n"))
			}
		}
	}
	accepted := 0
	for _, text := range texts {
		_, perr := Parse("f", []byte(text))
		serr := valid(t, s, text)
		if (perr == nil) != (serr == nil) {
			t.Errorf("%.200q:\nparser: %v\nschema: %v", text, perr, serr)
		}
		if perr == nil {
			accepted++
		}
	}
	if accepted < 10 || accepted > len(texts)-50 {
		t.Errorf("%d of %d texts are accepted: that proves little", accepted, len(texts))
	}
}

func TestSchemaDescribesEverything(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, f := range []reflect.Type{
		reflect.TypeFor[Config](), reflect.TypeFor[Test](), reflect.TypeFor[Stack](), reflect.TypeFor[Ready](), reflect.TypeFor[Public](),
		reflect.TypeFor[Build](), reflect.TypeFor[Image](), reflect.TypeFor[Keep](),
	} {
		for _, one := range fieldsOf(f) {
			if one.key == "" || one.doc == "" {
				t.Errorf("%s: a field has no key or no doc: %+v", f, one)
			}
			for _, name := range []string{one.is, one.keys} {
				if _, ok := formats[name]; name != "" && !ok {
					t.Errorf("%s.%s: there is no format %s", f, one.key, name)
				}
			}
		}
	}
}

// FuzzParse never panics, and what the parser accepts the schema accepts.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("../../examples/.conductor.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		least, string(data), "", "a: [", least + "keep: 7d\n", "version: 1\ntests: &t {<<: *t}\n", "version: 1\ntests: {a: {command: [x, .nan, 2026-01-01]}}",
		"? [a]\n: !!str b\n", "\ufeff%YAML 1.2\n---\nversion: 1\n...\n---\n",
	} {
		f.Add([]byte(s))
	}
	s := compiled(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("both or neither: %v, %v", c, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), ":0:") || strings.ContainsRune(err.Error(), 0) {
				t.Errorf("error %q", err)
			}
			return
		}
		if err := valid(t, s, string(data)); err != nil {
			t.Errorf("the parser accepts what the schema refuses: %v", err)
		}
		if len(c.Suites()) == 0 || c.Stack.Ready.Timeout.Duration <= 0 {
			t.Errorf("%+v lacks what every file has", c)
		}
		for name, suite := range c.Tests {
			if len(suite.Command.Argv()) == 0 && suite.Image == "" && suite.Service == "" && suite.Run == "" || suite.Timeout.Duration <= 0 || suite.Shards < 1 {
				t.Errorf("%s: %+v", name, suite)
			}
		}
	})
}
