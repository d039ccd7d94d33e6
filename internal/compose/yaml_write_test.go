package compose

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv4 "go.yaml.in/yaml/v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// readsBack writes a value and has readers of YAML 1.1 (sigs.k8s.io/yaml, which kubectl has) and 1.2 read it: both must find what
// encoding/json writes.
func readsBack(t *testing.T, v any) string {
	t.Helper()
	w := &yamlWriter{}
	if w.object(v); w.err != nil {
		t.Fatal(w.err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var want, old, newer any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(w.out, &old); err != nil {
		t.Fatalf("%v in\n%s", err, w.out)
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Errorf("YAML 1.1 (-want +got)\n%s\nof\n%s", diff, w.out)
	}
	if err := yamlv4.Unmarshal(w.out, &newer); err != nil {
		t.Fatalf("%v in\n%s", err, w.out)
	}
	if data, err = json.Marshal(newer); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &newer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, newer); diff != "" {
		t.Errorf("YAML 1.2 (-want +got)\n%s\nof\n%s", diff, w.out)
	}
	return string(w.out)
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

// TestYAMLOfTypes writes what structures have: fields that are left out, embedded ones, and types with JSON of their own.
func TestYAMLOfTypes(t *testing.T) {
	seconds := int64(0)
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"b": "1", "a": "x\ny"}, DeletionGracePeriodSeconds: &seconds, CreationTimestamp: metav1.Unix(1, 0)},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Containers: []corev1.Container{{
				Name: "c", Args: []string{}, Env: []corev1.EnvVar{{Name: "A", Value: ""}, {Name: "B", Value: "yes"}},
				Resources:      corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("1")}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}},
				LivenessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("80")}}},
			}},
		},
	}
	readsBack(t, pod)
	readsBack(t, &corev1.ConfigMap{BinaryData: map[string][]byte{"a": {0, 1, 2}, "b": {}, "c": {0xfb, 0xff}}, Immutable: new(bool)})
	out := readsBack(t, &unstructured.Unstructured{Object: fields{"apiVersion": "v1", "kind": "X", "spec": fields{"m": int64(5), "l": []any{"a"}}}})
	if want := "apiVersion: v1\nkind: X\nspec:\n  l:\n  - a\n  m: 5\n"; out != want {
		t.Errorf("written %q, want %q", out, want)
	}
}

func TestYAMLOfAListInAListIsAnError(t *testing.T) {
	w := &yamlWriter{}
	if w.object(fields{"a": []any{[]any{"b"}}}); w.err == nil {
		t.Errorf("written %s", w.out)
	}
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
			continue // Refused, as its golden files say.
		}
		for _, o := range newConverter(p, Options{}).convert().Objects() {
			readsBack(t, o)
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
