package compose

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv4 "go.yaml.in/yaml/v4"
	"sigs.k8s.io/yaml"
)

// readsBack writes a value and has readers of YAML 1.1 (sigs.k8s.io/yaml, as in kubectl) and 1.2 read it: both must find what
// encoding/json writes.
func readsBack(t *testing.T, v fields) {
	t.Helper()
	out, err := document(v)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var want, old, newer any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out, &old); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("YAML 1.1 (-want +got)\n%s\nof\n%s", diff, out)
	}
	if err := yamlv4.Unmarshal(out, &newer); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if data, err = json.Marshal(newer); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &newer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, newer); diff != "" {
		t.Errorf("YAML 1.2 (-want +got)\n%s\nof\n%s", diff, out)
	}
}

// oddTexts are strings that cannot all be written in one way.
var oddTexts = []string{
	"", "a", "yes", "No", "y", "null", "~", "true", "0", "007", "0o7", "0x1F", "0b11", "-0b1", "1_000", "1,000", "1e3", "1.", ".5", ".inf", "-.INF", "+.inf", ".NaN", ".",
	"+1", "-", "- a", "-a", "--a", "?", "? a", "?a", ":", ": a", "a: b", "a:b", "a:", "a #b", "a#b", "#a", "[a", "{a", "&a", "*a", "!a", "|", ">", "'", "it's", `"`, `a"b`,
	`\`, "%", "@", "`", " a", "a ", "a  b", "\t", "a\tb", "a\nb", "a\nb\n", "a\n\n", "\n", "\n\n", "\na", " a\nb", "\ta\nb", "a \nb", "a\n b", "a\n ", "a\tb\nc", "\n \na", "---",
	"--- a", "---\na", "...", "...\na", "/", "//", "/a", "./a", "é", "é\nb", "a\u00a0b", "\u007f", "\u0085", "\u2028", "a\u2029\nb", "😀", "😀\nb", "\ufeff", "\ufeffa\nb", "\ufffd",
	"2001-01-01", "2001-1-1 1:1:1", "2001-01-01T01:01:01Z", "2001-x", "12:30", "1:60", "10:30:20.5", "<<", "=", "http://a:80/b?c#d", "$(A)", "a\r\nb", "\r",
	strings.Repeat("long ", 40), strings.Repeat("long ", 40) + "é", "a, b", "\x00", "\x1b[0m", "10m", "1Gi", "1.5Gi", "5s", "10.0.0.0/8", "127.0.0.1", "1E", "0.5E",
}

func TestYAMLReadsBack(t *testing.T) {
	odd := fields{"empty": fields{"a": fields{}, "b": []any{}, "c": nil, "d": ""}, "list": []any{fields{}, []any{}, nil, true, 1 << 40, -5}}
	var items []any
	for _, s := range oddTexts {
		odd["k"+s] = s
		odd[s] = fields{s: []any{s, fields{s: s, "z": fields{s: s}}}}
		items = append(items, s)
	}
	odd["items"] = items
	readsBack(t, odd)
}

// TestYAMLOfGoldens reads every object of the golden cases back.
func TestYAMLOfGoldens(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		load := settings[filepath.Base(filepath.Dir(file))].load
		if load.Files == nil {
			load.Files = []string{"compose.yaml"}
		}
		p, err := Load(filepath.Dir(file), load)
		if err != nil {
			continue // Its golden files expect the refusal.
		}
		for _, o := range newConverter(p, Options{}).convert().Objects() {
			f, err := objectFields(o)
			if err != nil {
				t.Fatal(err)
			}
			readsBack(t, f)
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range oddTexts {
		f.Add("k", s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if len(key) > 64 {
			return // No key is as long as those that YAML has another form for.
		}
		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		readsBack(t, fields{"a": value, key + "0": []any{value, fields{key: value, "z": fields{key: value}}}})
	})
}
