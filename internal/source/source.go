// Package source defines a run's source artifact: the files of one commit as layers in a registry, and an index of them. A Packer
// writes files into layers, an Artifact reads them back, and a Tree writes them to disk. None of them holds more than one buffer of a
// file's content in memory.
package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// Media types in the artifact's manifest: the artifact itself, its config (an Index as JSON) and its layers. The layers are tar.gz
// files with a media type of Conductor's own, so that container runtimes do not treat them as image layers.
const (
	ArtifactType   = "application/vnd.conductor.source.v1+json"
	IndexMediaType = "application/vnd.conductor.source.index.v1+json"
	LayerMediaType = "application/vnd.conductor.source.layer.v1.tar+gzip"
)

// Limits of an artifact. All sizes are in bytes and before compression.
const (
	// MaxEntries is the most files, links and directories of a commit, MaxBytes their total size.
	MaxEntries = 100_000
	MaxBytes   = 1 << 30
	// MaxNames limits the total length of a commit's paths and link targets, MaxPath the length of each.
	MaxNames = 8 << 20
	MaxPath  = 4096
	// MaxLayer limits one layer.
	MaxLayer = 32 << 20
	// maxIndex limits an index as JSON: each of MaxEntries has at most 150 bytes besides its names, and JSON encodes a byte of a name in
	// at most six.
	maxIndex = 150*MaxEntries + 6*MaxNames
	// maxLayers is the most layers of an index: small files waste less than half of each.
	maxLayers = 256
)

// Modes of files, as git writes them.
const (
	ModeFile       = "100644"
	ModeExecutable = "100755"
	ModeLink       = "120000"
	// ModeSubmodule is the empty directory of a submodule.
	ModeSubmodule = "160000"
)

// schemaVersion is the version of the index. It is increased when older readers would misread the new format.
const schemaVersion = 1

// File is one path of a commit.
type File struct {
	// Path is relative to the root, with slashes, and satisfies fs.ValidPath.
	Path string `json:"path"`
	// Mode is one of the modes of this package.
	Mode string `json:"mode"`
	// Size is in bytes; for a link it is the length of the target.
	Size int64 `json:"size"`
	// Blob is git's id of the content: the SHA-1 of "blob SIZE\0" and the content. It is empty for a submodule.
	Blob string `json:"blob,omitempty"`
	// Layer is the number of the layer that holds the file, from 0; links and submodules are only in the index. A file that is larger than
	// a layer starts a new layer and continues in the next ones; Layers is their number, 0 means one.
	Layer  int `json:"layer"`
	Layers int `json:"layers,omitempty"`
	// Link is the target of a symbolic link.
	Link string `json:"link,omitempty"`
}

// IsRegular reports whether the file has content in a layer.
func (f File) IsRegular() bool { return f.Mode == ModeFile || f.Mode == ModeExecutable }

// Index lists the files of a commit, sorted by path.
type Index struct {
	SHA   string
	Files []File
}

// ErrInvalid means that an artifact does not have this package's format.
var ErrInvalid = errors.New("invalid source artifact")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Write writes the index as JSON, one file at a time.
func (x *Index) Write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, `{"schemaVersion":%d,"sha":%q,"files":[`, schemaVersion, x.SHA); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	comma := "\n"
	for _, f := range x.Files {
		data, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("write the index: %w", err)
		}
		if _, err := io.WriteString(w, comma+string(data)); err != nil {
			return fmt.Errorf("write the index: %w", err)
		}
		comma = ",\n"
	}
	if _, err := io.WriteString(w, "\n]}\n"); err != nil {
		return fmt.Errorf("write the index: %w", err)
	}
	return nil
}

// ReadIndex reads an index and keeps the files that keep selects; nil selects all. It reads and checks the whole index.
func ReadIndex(r io.Reader, keep func(File) bool) (*Index, error) {
	in := json.NewDecoder(Bounded(r, maxIndex, invalid("the index has more than %d bytes", maxIndex)))
	x := &Index{}
	if err := expect(in, json.Delim('{')); err != nil {
		return nil, err
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, fmt.Errorf("read the index: %w", err)
		}
		switch key {
		case "schemaVersion":
			var version int
			if err = in.Decode(&version); err == nil && version != schemaVersion {
				err = invalid("unsupported version %d", version)
			}
		case "sha":
			err = in.Decode(&x.SHA)
		case "files":
			err = x.readFiles(in, keep)
		default:
			err = invalid("unknown key %v", key)
		}
		if err != nil {
			return nil, fmt.Errorf("read the index: %w", err)
		}
	}
	if err := expect(in, json.Delim('}')); err != nil {
		return nil, err
	}
	// Read the rest of the blob, at whose end its digest is checked.
	_, err := io.Copy(io.Discard, io.MultiReader(in.Buffered(), r))
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return x, nil
}

func (x *Index) readFiles(in *json.Decoder, keep func(File) bool) error {
	if err := expect(in, json.Delim('[')); err != nil {
		return err
	}
	last, entries, names := "", 0, 0
	for in.More() {
		var f File
		if err := in.Decode(&f); err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		if entries > 0 && f.Path <= last {
			return invalid("%q is not after %q", f.Path, last)
		}
		last = f.Path
		entries++
		names += len(f.Path) + len(f.Link)
		if entries > MaxEntries || names > MaxNames {
			return invalid("it has more than %d files or %d bytes of names", MaxEntries, MaxNames)
		}
		if keep == nil || keep(f) {
			x.Files = append(x.Files, f)
		}
	}
	return expect(in, json.Delim(']'))
}

// check validates a file of an index.
func (f File) check() error {
	switch {
	case !fs.ValidPath(f.Path) || f.Path == "." || len(f.Path) > MaxPath:
		return invalid("%q is not a path", f.Path)
	case !slices.Contains([]string{ModeFile, ModeExecutable, ModeLink, ModeSubmodule}, f.Mode):
		return invalid("%s has the mode %q", f.Path, f.Mode)
	case f.Size < 0 || f.Size > MaxBytes || f.Layer < 0 || f.Layers < 0 || f.Layer+f.Layers > maxLayers:
		return invalid("%s has the size %d in layer %d", f.Path, f.Size, f.Layer)
	case (f.Mode == ModeLink) != (f.Link != "") || !ValidLink(f.Link):
		return invalid("%s has the target %q", f.Path, f.Link)
	}
	return nil
}

// ValidLink reports whether a string can be the target of a link in an index.
func ValidLink(target string) bool {
	return len(target) <= MaxPath && utf8.ValidString(target) && !strings.Contains(target, "\x00")
}

func expect(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	if got != want {
		return invalid("found %v instead of %v", got, want)
	}
	return nil
}

// Bounded returns a reader that fails with over after limit bytes; io.LimitReader would only report the end of the input.
func Bounded(r io.Reader, limit int64, over error) io.Reader {
	return &bounded{r: r, left: limit, over: over}
}

type bounded struct {
	r    io.Reader
	left int64
	over error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.over
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
