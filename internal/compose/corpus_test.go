package compose

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	corpusDir = flag.String("corpus", "", "a directory with corpus.json and one compose project in each directory that it names")
	corpusAll = flag.Bool("corpus-allow", false, "allow what goes beyond Pod Security's baseline")
	corpusOut = flag.String("corpus-out", "", "where to write the objects of each project of the corpus, NAME.yaml, and its findings, NAME.txt")
)

// TestCorpus converts projects from outside the repository, to measure their objects. A refusal does not fail the test.
func TestCorpus(t *testing.T) {
	if *corpusDir == "" {
		t.Skip("-corpus is not given")
	}
	data, err := os.ReadFile(filepath.Join(*corpusDir, "corpus.json"))
	if err != nil {
		t.Fatal(err)
	}
	var items []struct {
		Name            string
		Files, Profiles []string
	}
	if err := json.Unmarshal(data, &items); err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		t.Run(item.Name, func(t *testing.T) {
			var stack *Stack
			o := Options{InlineDockerfiles: true}
			if *corpusAll {
				o.Allow = Allowances()
			}
			p, err := Load(filepath.Join(*corpusDir, item.Name), LoadOptions{Files: item.Files, Profiles: item.Profiles})
			if err == nil {
				stack = newConverter(p, o).convert()
			}
			keep(t, item.Name, stack, err)
		})
	}
}

func keep(t *testing.T, name string, stack *Stack, err error) {
	t.Helper()
	var objects []byte
	var findings []Finding
	if e := (*Errors)(nil); errors.As(err, &e) {
		findings = e.Findings
	} else if err != nil {
		t.Fatal(err)
	}
	if stack != nil {
		if objects, err = YAML(stack); err != nil {
			t.Fatal(err)
		}
		findings = stack.Findings
	}
	var lines strings.Builder
	for _, f := range findings {
		lines.WriteString(f.String() + "\n")
	}
	if *corpusOut == "" {
		return
	}
	for file, data := range map[string][]byte{name + ".yaml": objects, name + ".txt": []byte(lines.String())} {
		if err := os.WriteFile(filepath.Join(*corpusOut, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
