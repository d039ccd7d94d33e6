package mirror

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// digester passes bytes on and keeps their digest and number.
type digester struct {
	next io.Writer
	sum  hash.Hash
	size int64
}

func (d *digester) Write(p []byte) (int, error) {
	d.sum.Write(p)
	d.size += int64(len(p))
	return d.next.Write(p)
}

func (d *digester) hash() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(d.sum.Sum(nil))}
}

// linked answers the names of the shared libraries that the programs of a
// tree load, and of those that lie in it. A library that no one brings is
// found when the image is made, not when a test runs it.
func linked(tree string) (needs, provides []string, err error) {
	err = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(d.Name(), ".so") {
			provides = append(provides, d.Name())
		}
		if !d.Type().IsRegular() || !isELF(path) {
			return nil
		}
		f, err := elf.Open(path)
		if err != nil {
			return nil // an object for another machine, in some package's own tests
		}
		defer f.Close()
		imported, err := f.ImportedLibraries()
		needs = append(needs, imported...)
		return err
	})
	slices.Sort(needs)
	slices.Sort(provides)
	return slices.Compact(needs), slices.Compact(provides), err
}

func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = io.ReadFull(f, magic)
	return err == nil && bytes.Equal(magic, []byte(elf.ELFMAG))
}

// missing answers the libraries that programs in the layers load and no layer
// brings.
func missing(layers []made) []string {
	var have, want []string
	for _, l := range layers {
		have, want = append(have, l.Provides...), append(want, l.Needs...)
	}
	return slices.Compact(slices.DeleteFunc(want, func(name string) bool { return slices.Contains(have, name) }))
}
