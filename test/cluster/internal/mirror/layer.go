// Package mirror makes the images that tests pull, under the names they have
// at the public registries, out of Debian's and npm's packages, and puts them
// where the cluster's registry finds them.
package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/w3evolutionsllc/conductor/test/cluster/image"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// layer is what a layer of files is made from. All of it goes into the key
// under which the layer is cached.
type layer struct {
	Name     string
	Debs     []string          // Debian packages to unpack
	Drop     []string          // paths that are taken out again
	Keep     []string          // when given, the only paths that stay of Debs
	NPM      []npmPackage      // npm packages to unpack
	Lock     string            // directory of a package.json with its lock file, embedded
	LockInto string            // where its root package goes; its dependencies go below
	Applets  bool              // links for busybox's applets
	Roots    bool              // all certificates of ca-certificates as one file
	Files    []file            // written last
	Copies   map[string]string // path in the image: file on this machine
	Links    map[string]string // path in the image: target
	Dirs     map[string]uint32 // path: mode
	Owners   map[string]image.Owner
}

type npmPackage struct{ Name, Version, Into string }

// file is an embedded file (files/<From>) in the image.
type file struct {
	Path string
	From string
	Mode uint32
}

// made is a finished layer in the cache.
type made struct {
	Hash     v1.Hash  `json:"digest"`
	Length   int64    `json:"size"`
	Needs    []string `json:"needs"`    // shared libraries that its programs load
	Provides []string `json:"provides"` // shared libraries that it holds
	dir      string
}

const blobName = "layer.tar"

// The methods of v1.Layer. Layers are not compressed: on one machine that
// would cost each pull more than it saves.

func (m made) Digest() (v1.Hash, error)             { return m.Hash, nil }
func (m made) DiffID() (v1.Hash, error)             { return m.Hash, nil }
func (m made) Size() (int64, error)                 { return m.Length, nil }
func (m made) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (m made) Compressed() (io.ReadCloser, error)   { return os.Open(m.blob()) }
func (m made) Uncompressed() (io.ReadCloser, error) { return os.Open(m.blob()) }

func (m made) blob() string { return filepath.Join(m.dir, blobName) }

// make answers the layer, made now or before.
func (l layer) make(ctx context.Context, cacheDir string, out io.Writer) (made, error) {
	key, err := l.key()
	if err != nil {
		return made{}, err
	}
	dir, err := cache.Once(cacheDir, "layers", l.Name+"-"+key, func(tmp string) error {
		fmt.Fprintf(out, "making image layer %s\n", l.Name)
		tree := filepath.Join(tmp, "tree")
		if err := os.Mkdir(tree, 0o755); err != nil {
			return err
		}
		if err := l.assemble(ctx, tree); err != nil {
			return err
		}
		if err := l.pack(tree, tmp); err != nil {
			return err
		}
		return os.RemoveAll(tree)
	})
	if err != nil {
		return made{}, fmt.Errorf("layer %s: %w", l.Name, err)
	}
	return readMade(dir)
}

// key changes with the recipe and with every embedded file it names.
func (l layer) key() (string, error) {
	recipe, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	inputs := [][]byte{[]byte("2"), recipe} // the number: of the way layers are made
	for _, f := range l.Files {
		content, err := files.ReadFile("files/" + f.From)
		if err != nil {
			return "", err
		}
		inputs = append(inputs, content)
	}
	if l.Lock != "" {
		lock, err := files.ReadFile(l.Lock + "/package-lock.json")
		if err != nil {
			return "", err
		}
		inputs = append(inputs, lock)
	}
	return cache.Key(inputs...), nil
}

// pack writes the tree as the layer's blob, and beside it what is to know
// about it.
func (l layer) pack(tree, dir string) error {
	blob, err := os.Create(filepath.Join(dir, blobName))
	if err != nil {
		return err
	}
	defer blob.Close()
	d := &digester{next: blob, sum: sha256.New()}
	if err := image.WriteTree(d, tree, l.Owners); err != nil {
		return err
	}
	m := made{Hash: d.hash(), Length: d.size}
	if m.Needs, m.Provides, err = linked(tree); err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "layer.json"), text, 0o644)
}

func readMade(dir string) (made, error) {
	m := made{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "layer.json"))
	if err != nil {
		return made{}, err
	}
	return m, json.Unmarshal(text, &m)
}
