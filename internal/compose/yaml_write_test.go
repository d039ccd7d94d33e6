package compose

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// libraryYAML is what sigs.k8s.io/yaml writes.
func libraryYAML(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		data, err = yaml.JSONToYAML(printable(data))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writtenYAML(t *testing.T, v map[string]any) string {
	t.Helper()
	w := &yamlWriter{}
	if w.mapping(v, 0, false); w.err != nil {
		t.Fatal(w.err)
	}
	return string(w.out)
}

// oddTexts are strings that cannot all be written in one way.
var oddTexts = []string{
	"", "a", "yes", "No", "y", "null", "~", "true", "0", "007", "0o7", "0x1F", "0b11", "-0b1", "1_000", "1e3", "1.", ".5", ".inf", "-.INF", ".", "+1", "-", "- a",
	"-a", "?", "? a", "?a", ":", ": a", "a: b", "a:b", "a:", "a #b", "a#b", "#a", "[a", "{a", "&a", "*a", "!a", "|", ">", "'", "it's", `"`, `a"b`, `\`, "%", "@", "`",
	" a", "a ", "a  b", "\t", "a\tb", "a\nb", "a\nb\n", "a\n\n", "\n", "\na", " a\nb", "a \nb", "a\n b", "a\n ", "a\tb\nc", "---", "--- a", "...", "é", "a\u00a0b",
	"\u007f", "\u0085", "😀", "\ufeff", "\ufffd", "2001-01-01", "2001-1-1 1:1:1", "2001-x", "12:30", "1:60", "10:30:20.5", "<<", "=", "http://a:80/b?c#d", "$(A)", "a\r\nb",
	strings.Repeat("long ", 40), strings.Repeat("long ", 40) + "é", "a, b", "\x00", "\x1b[0m",
}

func TestYAML(t *testing.T) {
	cases := map[string]map[string]any{
		"empty":      {"a": map[string]any{}, "b": []any{}, "c": nil, "d": ""},
		"values":     {"a": true, "b": false, "c": int64(-5), "d": int64(1) << 40},
		"lists":      {"a": []any{"x", int64(1), nil, map[string]any{}, map[string]any{"k": "v", "l": []any{"y"}, "m": map[string]any{"n": "o"}}, "a\nb"}},
		"deep":       {"a": map[string]any{"b": map[string]any{"c": "x\ny\n", "d": []any{map[string]any{"e": "x\ny"}}}}},
		"long key":   {strings.Repeat("k", 129): "v", strings.Repeat("k", 128): "a\nb"},
		"keys":       {"a10": true, "a9": true, "a-b": true, "a.b": true, "a/b": true, "ab": true, "A": true, "a": true, "0": true, "10": true, "9": true, "a01": true, "a1": true, "é": true, "y": true, "": true},
		"odd keys":   {},
		"odd values": {},
		"odd items":  {"a": []any{}},
	}
	for i, s := range oddTexts {
		if !strings.ContainsAny(s, "0123456789\n\u0085") && len(s) < 128 {
			cases["odd keys"][s] = "v"
		}
		cases["odd values"][fmt.Sprintf("k%03d", 100+i)] = s
		cases["odd items"]["a"] = append(cases["odd items"]["a"].([]any), s)
	}
	for name, v := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(libraryYAML(t, v), writtenYAML(t, v)); diff != "" {
				t.Errorf("(-library +ours)\n%s", diff)
			}
		})
	}
}

// TestYAMLOfGoldens compares every object of the golden cases.
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
			continue // Refused, as its golden files say.
		}
		for _, o := range newConverter(p, Options{}).convert().Objects() {
			v, err := objectFields(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(libraryYAML(t, v), writtenYAML(t, v)); diff != "" {
				t.Errorf("%s: %s (-library +ours)\n%s", file, o.GetName(), diff)
			}
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range oddTexts {
		f.Add("k", s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		// No key has a line break. Unusual ones in values, and what begins with a byte order mark, are written in another way, which means
		// the same.
		if strings.ContainsAny(key, "\r\n\u0085\u2028\u2029") || strings.ContainsAny(value, "\u2028\u2029") || strings.Contains(key+value, "\ufeff") || len(key) > 64 {
			return
		}
		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		v := map[string]any{"a": value, key + "0": []any{value, map[string]any{key: value, "z": map[string]any{key: value}}}}
		if diff := cmp.Diff(libraryYAML(t, v), writtenYAML(t, v)); diff != "" {
			t.Errorf("(-library +ours)\n%s", diff)
		}
	})
}
