//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/test/corpus"
)

// enforced are the namespaces in which objects are tried, by the level of Pod Security that they enforce. Objects that need --allow go
// beyond baseline.
var enforced = map[string]string{"baseline": "dry-run-baseline", "privileged": "dry-run-privileged"}

// dryRun sends objects to the API server as dry runs.
type dryRun struct {
	client   client.Client
	mu       sync.Mutex
	warnings []string
	// objects and pods count what was tried, beyond those that need --allow.
	objects, pods, beyond int
}

func newDryRun(t *testing.T) *dryRun {
	t.Helper()
	for level, name := range enforced {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": level}}}
		if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), ns)); err != nil {
			t.Fatal(err)
		}
	}
	d := &dryRun{}
	c := rest.CopyConfig(config)
	c.QPS, c.Burst, c.WarningHandler = 1000, 1000, d
	var err error
	if d.client, err = client.New(c, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	return d
}

// HandleWarningHeader collects the API server's warnings.
func (d *dryRun) HandleWarningHeader(_ int, _, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.warnings = append(d.warnings, text)
}

// try returns the API server's objections to an object and to the pod of its template, which it checks less strictly as a template.
func (d *dryRun) try(ctx context.Context, object *unstructured.Unstructured, level string) []string {
	object.SetNamespace(enforced[level])
	against := d.create(ctx, object)
	d.objects++
	if pod := podOf(object); pod != nil {
		against = append(against, d.create(ctx, pod)...)
		d.pods++
	}
	if level != "baseline" {
		d.beyond++
	}
	return against
}

func (d *dryRun) create(ctx context.Context, object *unstructured.Unstructured) []string {
	d.warnings = nil
	err := d.client.Create(ctx, object.DeepCopy(), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	var against []string
	if err != nil {
		against = append(against, err.Error())
	}
	for _, w := range d.warnings {
		against = append(against, "warning: "+w)
	}
	for i, text := range against {
		against[i] = fmt.Sprintf("%s %s: %s", object.GetKind(), object.GetName(), text)
	}
	return against
}

// podOf is the pod of an object's template; nil without a template.
func podOf(object *unstructured.Unstructured) *unstructured.Unstructured {
	template, ok, _ := unstructured.NestedMap(object.Object, "spec", "template")
	if !ok {
		return nil
	}
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetName(object.GetName())
	pod.SetNamespace(object.GetNamespace())
	return pod
}

// documents are the objects of a manifest.
func documents(t *testing.T, manifest []byte) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096); ; {
		object := &unstructured.Unstructured{}
		err := d.Decode(object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// manifestOf converts a project as `conductor convert` does. If a project is refused at baseline, everything is allowed, and its objects
// then need the level privileged.
func manifestOf(t *testing.T, p corpus.Project) (manifest []byte, level string, err error) {
	t.Helper()
	for _, level = range []string{"baseline", "privileged"} {
		var loaded *compose.Project
		if loaded, err = compose.Load(p.Dir, compose.LoadOptions{Files: p.Files, Profiles: p.Profiles}); err != nil {
			break
		}
		o := compose.Options{InlineDockerfiles: true}
		if level == "privileged" {
			o.Allow = compose.Allowances()
		}
		var stack *compose.Stack
		if stack, err = compose.Manifest(loaded, o, compose.ManifestOptions{WaitImage: "registry.example/conductor:1"}); err == nil {
			manifest, err = compose.YAML(stack)
			return manifest, level, err
		}
	}
	if refused := (*compose.Errors)(nil); !errors.As(err, &refused) {
		t.Fatalf("%s: %v", p.Name, err)
	}
	return nil, "", err
}

// TestObjectsAreTaken tries every object converted from compose files, and each of their pods, on the API server: with strict field
// validation, without a single warning, and with Pod Security's baseline enforced. The files are the golden cases, the examples, and those
// below $CORPUS, if it is set.
func TestObjectsAreTaken(t *testing.T) {
	t.Run("golden", func(t *testing.T) {
		d := newDryRun(t)
		files, err := filepath.Glob("../../internal/compose/testdata/*/want.yaml")
		more, err2 := filepath.Glob("../../internal/compose/testdata/*/*/want.yaml")
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		for _, file := range append(files, more...) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			level := "baseline"
			if filepath.Base(filepath.Dir(file)) == "allowed" {
				level = "privileged" // This is what the case is about.
			}
			d.all(t, strings.TrimPrefix(filepath.Dir(file), "../../internal/compose/testdata/"), data, level)
		}
		d.count(t, len(files)+len(more), 300, 100)
	})
	t.Run("examples", func(t *testing.T) {
		d := newDryRun(t)
		projects := examples(t)
		if refused := d.projects(t, projects); len(refused) > 0 || d.beyond > 0 {
			t.Errorf("refused: %q; %d objects go beyond baseline", refused, d.beyond)
		}
		d.count(t, len(projects), 20, 7)
	})
	if dir := os.Getenv(corpus.Variable); dir != "" {
		t.Run("corpus", func(t *testing.T) {
			projects, err := corpus.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			d := newDryRun(t)
			refused := d.projects(t, projects)
			d.count(t, len(projects)-len(refused), 1, 1)
			t.Logf("%d of them go beyond baseline, and somebody has to allow them", d.beyond)
			for _, r := range refused {
				t.Logf("refused whatever is allowed: %s", r)
			}
		})
	}
}

// examples are the projects of this repository.
func examples(t *testing.T) []corpus.Project {
	t.Helper()
	var all []corpus.Project
	err := filepath.WalkDir("../../examples", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == compose.DefaultFile {
			all = append(all, corpus.Project{Name: filepath.Base(filepath.Dir(path)), Dir: filepath.Dir(path)})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// projects converts and tries each project, and returns those that are refused with the reason.
func (d *dryRun) projects(t *testing.T, all []corpus.Project) (refused []string) {
	t.Helper()
	for _, p := range all {
		manifest, level, err := manifestOf(t, p)
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", p.Name, err))
			continue
		}
		d.all(t, p.Name, manifest, level)
	}
	return refused
}

// all tries the objects of one manifest.
func (d *dryRun) all(t *testing.T, name string, manifest []byte, level string) {
	t.Helper()
	for _, object := range documents(t, manifest) {
		for _, text := range d.try(t.Context(), object, level) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// count logs how many were tried, and fails if they are too few.
func (d *dryRun) count(t *testing.T, projects, objects, pods int) {
	t.Helper()
	t.Logf("%d projects: %d objects and %d pods were tried", projects, d.objects, d.pods)
	if d.objects < objects || d.pods < pods {
		t.Errorf("want at least %d objects and %d pods", objects, pods)
	}
}

// TestObjectsAreNotTakenBlindly tries objects with one error each.
func TestObjectsAreNotTakenBlindly(t *testing.T) {
	d := newDryRun(t)
	for _, tc := range []struct{ name, want, spec string }{
		{"right", "", "containers: [{name: a, image: a}]"},
		{"a field that there is not", `unknown field "spec.template.spec.containers[0].port"`, "containers: [{name: a, image: a, port: 1}]"},
		{"a variable twice", "warning: spec.template.spec.containers[0].env[1]: hides previous definition", "containers: [{name: a, image: a, env: [{name: A}, {name: A}]}]"},
		{"beyond baseline", "Pod a: pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged", "containers: [{name: a, image: a, securityContext: {privileged: true}}]"},
		{"a name twice", "Duplicate value", "containers: [{name: a, image: a}, {name: a, image: a}]"},
	} {
		manifest := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n" +
			"    metadata: {labels: {a: b}}\n    spec: {" + tc.spec + "}\n"
		got := d.try(t.Context(), documents(t, []byte(manifest))[0], "baseline")
		if tc.want == "" && len(got) > 0 || tc.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tc.want) }) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
