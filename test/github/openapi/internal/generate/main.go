// Command generate takes from GitHub's published OpenAPI description the operations and webhooks that the simulator
// serves, closes their references, leaves out all prose, and writes the rest as subset.json.
//
// It is run by go generate in test/github/openapi and needs npm and its registry.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source and version name the npm package that carries the description.
const (
	source  = "@octokit/openapi"
	version = "23.0.2"
	file    = "generated/api.github.com.json"
)

func main() {
	log.SetFlags(0)
	if err := run("operations.txt", "subset.json", "VERSION"); err != nil {
		log.Fatal(err)
	}
}

func run(list, output, note string) error {
	wanted, err := readList(list)
	if err != nil {
		return err
	}
	full, license, err := download()
	if err != nil {
		return err
	}
	out, err := take(full, wanted)
	if err != nil {
		return err
	}
	correct(out)
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, append(data, '\n'), 0o644); err != nil {
		return err
	}
	text := fmt.Sprintf("source: npm package %s, file %s\nversion: %s\nlicence: %s\n", source, file, version, license)
	return os.WriteFile(note, []byte(text), 0o644)
}

// item is one line of the list: an operation, or a webhook when method is WEBHOOK.
type item struct{ method, name string }

func readList(path string) ([]item, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		method, name, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s: cannot read %q", path, line)
		}
		items = append(items, item{method, name})
	}
	return items, nil
}

// download installs the package in a directory that is thrown away and returns the description and the package's licence.
func download() (full map[string]any, license string, err error) {
	dir, err := os.MkdirTemp("", "openapi")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	npm := exec.Command("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir, source+"@"+version)
	if out, err := npm.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("npm install: %w\n%s", err, out)
	}
	root := filepath.Join(dir, "node_modules", filepath.FromSlash(source))
	if err := readJSON(filepath.Join(root, filepath.FromSlash(file)), &full); err != nil {
		return nil, "", err
	}
	var manifest struct{ License string }
	if err := readJSON(filepath.Join(root, "package.json"), &manifest); err != nil {
		return nil, "", err
	}
	return full, manifest.License, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
