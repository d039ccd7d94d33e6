package house

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const chartDir = root + "/charts/conductor"

// release is the chart rendered with values, as by `helm install conductor -n conductor`.
type release struct {
	text map[string]string // rendered files by name
	all  []unstructured.Unstructured
}

// render renders the chart with values merged over its own. It implements only the functions that the chart uses; the end-to-end tests
// install the chart with Helm itself.
func render(t *testing.T, over string) release {
	t.Helper()
	values, chart := map[string]any{}, map[string]any{}
	parse(t, filepath.Join(chartDir, "values.yaml"), &values)
	parse(t, filepath.Join(chartDir, "Chart.yaml"), &chart)
	var mine map[string]any
	if err := yaml.Unmarshal([]byte(over), &mine); err != nil {
		t.Fatal(err)
	}
	merge(values, mine)
	data := map[string]any{
		"Values": values, "Chart": map[string]any{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
		"Release":  map[string]any{"Name": "conductor", "Namespace": "conductor", "Service": "Helm"},
		"Template": map[string]any{"BasePath": "templates"},
	}
	files, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	if err != nil || len(files) < 5 {
		t.Fatalf("templates: %v, %v", files, err)
	}
	set := template.New("chart").Option("missingkey=zero")
	set.Funcs(functions(set))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.New("templates/" + filepath.Base(f)).Parse(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	r := release{text: map[string]string{}}
	for _, f := range files {
		name := filepath.Base(f)
		var out bytes.Buffer
		if err := set.ExecuteTemplate(&out, "templates/"+name, data); err != nil {
			t.Fatal(err)
		}
		r.text[name] = out.String()
		if filepath.Ext(name) == ".yaml" {
			r.all = append(r.all, documents(t, name, out.String())...)
		}
	}
	return r
}

func parse(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func merge(base, over map[string]any) {
	for k, v := range over {
		if m, ok := v.(map[string]any); ok {
			if b, ok := base[k].(map[string]any); ok {
				merge(b, m)
				continue
			}
		}
		base[k] = v
	}
}

func documents(t *testing.T, name, text string) []unstructured.Unstructured {
	t.Helper()
	var all []unstructured.Unstructured
	for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(doc), &o); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, doc)
		}
		if len(o) > 0 {
			all = append(all, unstructured.Unstructured{Object: o})
		}
	}
	return all
}

// of are the objects of a kind.
func (r release) of(kind string) []unstructured.Unstructured {
	var all []unstructured.Unstructured
	for _, o := range r.all {
		if o.GetKind() == kind {
			all = append(all, o)
		}
	}
	return all
}

// functions are the functions of Helm and Sprig that the chart uses.
func functions(set *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := set.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"nindent": func(n int, s string) string {
			pad := "\n" + strings.Repeat(" ", n)
			return pad + strings.ReplaceAll(s, "\n", pad)
		},
		"toYaml": func(v any) (string, error) {
			b, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(b), "\n"), err
		},
		"toJson": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"default": func(d, v any) any {
			if ok, _ := template.IsTrue(v); ok {
				return v
			}
			return d
		},
		"required": func(why string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, fmt.Errorf("%s", why)
			}
			return v, nil
		},
		"quote":      func(v any) string { return strconv.Quote(fmt.Sprint(v)) },
		"squote":     func(v any) string { return "'" + fmt.Sprint(v) + "'" },
		"int64":      toInt,
		"sha256sum":  func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
		"trimPrefix": func(p, s string) string { return strings.TrimPrefix(s, p) },
		"trimSuffix": func(p, s string) string { return strings.TrimSuffix(s, p) },
		"regexFind":  func(re, s string) string { return regexp.MustCompile(re).FindString(s) },
		"regexReplaceAll": func(re, s, by string) string {
			return regexp.MustCompile(re).ReplaceAllString(s, by)
		},
		"splitList": func(sep, s string) []string { return strings.Split(s, sep) },
		"first":     func(all []string) string { return all[0] },
		"last":      func(all []string) string { return all[len(all)-1] },
		"has":       func(one string, all any) bool { return slices.Contains(texts(all), one) },
		"contains":  func(part, s string) bool { return strings.Contains(s, part) },
		"int":       func(v any) int { return int(toInt(v)) },
		"until":     func(n int) []int { return make([]int, n) },
		"add":       func(a, b any) int64 { return toInt(a) + toInt(b) },
		"sub":       func(a, b any) int64 { return toInt(a) - toInt(b) },
		"mul":       func(a, b any) int64 { return toInt(a) * toInt(b) },
		"div":       func(a, b any) int64 { return toInt(a) / toInt(b) },
	}
}

// texts is a list of the values.
func texts(list any) []string {
	var out []string
	all, _ := list.([]any)
	for _, v := range all {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func toInt(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case int64:
		return v
	case int:
		return int64(v)
	}
	n, _ := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return n
}

// leastValues are the values that an operator has to set.
const leastValues = `{registry: {host: registry.example.com}, github: {appID: 1}}`

// manyValues enable what is off by default, including everything that the lab enables.
const manyValues = `
image: {repository: 192.0.2.1:5000/conductor/conductor, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
imagePullSecrets: [{name: conductor-image}]
nodeSelector: {pool: system}
tolerations: [{key: dedicated, operator: Exists}]
service: {type: NodePort, nodePort: 30808}
ingress: {enabled: true, className: nginx, host: conductor.example.com, tlsSecret: conductor-tls, annotations: {a.example.com/b: c}}
github: {apiURL: "http://192.0.2.1:3000/api/v3", appID: 123456789, existingSecret: conductor-github}
registry: {type: oci, host: "192.0.2.1:5000", prefix: conductor, insecure: true, mirrors: ["192.0.2.1:5000"], existingSecret: conductor-registry}
builds: {namespace: builds, cpu: 100m, memory: 128Mi, memoryLimit: 2Gi}
stacks:
  host: "{service}-{run}.qa.example.com"
  gateway: gateways/public
  ingressNamespaces: [ingress-nginx]
  egress: ["192.0.2.1/32", "198.51.100.0/24:443", "0.0.0.0/0:443", "169.254.7.0/24", "168.0.0.0/6", "2001:db8::/32", "::/0:443"]
  registries: [docker.io, ghcr.io/acme]
  allow: [devices, sysctls]
  pods: 20
  cpu: "8"
  memory: 16Gi
keep: {forever: true}
retention: {perRepository: 20}
memory: {results: 128Mi}
`

// With `webhook: pull`, nothing of Conductor can be reached from outside, and no secret is needed.
func TestPullingNeedsNoServiceAndNoSecret(t *testing.T) {
	r := render(t, strings.TrimSuffix(leastValues, "}")+", webhook: pull, ingress: {enabled: true, host: conductor.example.com}}")
	for _, o := range r.all {
		if o.GetKind() == "Service" || o.GetKind() == "Ingress" {
			t.Errorf("%s %s", o.GetKind(), o.GetName())
		}
	}
	if text := r.text["config.yaml"]; strings.Contains(text, "webhookSecretFiles") || !strings.Contains(text, "webhook: pull") {
		t.Errorf("config:\n%s", text)
	}
}

func TestTheChartRenders(t *testing.T) {
	for name, values := range map[string]string{"least": leastValues, "many": manyValues} {
		r := render(t, values)
		kinds := map[string]int{}
		for _, o := range r.all {
			kinds[o.GetKind()]++
			if o.GetName() == "" || o.GetAPIVersion() == "" {
				t.Errorf("%s: an object without a name: %v", name, o.Object)
			}
			if o.GetLabels()["app.kubernetes.io/name"] != "conductor" {
				t.Errorf("%s: %s %s lacks the chart's labels", name, o.GetKind(), o.GetName())
			}
		}
		for _, kind := range []string{"Deployment", "PodDisruptionBudget", "Service", "ConfigMap", "ServiceAccount", "Role", "ClusterRole", "Namespace", "NetworkPolicy", "ValidatingAdmissionPolicy", "Job"} {
			if kinds[kind] == 0 {
				t.Errorf("%s: no %s among %v", name, kind, slices.Sorted(maps.Keys(kinds)))
			}
		}
		if (kinds["Ingress"] == 1) != (name == "many") {
			t.Errorf("%s: %d Ingresses", name, kinds["Ingress"])
		}
	}
}
