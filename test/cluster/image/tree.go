// Package image packs files into container images, reproducibly: the same
// files give the same digest on every machine and at any time. It needs no
// container engine.
package image

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// epoch is when every file in an image was last changed.
var epoch = time.Unix(0, 0).UTC()

// Owner is a numeric user and group.
type Owner struct{ UID, GID int }

// WriteTree writes the directory dir as a layer's tar: sorted, with fixed
// times, owned by root but for the paths in owners, which hold for what is
// below them too.
func WriteTree(w io.Writer, dir string, owners map[string]Owner) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		return writeEntry(t, path, name, d, owner(owners, name))
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return t.Close()
}

// owner finds the nearest path above name that has an owner of its own.
func owner(owners map[string]Owner, name string) Owner {
	for ; name != "."; name = filepath.Dir(name) {
		if o, ok := owners[name]; ok {
			return o
		}
	}
	return Owner{}
}

func writeEntry(t *tar.Writer, path, name string, d fs.DirEntry, o Owner) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: mode(info.Mode()), Uid: o.UID, Gid: o.GID, ModTime: epoch, Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
	default:
		return fmt.Errorf("%s is neither file, directory nor link", name)
	}
	if err := t.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}

// mode is the permission bits as tar has them.
func mode(m fs.FileMode) int64 {
	bits := int64(m.Perm())
	for flag, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// File is one file of a layer that is made in memory. Directories above it
// are made as needed.
type File struct {
	Path    string // without a leading slash
	Mode    int64
	Content []byte
}

// WriteFiles writes files, in the order given, as a layer's tar.
func WriteFiles(w io.Writer, files ...File) error {
	t := tar.NewWriter(w)
	made := map[string]bool{}
	for _, f := range files {
		if err := writeParents(t, made, f.Path); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: f.Mode, Size: int64(len(f.Content)), ModTime: epoch, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.Content); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeParents(t *tar.Writer, made map[string]bool, path string) error {
	parts := strings.Split(path, "/")
	for i := 1; i < len(parts); i++ {
		dir := strings.Join(parts[:i], "/") + "/"
		if made[dir] {
			continue
		}
		made[dir] = true
		h := &tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch, Format: tar.FormatPAX}
		if dir == "tmp/" {
			h.Mode = 0o1777
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}
