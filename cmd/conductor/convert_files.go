package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/compose"
)

// ejectedFile lists the files that convert wrote into a directory, as sha256sum does.
const ejectedFile = ".conductor.sha256"

// eject writes files below a directory. If it would overwrite a file that no earlier convert wrote, or that was changed since, it writes
// nothing. It removes files of an earlier convert that this one does not write.
func eject(dir string, files []compose.File) error {
	before, err := ejected(dir)
	if err != nil {
		return err
	}
	now := map[string]string{}
	for _, f := range files {
		now[f.Name] = digest(f.Content)
	}
	both := maps.Clone(before)
	maps.Copy(both, now)
	var old, strange []string
	for _, name := range slices.Sorted(maps.Keys(both)) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("read the existing files: %w", err)
		case digest(data) != before[name] && digest(data) != now[name]:
			strange = append(strange, name)
		case now[name] == "":
			old = append(old, name)
		}
	}
	if len(strange) > 0 {
		return fmt.Errorf("nothing was written to %s: it has files that convert did not write, or that were changed since: %s. Move them away, or name another directory", dir, strings.Join(strange, ", "))
	}
	return replace(dir, old, files)
}

// replace writes the list last, so that an interrupted convert can be repeated: the files it already wrote have the expected content.
func replace(dir string, old []string, files []compose.File) error {
	var list strings.Builder
	for _, f := range files {
		fmt.Fprintf(&list, "%s  %s\n", digest(f.Content), f.Name)
	}
	for _, f := range append(slices.Clone(files), compose.File{Name: ejectedFile, Content: []byte(list.String())}) {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("create a directory: %w", err)
		}
		if err := os.WriteFile(path, f.Content, 0o644); err != nil {
			return fmt.Errorf("write a file: %w", err)
		}
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("remove an obsolete file: %w", err)
		}
	}
	return nil
}

// ejected reads the list of an earlier convert: hashes by name.
func ejected(dir string) (map[string]string, error) {
	out := map[string]string{}
	data, err := os.ReadFile(filepath.Join(dir, ejectedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of files: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, fmt.Errorf("%s is not a list of files that convert wrote", filepath.Join(dir, ejectedFile))
		}
		out[name] = sum
	}
	return out, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
