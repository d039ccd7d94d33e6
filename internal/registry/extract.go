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

// Extract writes the record's files below a directory, which is made. A name that would lead out of it, by itself or by a link
// that is there already, is an error; by itself it is found before anything is written.
func (rec *Record) Extract(dir string) error {
	names := map[string]bool{}
	for _, l := range rec.Layers {
		name := filepath.FromSlash(l.Name)
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." || names[name] {
			return fmt.Errorf("the record has a file of the name %q: nothing was written", l.Name)
		}
		names[name] = true
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory: %w", err)
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

// extract writes one file; a file that could not be read to its end does not stay.
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
