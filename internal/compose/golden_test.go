package compose

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

var update = flag.Bool("update", false, "write what tests compare with")

// settings are those of the cases that need some.
var settings = map[string]struct {
	load    LoadOptions
	convert Options
}{
	"merge":    {load: LoadOptions{Files: []string{"compose.yaml", "override.yaml"}}},
	"profiles": {load: LoadOptions{Profiles: []string{"qa"}}},
	"ceilings": {convert: Options{Ceilings: v1alpha1.Ceilings{Registries: []string{"registry.example.com/team"}, Memory: "1Gi", CPU: "50m", Pods: 5}}},
	"options": {convert: Options{
		Namespace: "stack-1", PullSecret: "pull", Labels: map[string]string{"run": "1"},
		Images: map[string]string{"built": "registry/built@sha256:1", "pinned": "redis@sha256:2"},
	}},
	"allowed":           {convert: Options{Allow: Allowances(), AllowSetting: "stacks.allow"}},
	"refused":           {convert: Options{AllowSetting: "stacks.allow"}},
	"strict":            {convert: Options{Strict: true}},
	"secrets":           {load: LoadOptions{Secrets: []string{"DB_PASSWORD", "API_TOKEN", "FROM_FILE", "APP_SETTINGS"}}},
	"secrets-refused":   {load: LoadOptions{Secrets: []string{"DB_PASSWORD"}}, convert: Options{SecretSetting: "--secret NAME"}},
	"hooks":             {load: LoadOptions{Secrets: []string{"DB_PASSWORD"}}},
	"dockerfile_inline": {convert: Options{InlineDockerfiles: true}},
	"mount_built":       {convert: Options{InlineDockerfiles: true}},
	"hostpaths-refused": {convert: Options{AllowSetting: "stacks.allow"}},
	"internal":          {convert: Options{Egress: []networkingv1.NetworkPolicyEgressRule{Internet()}}},
	"image_config": {convert: Options{ImageConfigs: map[string]ImageConfig{"known": {
		Entrypoint: []string{"/entry"}, Cmd: []string{"serve", "$(all)"}, User: "node", ExposedPorts: []string{"80/tcp", "53/udp"},
		Healthcheck: &Healthcheck{Test: []string{"CMD-SHELL", "curl -f localhost"}, Interval: 5 * time.Second, Timeout: 2 * time.Second, StartInterval: time.Second, Retries: 4},
	}}}},
}

// TestGolden converts testdata/*/compose.yaml. A case has want.yaml, unless something in it is refused, and findings.txt.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/compose.yaml")
	if err != nil || len(cases) < 25 {
		t.Fatalf("found %d cases: %v", len(cases), err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			set := settings[filepath.Base(dir)]
			objects, findings := convertDir(t, dir, set.load, set.convert)
			compare(t, filepath.Join(dir, "want.yaml"), objects)
			compare(t, filepath.Join(dir, "findings.txt"), findings)
		})
	}
}

// convertDir returns the objects, empty when something is refused, and the findings as lines.
func convertDir(t *testing.T, dir string, load LoadOptions, o Options) (objects, lines string) {
	t.Helper()
	if load.Files == nil {
		load.Files = []string{"compose.yaml"}
	}
	var findings []Finding
	p, err := Load(dir, load)
	if err == nil {
		var stack *Stack
		if stack, err = Convert(p, o); err == nil {
			data, err := YAML(stack)
			if err != nil {
				t.Fatal(err)
			}
			objects, findings = string(data), stack.Findings
		}
	}
	if e := (*Errors)(nil); errors.As(err, &e) {
		findings = e.Findings
	} else if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
	}
	return objects, b.String()
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		err := os.WriteFile(file, []byte(got), 0o644)
		if got == "" {
			if err = os.Remove(file); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}
