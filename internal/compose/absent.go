package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// maxAbsent is how many files an AbsentError names.
const maxAbsent = 1000

// AbsentError lists the files of LoadOptions.Absent that are needed. The caller puts them in place and loads or converts again, which may
// need others.
type AbsentError struct {
	// Paths are sorted; there are at most 1,000.
	Paths []string
}

// Error implements error.
func (e *AbsentError) Error() string {
	return fmt.Sprintf("the content of %d files is missing, the first is %s", len(e.Paths), e.Paths[0])
}

// absences are the files whose content is missing, and those of them that are needed.
type absences struct {
	dir          string
	files, asked map[string]bool
}

// isAbsent reports whether the content of the file at an absolute path is missing, and records that it is needed.
func (a *absences) isAbsent(path string) bool {
	if len(a.files) == 0 {
		return false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(a.dir, real)
	if rel = filepath.ToSlash(rel); err != nil || !a.files[rel] {
		return false
	}
	if a.asked == nil {
		a.asked = map[string]bool{}
	}
	a.asked[rel] = true
	return true
}

// err is nil unless an absent file is needed.
func (a *absences) err() error {
	if len(a.asked) == 0 {
		return nil
	}
	paths := slices.Sorted(maps.Keys(a.asked))
	return &AbsentError{Paths: paths[:min(len(paths), maxAbsent)]}
}

// err returns what stops a load: the absent files that are needed, or else the refusals, which may only follow from those files.
func (r *reader) err() error {
	if err := r.absences.err(); err != nil {
		return err
	}
	return r.findings.err()
}

// read reads a file below the directory once, or refuses it.
func (r *reader) read(path string, from place, service, field string) ([]byte, bool) {
	if data, ok := r.data[path]; ok {
		return data, true
	}
	if len(r.data) == maxFiles {
		if !r.isFull {
			r.isFull = true
			r.refuse(from, service, field, "the project has more than %d compose files and files of variables", maxFiles)
		}
		return nil, false
	}
	if err := r.inside(path); err != nil {
		r.refuse(from, service, field, "%s %v", r.show(path, from), err)
		return nil, false
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.refuse(from, service, field, "%s is not in the repository%s", r.rel(path), meant(filepath.Base(path), FilesIn(filepath.Dir(path))))
	case err != nil || !st.Mode().IsRegular():
		r.refuse(from, service, field, "%s is not a file that can be read", r.rel(path))
	case st.Size() > maxFile:
		r.refuse(from, service, field, "%s is larger than %d KiB", r.rel(path), maxFile>>10)
	case r.size+int(st.Size()) > maxRead:
		r.refuse(from, service, field, "the compose files and those of variables have more than %d MiB together", maxRead>>20)
	case r.isAbsent(path):
	default:
		data, err := os.ReadFile(path)
		if err != nil {
			r.refuse(from, service, field, "%s is not a file that can be read", r.rel(path))
			return nil, false
		}
		r.data[path], r.size = data, r.size+len(data)
		return data, true
	}
	return nil, false
}
