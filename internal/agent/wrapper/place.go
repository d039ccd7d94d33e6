package wrapper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// maxFiles bounds how many files of one kind are kept.
const maxFiles = 5000

// place is the test's working directory, opened before the test began: nothing that the test does to the directory's path, or by
// a symbolic link, leads out of it.
type place struct {
	root *os.Root
	// err is why it could not be opened.
	err error
	dir string
	// hidden are directories below it that hold no files of the test, relative to it.
	hidden []string
}

// openPlace opens the working directory. The kernel's own directories, Conductor's and mounted secrets are hidden: in an image
// without a working directory everything is below it.
func openPlace(tokenFile string) *place {
	dir, err := os.Getwd()
	if err != nil {
		return &place{err: err}
	}
	p := &place{dir: dir}
	p.root, p.err = os.OpenRoot(dir)
	hidden := []string{"/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets", filepath.Dir(tokenFile)}
	if self, err := os.Executable(); err == nil {
		hidden = append(hidden, filepath.Dir(self))
	}
	for _, h := range hidden {
		if rel, err := filepath.Rel(dir, h); err == nil && filepath.IsLocal(rel) && rel != "." {
			p.hidden = append(p.hidden, rel)
		}
	}
	return p
}

// find lists the regular files that patterns match, each once, in the order of the patterns and then by path. Symbolic links to
// files within the place are followed, those to directories only where a pattern names them. The problems are sentences.
func (p *place) find(ctx context.Context, what string, patterns []string) (files, problems []string) {
	if len(patterns) == 0 {
		return nil, nil
	}
	if p.err != nil {
		return nil, []string{fmt.Sprintf("No %s: the working directory cannot be read: %v.", what, p.err)}
	}
	seen := map[string]bool{}
	for _, pattern := range patterns {
		found, err := p.match(ctx, pattern)
		if err != nil {
			problems = append(problems, fmt.Sprintf("The pattern %q for %s cannot be used: %v.", pattern, what, err))
		}
		slices.Sort(found)
		for _, f := range found {
			if !seen[f] {
				seen[f] = true
				files = append(files, f)
			}
		}
	}
	switch {
	case len(files) == 0 && len(problems) == 0:
		problems = append(problems, fmt.Sprintf("No %s: nothing in %s matches %s.", what, p.dir, strings.Join(patterns, ", ")))
	case len(files) > maxFiles:
		problems = append(problems, fmt.Sprintf("Of %d %s only the first %d were kept.", len(files), what, maxFiles))
		files = files[:maxFiles]
	}
	return files, problems
}

// errOutside is for a pattern that leads out of the working directory.
var errOutside = errors.New("it leads out of the working directory")

// match lists the regular files that one pattern matches.
func (p *place) match(ctx context.Context, pattern string) ([]string, error) {
	clean := path.Clean(pattern)
	if path.IsAbs(clean) {
		below, ok := strings.CutPrefix(clean, strings.TrimSuffix(p.dir, "/")+"/")
		if !ok {
			return nil, errOutside
		}
		clean = below
	}
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return nil, errOutside
	}
	var found []string
	err := doublestar.GlobWalk(view{p, ctx}, clean, func(name string, entry fs.DirEntry) error {
		if entry.Type()&fs.ModeSymlink == 0 && !entry.Type().IsRegular() {
			return nil
		}
		if info, err := p.root.Stat(name); err == nil && info.Mode().IsRegular() {
			found = append(found, name)
		}
		return ctx.Err()
	}, doublestar.WithNoFollow())
	if err != nil && ctx.Err() != nil {
		err = errors.New("the time for it was up")
	}
	return found, err
}

// open opens a regular file for reading. What is no regular file any more, such as a pipe, is an error and never waited for.
func (p *place) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := p.root.OpenFile(name, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// view is a place as doublestar sees it, without what is hidden and until its context ends.
type view struct {
	*place
	ctx context.Context
}

// allowed reports whether a path may be seen.
func (v view) allowed(op, name string) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	for _, h := range v.hidden {
		if name == h || strings.HasPrefix(name, h+"/") {
			return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return nil
}

// Open implements fs.FS.
func (v view) Open(name string) (fs.File, error) {
	if err := v.allowed("open", name); err != nil {
		return nil, err
	}
	return v.root.FS().Open(name)
}

// Stat implements fs.StatFS.
func (v view) Stat(name string) (fs.FileInfo, error) {
	if err := v.allowed("stat", name); err != nil {
		return nil, err
	}
	return v.root.Stat(name)
}

// ReadDir implements fs.ReadDirFS.
func (v view) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := v.allowed("readdir", name); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(v.root.FS(), name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return v.allowed("readdir", path.Join(name, e.Name())) != nil
	}), err
}

// stale names the first file that is older than the test, such as one that came with the image; "" when there is none.
func (p *place) stale(files []string, started time.Time) string {
	for _, name := range files {
		// File systems round down, some to two seconds.
		if info, err := p.root.Stat(name); err == nil && info.ModTime().Before(started.Add(-2*time.Second)) {
			return name
		}
	}
	return ""
}
