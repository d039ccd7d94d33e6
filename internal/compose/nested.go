package compose

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mounted is a mount that a container has.
type mounted struct {
	// field is the field that it is converted from.
	field string
	// files are those of a copy; nil for other mounts.
	files *content
}

// isDir reports whether a directory is mounted, as far as is known.
func (m mounted) isDir() bool { return m.files == nil || m.files.from != nil && m.files.from.isDir }

// checkNested refuses mounts inside a copy that has nothing to mount them on. Docker makes a directory there; a node cannot, since copies are
// read-only.
func (u *unit) checkNested() {
	for _, vm := range u.container.VolumeMounts {
		at := vm.MountPath
		for dir := path.Dir(at); dir != "/"; dir = path.Dir(dir) {
			if around, ok := u.mounted[dir]; ok {
				if around.files != nil {
					u.checkInside(at, dir, around.files)
				}
				break
			}
		}
	}
}

// checkInside refuses the mount at a path inside the copy that is mounted at dir, unless the copy has the path.
func (u *unit) checkInside(at, dir string, copied *content) {
	inner := u.mounted[at]
	from, rel := copied.from, strings.TrimPrefix(at, dir+"/")
	switch {
	case from == nil || !from.isDir:
		u.refuse(inner.field, at, "%s lies inside %s, which is a file: nothing can be mounted there", at, dir)
	case copied.brought == nil && (rel+"/" == filesDir || strings.HasPrefix(rel, filesDir)):
		// The kubelet would make this directory at the top of the ConfigMap's volume, where the link to the files has the same name.
		u.refuse(inner.field, at, "%s lies inside %s, which is a copy of %s: nothing can be mounted in a directory %s of a copy. "+
			"Rename it, or COPY %[3]s into an image instead of mounting it", at, dir, from.path, path.Clean(filesDir))
	case inner.isDir() && !u.c.hasFile(path.Join(from.path, rel)):
		u.c.reportAlike(LevelRefused, Refused, u.s.Name, inner.field, at,
			fmt.Sprintf("mounts lie inside %s, which is a read-only copy of %s without their directories, and so nothing can be mounted there. "+
				"Commit a file in each, such as .gitkeep, or COPY %[2]s into an image instead of mounting it", dir, from.path),
			"%s lies inside %s, which is a read-only copy of %s without the directory %s, and so nothing can be mounted there. "+
				"Commit a file in it, such as %[5]s/.gitkeep, or COPY %[3]s into an image instead of mounting it",
			at, dir, from.path, rel, path.Join(from.path, rel))
	case !inner.isDir() && !u.c.isOwnFile(path.Join(from.path, rel)):
		u.refuse(inner.field, at, "%s lies inside %s, which is a read-only copy of %s without the file %s, and so nothing can be mounted there. "+
			"Commit a file %[5]s, or COPY %[3]s into an image instead of mounting it", at, dir, from.path, rel, path.Join(from.path, rel))
	}
}

// isReal reports whether a path of the repository exists and is not reached through links, with its absolute path.
func (c *converter) isReal(rel string) (file string, ok bool) {
	file = filepath.Join(c.dir, filepath.FromSlash(rel))
	real, err := filepath.EvalSymlinks(file)
	return file, err == nil && real == file
}

func (c *converter) isOwnFile(rel string) bool {
	file, ok := c.isReal(rel)
	st, err := os.Lstat(file)
	return ok && err == nil && st.Mode().IsRegular()
}

// hasFile reports whether a directory of the repository has a file, at any depth: git does not keep others.
func (c *converter) hasFile(rel string) bool {
	top, ok := c.isReal(rel)
	if st, err := os.Lstat(top); !ok || err != nil || !st.IsDir() {
		return false
	}
	found := false
	_ = filepath.WalkDir(top, func(_ string, d fs.DirEntry, err error) error {
		c.walked++
		switch {
		case err != nil || c.walked > maxWalked:
			return fs.SkipAll
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case !d.IsDir():
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}
