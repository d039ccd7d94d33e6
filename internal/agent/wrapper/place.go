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

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// maxFiles is the most files of one kind that are kept.
const maxFiles = 5000

const (
	// maxWalk is the most directory entries that are read for one pattern.
	maxWalk = 1_000_000
	// maxDepth is the most directories below each other that are read for one pattern.
	maxDepth = 128
)

// place is where the files of the test are: its working directory and, for absolute patterns, the rest of the container's file system.
// The working directory is opened before the test starts, so that the test cannot redirect it by renaming directories or by symbolic
// links.
type place struct {
	tree
	// system lists the absolute paths of directories that do not hold files of the test.
	system []string
	// others are the trees of absolute patterns, by directory.
	others map[string]*tree
	// walk is the most directory entries that are read for one pattern.
	walk int
}

// tree is a directory.
type tree struct {
	root *os.Root
	// err is the error of opening it.
	err error
	dir string
	// hidden lists directories below it, by relative path, that do not hold files of the test.
	hidden []string
}

// match is a file that matches a pattern.
type match struct {
	tree *tree
	// path is relative to the tree, name is the file's name in the archive.
	path, name string
	// absolute means that the name is that of an absolute path.
	absolute bool
}

// openPlace opens the working directory. It hides the kernel's directories, Conductor's own and mounted secrets, since in an image
// without a working directory all of them are below it.
func openPlace(tokenFile string) *place {
	p := &place{
		system: []string{"/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets", filepath.Dir(tokenFile)},
		others: map[string]*tree{}, walk: maxWalk,
	}
	if self, err := os.Executable(); err == nil {
		p.system = append(p.system, filepath.Dir(self))
	}
	dir, err := os.Getwd()
	if err != nil {
		p.err = err
		return p
	}
	p.tree = *p.open(dir)
	return p
}

// open opens a directory.
func (p *place) open(dir string) *tree {
	t := &tree{dir: dir}
	t.root, t.err = os.OpenRoot(dir)
	for _, h := range p.system {
		if rel, err := filepath.Rel(dir, h); err == nil && filepath.IsLocal(rel) && rel != "." {
			t.hidden = append(t.hidden, rel)
		}
	}
	return t
}

// find lists the regular files that match the patterns, without duplicates, in the order of the patterns and then by name. It follows
// symbolic links to files within the directory where a pattern begins, and those to directories only if a pattern names them. problems
// are sentences.
func (p *place) find(ctx context.Context, what string, patterns []string) (files []match, problems []string) {
	seen := map[string]match{}
	for _, pattern := range patterns {
		found, err := p.match(ctx, pattern)
		switch {
		case errors.Is(err, errTooLarge):
			problems = append(problems, fmt.Sprintf("The pattern %q for %s was searched only in part: %v.", pattern, what, err))
		case err != nil:
			problems = append(problems, fmt.Sprintf("The pattern %q for %s cannot be used: %v.", pattern, what, err))
		}
		slices.SortFunc(found, func(a, b match) int { return strings.Compare(a.name, b.name) })
		for _, f := range found {
			other, ok := seen[f.name]
			if ok && other.absolute != f.absolute {
				problems = append(problems, fmt.Sprintf("A file for %s was left out: another one has its name in the record, %s.", what, f.name))
			}
			if !ok {
				seen[f.name] = f
				files = append(files, f)
			}
		}
	}
	switch {
	case len(patterns) > 0 && len(files) == 0 && len(problems) == 0:
		problems = append(problems, fmt.Sprintf("No %s: no file matches %s%s.", what, strings.Join(patterns, ", "), p.where(patterns)))
	case len(files) > maxFiles:
		problems = append(problems, fmt.Sprintf("Only the first %[3]d of %[1]d %[2]s were kept.", len(files), what, maxFiles))
		files = files[:maxFiles]
	}
	return files, problems
}

// where names the directory in which relative patterns are searched.
func (p *place) where(patterns []string) string {
	if slices.ContainsFunc(patterns, func(pattern string) bool { return !path.IsAbs(pattern) }) {
		return " in " + p.dir
	}
	return ""
}

var (
	// errOutside means that a pattern leads out of the working directory.
	errOutside = errors.New("it leads out of the working directory")
	// errWhole means that an absolute pattern would search everything.
	errWhole = errors.New("it searches the whole file system; begin it with a directory, as in /out/**")
	// errSystem means that an absolute pattern begins in a directory of the system.
	errSystem = errors.New("it begins in a directory of the kernel or of Conductor")
	// errTooLarge means that the limits of a search were reached.
	errTooLarge = fmt.Errorf("it searches more than %d files, or directories more than %d levels deep; begin it with a directory nearer to the files",
		maxWalk, maxDepth)
)

// match lists the regular files that match one pattern.
func (p *place) match(ctx context.Context, pattern string) ([]match, error) {
	clean := path.Clean(pattern)
	below, ok := p.below(clean)
	switch {
	case ok:
		clean = below
	case path.IsAbs(clean):
		return p.matchAbsolute(ctx, clean)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return nil, errOutside
	}
	if p.err != nil {
		return nil, fmt.Errorf("the working directory cannot be read: %w", p.err)
	}
	return p.glob(ctx, &p.tree, clean, p.walk)
}

// below returns the path relative to the working directory of an absolute path below it.
func (p *place) below(name string) (string, bool) {
	return strings.CutPrefix(name, strings.TrimSuffix(p.dir, "/")+"/")
}

// matchAbsolute is match for patterns outside the working directory. It is not confined by the place, but by the directory where the
// pattern begins, which the test may make, also as a symbolic link.
func (p *place) matchAbsolute(ctx context.Context, pattern string) ([]match, error) {
	base, rest := doublestar.SplitPattern(pattern)
	dir, err := filepath.EvalSymlinks(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, errors.New(reason(err))
	case dir == "/" && strings.ContainsAny(rest, "*?[{"):
		return nil, errWhole
	case slices.ContainsFunc(p.system, func(s string) bool { return dir == s || strings.HasPrefix(dir, s+"/") }):
		return nil, errSystem
	}
	t := p.others[dir]
	if t == nil {
		t = p.open(dir)
		p.others[dir] = t
	}
	if t.err != nil {
		return nil, errors.New(reason(t.err))
	}
	found, err := p.glob(ctx, t, rest, p.walk)
	for i, f := range found {
		name := path.Join(base, f.path)
		if below, ok := p.below(name); ok {
			found[i].name = below
		} else {
			found[i].name, found[i].absolute = evidence.RootDir+name, true
		}
	}
	return found, err
}

// glob lists the regular files in a tree that match a pattern. It reads at most walk directory entries.
func (p *place) glob(ctx context.Context, t *tree, pattern string, walk int) ([]match, error) {
	var found []match
	v := &view{tree: t, ctx: ctx, left: walk}
	err := doublestar.GlobWalk(v, pattern, func(name string, entry fs.DirEntry) error {
		if entry.Type()&fs.ModeSymlink == 0 && !entry.Type().IsRegular() {
			return v.ended()
		}
		if info, err := t.root.Stat(name); err == nil && info.Mode().IsRegular() {
			found = append(found, match{tree: t, path: name, name: name})
		}
		return v.ended()
	}, doublestar.WithNoFollow())
	switch {
	case err != nil && ctx.Err() != nil:
		err = errors.New("it timed out")
	case v.large:
		err = errTooLarge
	}
	return found, err
}

// open opens a regular file. Anything else, such as a pipe that replaced the file, is an error; open never blocks on it.
func (m match) open() (*os.File, fs.FileInfo, error) {
	f, err := m.tree.root.OpenFile(m.path, os.O_RDONLY|noBlock, 0)
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

// view is the file system that doublestar walks: a tree without its hidden directories, until the context ends or too much was read.
type view struct {
	*tree
	ctx context.Context
	// left is the number of directory entries that may still be read. large means that a limit was reached.
	left  int
	large bool
}

// ended returns an error if the walk is over.
func (v *view) ended() error {
	if v.left < 0 {
		return errTooLarge
	}
	return v.ctx.Err()
}

// allowed returns an error if a path is hidden or the context has ended.
func (v *view) allowed(op, name string) error {
	if err := v.ended(); err != nil {
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
func (v *view) Open(name string) (fs.File, error) {
	if err := v.allowed("open", name); err != nil {
		return nil, err
	}
	return v.root.FS().Open(name)
}

// Stat implements fs.StatFS.
func (v *view) Stat(name string) (fs.FileInfo, error) {
	if err := v.allowed("stat", name); err != nil {
		return nil, err
	}
	return v.root.Stat(name)
}

// ReadDir implements fs.ReadDirFS.
func (v *view) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := v.allowed("readdir", name); err != nil {
		return nil, err
	}
	if strings.Count(name, "/") >= maxDepth {
		v.large = true
		return nil, errTooLarge
	}
	entries, err := fs.ReadDir(v.root.FS(), name)
	if v.left -= len(entries); v.left < 0 {
		v.large = true
		return nil, errTooLarge
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return v.allowed("readdir", path.Join(name, e.Name())) != nil
	}), err
}

// stale returns the name of the first file that is older than the test, such as one from the image, or "".
func stale(files []match, started time.Time) string {
	for _, f := range files {
		// File systems round down, some to two seconds.
		if info, err := f.tree.root.Stat(f.path); err == nil && info.ModTime().Before(started.Add(-2*time.Second)) {
			return f.name
		}
	}
	return ""
}
