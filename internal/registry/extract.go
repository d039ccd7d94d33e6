package registry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Extract creates a directory and writes the record's files below it. A name that leads out of the directory is an error, found before
// anything is written; so is a symbolic link in the directory that leads out of it, found when a file would be written through it.
func (rec *Record) Extract(dir string) error {
	names := map[string]bool{}
	for _, l := range rec.Layers {
		name := filepath.FromSlash(l.Name)
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." || names[name] {
			return fmt.Errorf("invalid file name %q in the record: nothing was written", l.Name)
		}
		names[name] = true
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create the directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, l := range rec.Layers {
		if err := extract(root, l); err != nil {
			return fmt.Errorf("extract %s: %w", l.Name, err)
		}
	}
	return nil
}

// extract writes one file, and deletes it again if it could not be read completely.
func extract(root *os.Root, l evidence.Layer) error {
	if err := root.MkdirAll(path.Dir(l.Name), 0o755); err != nil {
		return err
	}
	from, err := l.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := root.Create(l.Name)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, root.Remove(l.Name))
	}
	return nil
}
