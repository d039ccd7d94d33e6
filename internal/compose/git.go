package compose

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// submodule refuses a path in a git submodule.
const submodule = "%s is a git submodule, and the checkout does not have its files: commit them to this repository, or use an image that is built from them elsewhere"

// maxSubmodules is how many submodules and patterns of a file of git are read.
const maxSubmodules = 1000

// submoduleOf is the git submodule that a path is in, if the directory of the submodule is empty or missing; else "".
func (r *reader) submoduleOf(path string) string {
	if !isEmptyDir(path) || r.inside(path) != nil {
		return ""
	}
	if r.submodules == nil {
		r.submodules = []string{}
		for _, line := range r.linesOfGit(".gitmodules") {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "path" {
				r.submodules = append(r.submodules, filepath.Clean(strings.Trim(strings.TrimSpace(value), `"`)))
			}
		}
	}
	i := slices.IndexFunc(r.submodules, func(m string) bool { return m != "." && below(join(r.dir, m), path) && isEmptyDir(join(r.dir, m)) })
	if i < 0 {
		return ""
	}
	return filepath.ToSlash(r.submodules[i])
}

// isEmptyDir reports whether a path is an empty directory, or does not exist.
func isEmptyDir(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer dir.Close()
	_, err = dir.ReadDir(1)
	return errors.Is(err, io.EOF)
}

// linesOfGit are the lines of a file of git, without comments; none if it does not exist.
func (r *reader) linesOfGit(name string) []string {
	path := filepath.Join(r.dir, name)
	if !isFile(path) {
		return nil
	}
	data, ok := r.read(path, place{file: name}, "", "")
	if !ok {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && len(out) < maxSubmodules {
			out = append(out, line)
		}
	}
	return out
}

// missing returns why a file of variables does not exist and what to do about it; "" if it exists.
func (r *reader) missing(path string) string {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || r.inside(path) != nil {
		return ""
	}
	name := r.rel(path)
	why := name + " is not in the repository"
	if r.isGitIgnored(name) {
		why += ": .gitignore leaves it out"
	}
	why += ". Commit a file with values for tests, or write required: false"
	if r.isFlags {
		return why + r.samples(path)
	}
	return why + " and set the variables with stack: {env: {NAME: ...}}" + r.samples(path)
}

// samples names the files beside a missing file of variables that have values to begin with.
func (r *reader) samples(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return ""
	}
	var out []string
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		isSample := slices.ContainsFunc([]string{"example", "sample", "dist", "template", "default"}, func(w string) bool { return strings.Contains(name, w) })
		if strings.Contains(name, "env") && isSample && e.Type().IsRegular() {
			out = append(out, r.rel(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	switch len(out) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(". The repository has %s: env_file can name it", out[0])
	}
	return fmt.Sprintf(". The repository has %s: env_file can name one of them", listed(out))
}

// isGitIgnored reports whether the .gitignore of the root leaves out a file. It reads the usual patterns; the last that matches decides.
func (r *reader) isGitIgnored(name string) bool {
	ignored := false
	for _, pattern := range r.linesOfGit(".gitignore") {
		pattern, isKept := strings.CutPrefix(pattern, "!")
		pattern = strings.TrimPrefix(strings.TrimSuffix(pattern, "/"), "**/")
		isAnchored := strings.Contains(pattern, "/")
		pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "/"), "/**")
		// A pattern also matches what is below a directory.
		for part := name; part != "."; part = path.Dir(part) {
			candidate := part
			if !isAnchored {
				candidate = path.Base(part)
			}
			if ok, err := path.Match(pattern, candidate); ok && err == nil {
				ignored = !isKept
				break
			}
		}
	}
	return ignored
}
