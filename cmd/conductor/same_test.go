//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// golden are the golden cases of the converter. convert, plan and a run have to convert them alike.
const golden = "../../internal/compose/testdata"

// everyImage returns the same configuration for every image that can be pulled.
func everyImage(_ context.Context, image string) (digest string, config []byte, err error) {
	if strings.HasPrefix(image, "REGISTRY/") {
		return "", nil, errors.New("it is a plan's")
	}
	return "sha256:0", []byte(`{"config":{"Cmd":["serve","$(all)"],"User":"node","ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD-SHELL","curl -f localhost"]}}}`), nil
}

// configOf returns a .conductor.yaml and arguments of `convert` that select the same compose files.
func configOf(name string) (config string, args []string) {
	config, args = "version: 1\ntests: {integration: {image: busybox, command: \"true\"}}\nstack:\n  compose: [compose.yaml]\n", []string{"-f", "compose.yaml"}
	switch name {
	case "merge":
		return strings.Replace(config, "[compose.yaml]", "[compose.yaml, override.yaml]", 1), append(args, "-f", "override.yaml")
	case "profiles":
		return config + "  profiles: [qa]\n", append(args, "--profile", "qa")
	}
	return config, args
}

// TestConvertPlanAndRunMakeTheSameObjects converts every golden case three times. `plan` prints what a run applies, byte for byte,
// except for the digests of images. `convert` differs in who waits for dependencies, and in its inputs: a run's labels, and the
// external addresses that services may reach.
func TestConvertPlanAndRunMakeTheSameObjects(t *testing.T) {
	cases, err := filepath.Glob(golden + "/*/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	converted := 0
	for _, file := range cases {
		name := filepath.Base(filepath.Dir(file))
		root, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			config, args := configOf(name)
			project(t, nil)
			if err := os.CopyFS(".", os.DirFS(root)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(plan.ConfigFile, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, a := range compose.Allowances() {
				args = append(args, "--allow", string(a))
			}
			ran, shown, built, refused := planAndRun(t)
			for service, image := range built {
				args = append(args, "--image", service+"="+image)
			}
			out, notes, status := convert(t, append(args, "-n", "stack-plan", "--lookup")...)
			if refused != "" || status != 0 {
				if (refused != "") != (status != 0) {
					t.Errorf("a run refuses with %q, and convert ended with %d: %s", refused, status, notes)
				}
				return
			}
			converted++
			if diff := cmp.Diff(ran, shown); diff != "" {
				t.Errorf("plan and run differ (-run +plan):\n%s", diff)
			}
			if diff := cmp.Diff(unlabelled(ran), withoutWaiting(objectsOf(t, out))); diff != "" {
				t.Errorf("convert and run differ (-run +convert):\n%s", diff)
			}
		})
	}
	t.Logf("%d of %d cases are converted by all three, and refused by all three the others", converted, len(cases))
	if converted < 30 {
		t.Errorf("%d cases were converted by all three", converted)
	}
}

// planAndRun are the objects of a stack in the working directory: those that a run applies, those of them that `plan` prints, and the
// images of services that are built. Where both refuse, refused explains why.
func planAndRun(t *testing.T) (ran, shown map[string]any, built map[string]string, refused string) {
	t.Helper()
	c := planning{lookUp: true, ask: func() (imageConfig, error) { return everyImage, nil }}
	for _, a := range compose.Allowances() {
		c.allow = append(c.allow, string(a))
	}
	makeDockerfiles(t)
	if err := c.prepare([]string{"."}); err != nil {
		t.Fatal(err)
	}
	first, err := c.make(plan.Images{})
	if err != nil {
		return nil, nil, nil, err.Error()
	}
	images, err := c.images(t.Context(), first, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := throughAChild(t, plan.Input{Dir: c.dir, Run: c.run, Settings: c.settings, Images: images})
	if p.Refused != nil {
		return nil, nil, nil, p.Refused.Sentence
	}
	data, err := compose.YAML(&compose.Stack{Shared: p.Plan.StackObjects()})
	if err != nil {
		t.Fatal(err)
	}
	var out, notes bytes.Buffer
	if err := c.print(t.Context(), &out, &notes); err != nil {
		t.Fatalf("the run converts, but plan fails: %v", err)
	}
	ran, shown = objectsOf(t, string(data)), objectsOf(t, out.String())
	maps.DeleteFunc(shown, func(key string, _ any) bool { return ran[key] == nil })
	return ran, shown, images.References, ""
}

// throughAChild is the answer of a child to an input, as a run reads it.
func throughAChild(t *testing.T, input plan.Input) plan.Answer {
	t.Helper()
	data, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	var wire bytes.Buffer
	if err := runPlanChild(bytes.NewReader(data), &wire); err != nil {
		t.Fatal(err)
	}
	answer, err := plan.Read(bytes.NewReader(wire.Bytes()), input.Run, input.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Plan != nil {
		err = plan.ReadContents(&wire, func(content *corev1.ConfigMap) error {
			answer.Plan.Contents = append(answer.Plan.Contents, content)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// makeDockerfiles puts Dockerfiles where the cases, which no one builds, lack them.
func makeDockerfiles(t *testing.T) {
	t.Helper()
	_, args := configOf(filepath.Base(t.Name()))
	files := []string{}
	for i := 1; i < len(args); i += 2 {
		if args[i-1] == "-f" {
			files = append(files, args[i])
		}
	}
	p, err := compose.Load(".", compose.LoadOptions{Files: files, Profiles: []string{"*"}})
	if err != nil {
		return
	}
	for _, b := range p.Builds() {
		file := filepath.Join(b.Context, b.Dockerfile)
		if _, err := os.Stat(file); err == nil || b.Inline != "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("FROM scratch\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// objectsOf are the objects of a text with YAML documents by kind and name.
func objectsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	for doc := range strings.SplitSeq(text, "---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if len(o) == 0 {
			continue
		}
		u := unstructured.Unstructured{Object: o}
		key := u.GetKind() + " " + u.GetName()
		if out[key] != nil {
			t.Fatalf("there are two of %s", key)
		}
		out[key] = o
	}
	return out
}

// unlabelled are objects without the labels of a run, and without what lets Conductor decide how services end.
func unlabelled(objects map[string]any) map[string]any {
	var mine []string
	for k := range jobs.Labels(&v1alpha1.Run{}, jobs.StageStack) {
		mine = append(mine, k)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if labels, ok := v["labels"].(map[string]any); ok {
				maps.DeleteFunc(labels, func(k string, _ any) bool { return slices.Contains(mine, k) })
				if len(labels) == 0 {
					delete(v, "labels")
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	for key, o := range objects {
		walk(o)
		uncounted(key, o)
	}
	return objects
}

// uncounted takes out of an object how the ends of its containers are counted: Conductor does it in a run, the Job controller for `convert`.
func uncounted(key string, o any) {
	template, _ := at(o, "spec", "template").(map[string]any)
	if annotations, ok := at(template, "metadata", "annotations").(map[string]any); ok {
		if delete(annotations, v1alpha1.AnnotationMayEnd); len(annotations) == 0 {
			delete(template["metadata"].(map[string]any), "annotations")
		}
	}
	if strings.HasPrefix(key, "Job ") {
		delete(at(o, "spec").(map[string]any), "backoffLimit")
		delete(template["spec"].(map[string]any), "restartPolicy")
	}
}

// withoutWaiting takes out of what `convert` makes all that waits, and the rule that opens the internet.
func withoutWaiting(objects map[string]any) map[string]any {
	maps.DeleteFunc(objects, func(key string, o any) bool {
		kind, name, _ := strings.Cut(key, " ")
		headless := at(o, "spec", "publishNotReadyAddresses") == nil && at(o, "spec", "clusterIP") == "None"
		return kind == "Role" || kind == "RoleBinding" || kind == "ServiceAccount" ||
			kind == "Service" && headless && at(o, "spec", "ports") == nil || kind == "NetworkPolicy" && strings.HasPrefix(name, "wait-")
	})
	for key, o := range objects {
		uncounted(key, o)
		if annotations, ok := at(o, "metadata", "annotations").(map[string]any); ok {
			if delete(annotations, "argocd.argoproj.io/sync-wave"); len(annotations) == 0 {
				delete(at(o, "metadata").(map[string]any), "annotations")
			}
		}
		if rules, ok := at(o, "spec", "egress").([]any); ok {
			at(o, "spec").(map[string]any)["egress"] = slices.DeleteFunc(rules, func(rule any) bool { return strings.Contains(fmt.Sprint(rule), "ipBlock") })
		}
		pod, ok := at(o, "spec", "template", "spec").(map[string]any)
		if !ok {
			continue
		}
		delete(pod, "serviceAccountName")
		remove(pod, "initContainers", func(c any) bool {
			args, _ := at(c, "args").([]any)
			return len(args) > 0 && args[0] == "wait" && strings.HasPrefix(fmt.Sprint(at(c, "image")), imageRepository)
		})
		remove(pod, "volumes", func(v any) bool { return at(v, "name") == "conductor-wait-token" })
	}
	return objects
}

// remove takes items out of a list, and the list when nothing is left.
func remove(from map[string]any, key string, which func(any) bool) {
	list, _ := from[key].([]any)
	if list = slices.DeleteFunc(list, which); len(list) > 0 {
		from[key] = list
	} else {
		delete(from, key)
	}
}

func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}
