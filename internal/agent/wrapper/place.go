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

// maxFiles is the most files of one kind that are kept.
const maxFiles = 5000

// place is the test's working directory. It is opened before the test starts, so that the test cannot redirect it by renaming
// directories or by symbolic links.
type place struct {
	root *os.Root
	// err is the error of opening it.
	err error
	dir string
	// hidden lists directories below it, by relative path, that do not hold files of the test.
	hidden []string
}

// openPlace opens the working directory. It hides the kernel's directories, Conductor's own and mounted secrets, since in an image
// without a working directory all of them are below it.
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

// find lists the regular files that match the patterns, without duplicates, in the order of the patterns and then by path. It follows
// symbolic links to files within the place, and those to directories only if a pattern names them. problems are sentences.
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
		problems = append(problems, fmt.Sprintf("Only the first %[3]d of %[1]d %[2]s were kept.", len(files), what, maxFiles))
		files = files[:maxFiles]
	}
	return files, problems
}

// errOutside means that a pattern leads out of the working directory.
var errOutside = errors.New("it leads out of the working directory")

// match lists the regular files that match one pattern.
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
		err = errors.New("it timed out")
	}
	return found, err
}

// open opens a regular file. Anything else, such as a pipe that replaced the file, is an error; open never blocks on it.
func (p *place) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := p.root.OpenFile(name, os.O_RDONLY|noBlock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// view is the file system that doublestar walks: a place without its hidden directories, until the context ends.
type view struct {
	*place
	ctx context.Context
}

// allowed returns an error if a path is hidden or the context has ended.
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

// stale returns the first file that is older than the test, such as one from the image, or "".
func (p *place) stale(files []string, started time.Time) string {
	for _, name := range files {
		// File systems round down, some to two seconds.
		if info, err := p.root.Stat(name); err == nil && info.ModTime().Before(started.Add(-2*time.Second)) {
			return name
		}
	}
	return ""
}
