package node

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

func testPlan(t *testing.T, index int) plan.Plan {
	t.Helper()
	p, err := plan.New("/state", "name", index)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSettingsAreWellFormed(t *testing.T) {
	files, err := Render(testPlan(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if strings.Contains(string(text), "{{") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s holds an unfilled place:\n%s", name, text)
		}
		var v any
		switch path.Ext(name) {
		case ".yaml", ".yml":
			for _, document := range strings.Split(string(text), "\n---\n") {
				if err := yaml.UnmarshalStrict([]byte(document), &v); err != nil {
					t.Errorf("%s: %v\n%s", name, err, document)
				}
			}
		case ".conflist":
			if err := json.Unmarshal(text, &v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestEveryRegistryEndsAtTheMirror guards that nothing is looked for outside.
func TestEveryRegistryEndsAtTheMirror(t *testing.T) {
	p := testPlan(t, 3)
	files, err := Render(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, registry := range append([]string{p.Registry()}, Mirrored...) {
		text := string(files["certs.d/"+registry+"/hosts.toml"])
		if !strings.Contains(text, `server = "http://`+p.Registry()+`"`) {
			t.Errorf("%s: the last place to look is not %s:\n%s", registry, p.Registry(), text)
		}
		if pushes := strings.Contains(text, "push"); pushes != (registry == p.Registry()) {
			t.Errorf("%s: push is allowed: %v", registry, pushes)
		}
	}
}

// TestNothingOfTheFirstClusterIsInAnother looks for the first cluster's
// addresses in the settings and command lines of the fourth.
func TestNothingOfTheFirstClusterIsInAnother(t *testing.T) {
	first, fourth := testPlan(t, 0), testPlan(t, 3)
	files, err := Render(fourth)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Daemons() {
		args, err := arguments(fourth, nil, name)
		if err != nil {
			continue // runs on the host, from its settings file
		}
		files[name] = []byte(strings.Join(args, " "))
	}
	for name, text := range files {
		for _, foreign := range []string{first.NodeIP, first.HostIP, first.PodCIDR, first.ServiceCIDR, first.DNSIP} {
			if strings.Contains(string(text), foreign) {
				t.Errorf("%s holds the first cluster's %s", name, foreign)
			}
		}
	}
}
