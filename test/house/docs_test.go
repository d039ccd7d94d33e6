package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tests are the names of all test functions in the tree.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	names, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		for _, m := range declared.FindAllStringSubmatch(string(data), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestTheThreatModelNamesTestsThatExist fails when a guard in the threat model loses its test.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := tests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(data), -1)
	if len(named) < 20 {
		t.Errorf("the threat model names %d tests", len(named))
	}
	for _, m := range named {
		if !all[m[1]] {
			t.Errorf("the threat model names %s, which is not there", m[1])
		}
	}
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "| ") && strings.Count(line, "|") == 6 && !strings.HasPrefix(line, "| Asset") && !strings.Contains(line, "`Test") && !strings.Contains(line, "the same |") {
			t.Errorf("docs/threat-model.md:%d: a guard without a test", i+1)
		}
	}
}

// TestLinksInDocsLeadSomewhere checks the links between files of the repository.
func TestLinksInDocsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	seen := 0
	for _, name := range committed(t) {
		if filepath.Ext(name) != ".md" || strings.Contains(name, "testdata/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
	if seen == 0 {
		t.Error("no link was found")
	}
}

// TestTheGuideNamesEveryValue finds values of the chart that the installation guide lacks, and documented ones that do not exist.
func TestTheGuideNamesEveryValue(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(data), "### All values")
	if !ok {
		t.Fatal("the guide has no table of values")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	var values map[string]any
	parse(t, filepath.Join(chartDir, "values.yaml"), &values)
	all := map[string]bool{}
	for key, v := range values {
		group, ok := v.(map[string]any)
		if !ok || len(group) == 0 || key == "resources" {
			all[key] = true
			continue
		}
		for name := range group {
			all[key+"."+name] = true
		}
	}
	named := map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			named[m[1]] = true
		}
	}
	for key := range all {
		if !named[key] {
			t.Errorf("the guide does not name %s", key)
		}
	}
	for key := range named {
		if !all[key] {
			t.Errorf("the guide names %s, which is no value", key)
		}
	}
}
