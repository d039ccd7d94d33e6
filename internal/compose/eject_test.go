package compose

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// ejected converts testdata/eject/app, and returns the objects by kind and name.
func ejected(t *testing.T) (*Stack, map[string]any) {
	t.Helper()
	p, err := Load("testdata/eject/app", LoadOptions{Files: []string{"compose.yaml"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Manifest(p, Options{Namespace: "qa"}, ManifestOptions{WaitImage: waitImage})
	if err != nil {
		t.Fatal(err)
	}
	data, err := YAML(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, objectsIn(t, data)
}

// objectsIn reads documents of YAML into objects by kind and name.
func objectsIn(t *testing.T, data []byte) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, text := range strings.Split("\n"+string(data), "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
		}
		var all map[string]any
		if err := yaml.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(all) == 0 {
			continue
		}
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		out[o.Kind+" "+o.Metadata.Name] = all
	}
	return out
}

// lay writes files below a new directory.
func lay(t *testing.T, files []File) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tool runs a program of the path or of those that the test cluster brings along, and skips the test where it is not there.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		found, err := filepath.Glob(filepath.Join(cache, "conductor", "bin", "kubernetes-*", name))
		if err != nil || len(found) == 0 {
			t.Skipf("there is no %s: make cluster-up brings it", name)
		}
		path = found[0]
	}
	cmd := exec.Command(path, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.String())
	}
	return out
}

func TestHelmRendersTheSameObjects(t *testing.T) {
	stack, want := ejected(t)
	files, err := Helm(stack, "here/app")
	if err != nil {
		t.Fatal(err)
	}
	dir := lay(t, files)
	if diff := cmp.Diff(want, objectsIn(t, tool(t, "helm", "template", "release", dir, "--namespace", "qa"))); diff != "" {
		t.Errorf("helm template (-manifest +chart):\n%s", diff)
	}
	// A value changes its own setting, and only that.
	changed := objectsIn(t, tool(t, "helm", "template", "release", dir, "--namespace", "qa", "--set", "services.web.replicas=5,services.web.image=nginx:2",
		"--set", "services.web.env.NUMBER=7,waitImage=mine"))
	web := changed["Deployment web"].(map[string]any)["spec"].(map[string]any)
	pod, err := json.Marshal(web["template"])
	if err != nil {
		t.Fatal(err)
	}
	if n := web["replicas"]; n != float64(5) {
		t.Errorf("replicas are %v", n)
	}
	for _, text := range []string{`"image":"nginx:2"`, `{"name":"NUMBER","value":"7"}`, `"image":"mine"`, `{"name":"FLAG","value":"true"}`} {
		if !bytes.Contains(pod, []byte(text)) {
			t.Errorf("the pod has no %s: %s", text, pod)
		}
	}
	for name, o := range changed {
		if name != "Deployment web" && !strings.HasPrefix(name, "Job ") && !cmp.Equal(o, want[name]) {
			t.Errorf("%s changed, too", name)
		}
	}
}

func TestKustomizeRendersTheSameObjects(t *testing.T) {
	stack, want := ejected(t)
	files, err := Kustomize(stack)
	if err != nil {
		t.Fatal(err)
	}
	dir := lay(t, files)
	for _, at := range []string{dir, filepath.Join(dir, "base")} {
		if diff := cmp.Diff(want, objectsIn(t, tool(t, "kubectl", "kustomize", at))); diff != "" {
			t.Errorf("kubectl kustomize %s (-manifest +kustomization):\n%s", filepath.Base(at), diff)
		}
	}
}

// TestEjectedFilesAreGolden compares every file with the one in testdata/eject.
func TestEjectedFilesAreGolden(t *testing.T) {
	stack, _ := ejected(t)
	helm, err := Helm(stack, "here/app")
	if err != nil {
		t.Fatal(err)
	}
	kustomize, err := Kustomize(stack)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][]File{"helm": helm, "kustomize": kustomize} {
		seen := map[string]bool{}
		for _, f := range files {
			if seen[f.Name] {
				t.Errorf("%s: %s is there twice", name, f.Name)
			}
			seen[f.Name] = true
			path := filepath.Join("testdata", "eject", name, filepath.FromSlash(f.Name))
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			compare(t, path, string(f.Content))
		}
		err := filepath.WalkDir(filepath.Join("testdata", "eject", name), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(filepath.Join("testdata", "eject", name), path)
			if !seen[filepath.ToSlash(rel)] {
				t.Errorf("%s is not written any more", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestSplitImage(t *testing.T) {
	for ref, want := range map[string][2]string{
		"nginx": {"nginx", ""}, "nginx:1": {"nginx", ":1"}, "host:5000/a/b": {"host:5000/a/b", ""}, "host:5000/a:1": {"host:5000/a", ":1"},
		"a@sha256:1": {"a", "@sha256:1"}, "a:1@sha256:1": {"a", ":1@sha256:1"}, "host:5000/a@sha256:1": {"host:5000/a", "@sha256:1"},
	} {
		if name, end := splitImage(ref); name != want[0] || end != want[1] {
			t.Errorf("%s is %q and %q", ref, name, end)
		}
	}
}

func TestChartName(t *testing.T) {
	for dir, want := range map[string]string{"here/My App": "my-app", "x/42": "stack", "shop/": "shop", "/": "stack"} {
		if got := chartName(dir); got != want {
			t.Errorf("%s makes %s, want %s", dir, got, want)
		}
	}
	if got := chartName("."); got != "compose" {
		t.Errorf("this directory makes %s", got)
	}
}
