// Package corpus finds compose projects outside of the repository, on which the conversion is measured.
package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Variable names the environment variable with the directory of the projects.
const Variable = "CORPUS"

// Project is one compose project.
type Project struct {
	Name string
	// Dir is its directory, Files the compose files in it, in the order in which they are merged.
	Dir             string `json:"-"`
	Files, Profiles []string
}

// usual are the default names of compose files.
var usual = []string{"docker-compose.qa.yml", "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// Read lists the projects of a directory: those in its corpus.json, with files and profiles, or, without a corpus.json, each directory
// that has a compose file.
func Read(dir string) ([]Project, error) {
	data, err := os.ReadFile(filepath.Join(dir, "corpus.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return search(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	var all []Project
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	for i := range all {
		all[i].Dir = filepath.Join(dir, all[i].Name)
	}
	return all, nil
}

// search finds projects below a directory.
func search(dir string) ([]Project, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the corpus: %w", err)
	}
	var all []Project
	for _, e := range entries {
		for _, name := range usual {
			if st, err := os.Stat(filepath.Join(dir, e.Name(), name)); err == nil && st.Mode().IsRegular() {
				all = append(all, Project{Name: e.Name(), Dir: filepath.Join(dir, e.Name()), Files: []string{name}})
				break
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has neither a corpus.json nor directories with compose files", dir)
	}
	return all, nil
}
