package mirror

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// Seed puts all images into a registry's storage directory, as Distribution's
// filesystem driver lays it out: blobs by digest, and beside them small files
// that link names to blobs. Layers are hard links into the cache, which is
// what makes a fresh registry start in no time; the registry never writes into
// a blob that it has.
func (m *Mirror) Seed(dir string) error {
	s := storage{root: filepath.Join(dir, "docker", "registry", "v2")}
	for _, img := range m.images {
		for _, name := range img.Names {
			repository, tag, _ := strings.Cut(name, ":")
			if err := s.add(repository, tag, img); err != nil {
				return err
			}
		}
	}
	return nil
}

type storage struct{ root string }

func (s storage) add(repository, tag string, img packed) error {
	manifest, err := img.Image.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Image.Digest()
	if err != nil {
		return err
	}
	tags := s.repository(repository, "_manifests", "tags", tag)
	if have, _ := os.ReadFile(filepath.Join(tags, "current", "link")); string(have) == digest.String() {
		return nil // the tag is written last
	}
	config, err := img.Image.RawConfigFile()
	if err != nil {
		return err
	}
	configDigest, err := img.Image.ConfigName()
	if err != nil {
		return err
	}
	for _, l := range img.Layers {
		if err := errors.Join(s.linkBlob(l), s.link(l.Hash, s.repository(repository, "_layers"))); err != nil {
			return err
		}
	}
	return errors.Join(
		s.blob(configDigest, config), s.link(configDigest, s.repository(repository, "_layers")),
		s.blob(digest, manifest), s.link(digest, s.repository(repository, "_manifests", "revisions")),
		s.link(digest, filepath.Join(tags, "index")),
		cache.WriteFile(filepath.Join(tags, "current", "link"), []byte(digest.String()), 0o644),
	)
}

func (s storage) repository(name string, elements ...string) string {
	return filepath.Join(append([]string{s.root, "repositories", name}, elements...)...)
}

func (s storage) blobPath(h v1.Hash) string {
	return filepath.Join(s.root, "blobs", h.Algorithm, h.Hex[:2], h.Hex, "data")
}

func (s storage) blob(h v1.Hash, content []byte) error {
	return cache.WriteFile(s.blobPath(h), content, 0o644)
}

// link writes the file by which a directory of links names a blob.
func (s storage) link(h v1.Hash, dir string) error {
	return cache.WriteFile(filepath.Join(dir, h.Algorithm, h.Hex, "link"), []byte(h.String()), 0o644)
}

func (s storage) linkBlob(l made) error {
	path := s.blobPath(l.Hash)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	err := os.Link(l.blob(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	from, err := l.Compressed() // the cache is on another filesystem
	if err != nil {
		return err
	}
	defer from.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, from); err != nil {
		return err
	}
	return cache.WriteFile(path, b.Bytes(), 0o644)
}
