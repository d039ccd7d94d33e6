package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// Media types of Docker's own manifests (https://distribution.github.io/distribution/spec/manifest-v2-2/).
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

const (
	// maxConfig limits an image's configuration file, in bytes. Histories of hundreds of layers fit.
	maxConfig = 1 << 20
	// maxKept limits the cached configuration files, in bytes.
	maxKept = 16 << 20
)

// configCache caches configuration files by image digest; they are immutable.
type configCache struct {
	mu    sync.Mutex
	files map[orasregistry.Reference][]byte
	size  int
}

func (c *configCache) get(image orasregistry.Reference) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files[image]
}

// put caches a file. If the cache is full it drops all others first.
func (c *configCache) put(image orasregistry.Reference, file []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+len(file) > maxKept || c.files == nil {
		c.files, c.size = map[orasregistry.Reference][]byte{}, 0
	}
	if _, have := c.files[image]; !have {
		c.files[image], c.size = file, c.size+len(file)
	}
}

// ImageConfig returns an image's digest and its configuration file as JSON. The image may be in any registry and is named as in a pod:
// nginx is Docker Hub's, for which the mirrors are tried first. For a multi-platform image it returns the digest of the index and the
// configuration for Linux on this process's architecture. It uses the operator's credentials for the registry. Configurations are
// cached by digest.
func (r *Registry) ImageConfig(ctx context.Context, image string) (digest string, config []byte, err error) {
	refs, err := r.candidates(image)
	if err != nil {
		return "", nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "%q is not an image reference", image)
	}
	e := r.imageRead(image)
	for _, ref := range refs {
		if digest, config, err = r.configOf(ctx, r.open(ref, e), ref); err == nil {
			return digest, config, nil
		}
		err = r.explain(err, e, ref.Registry)
		if ctx.Err() != nil {
			break
		}
	}
	return "", nil, err
}

// candidates returns the references to try for an image, in order.
func (r *Registry) candidates(image string) ([]orasregistry.Reference, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, err
	}
	ref := orasregistry.Reference{Registry: reference.Domain(named), Repository: reference.Path(named), Reference: "latest"}
	if tag, ok := named.(reference.Tagged); ok {
		ref.Reference = tag.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		ref.Reference = digested.Digest().String()
	}
	var all []orasregistry.Reference
	for _, m := range r.o.Mirrors {
		if ref.Registry != "docker.io" {
			break
		}
		host, path, _ := strings.Cut(strings.Trim(m, "/"), "/")
		all = append(all, orasregistry.Reference{Registry: host, Repository: strings.TrimPrefix(path+"/"+ref.Repository, "/"), Reference: ref.Reference})
	}
	return append(all, ref), nil
}

// configOf reads the configuration of an image by tag or digest. It first resolves a tag to its digest, which registries do not count
// as a pull.
func (r *Registry) configOf(ctx context.Context, source *remote.Repository, ref orasregistry.Reference) (string, []byte, error) {
	known := ref
	if _, err := ref.Digest(); err != nil {
		head, cancel := context.WithTimeout(ctx, requestTimeout)
		d, err := source.Resolve(head, ref.Reference)
		cancel()
		var silent *url.Error
		switch code := status(err); {
		case err == nil:
			known.Reference = d.Digest.String()
		case code == http.StatusNotFound, code == http.StatusUnauthorized, code == http.StatusForbidden, errors.As(err, &silent):
			return "", nil, err
		} // On other errors, read the manifest: some registries omit the digest in a HEAD response.
	}
	if config := r.configs.get(known); config != nil {
		return known.Reference, config, nil
	}
	data, d, err := readManifest(ctx, source, known.Reference)
	if err != nil {
		return "", nil, err
	}
	known.Reference = d.Digest.String()
	config, err := readConfigOf(ctx, source, data, d)
	if err != nil {
		return "", nil, err
	}
	r.configs.put(known, config)
	return known.Reference, config, nil
}

// readConfigOf reads the configuration that a manifest names. For an index it reads that of the image for this platform.
func readConfigOf(ctx context.Context, source *remote.Repository, data []byte, d ocispec.Descriptor) ([]byte, error) {
	if d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == dockerList {
		one, err := forPlatform(data)
		if err != nil {
			return nil, err
		}
		if data, d, err = readManifest(ctx, source, one); err != nil {
			return nil, err
		}
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil || (d.MediaType != ocispec.MediaTypeImageManifest && d.MediaType != dockerManifest) {
		return nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, errors.Join(err, fmt.Errorf("unsupported media type %q of its manifest", d.MediaType)), "%s is not an image of a supported type", source.Reference.String())
	}
	config, err := readBlob(ctx, source, m.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	if !json.Valid(config) {
		return nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, nil, "The configuration of the image %s is not valid JSON", source.Reference.String())
	}
	return config, nil
}

// forPlatform returns the digest of an index's image for Linux on this architecture.
func forPlatform(index []byte) (string, error) {
	var all ocispec.Index
	if err := json.Unmarshal(index, &all); err != nil {
		return "", fmt.Errorf("decode the image index: %w", err)
	}
	for _, m := range all.Manifests {
		if m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH {
			return m.Digest.String(), nil
		}
	}
	return "", failure.Terminalf(v1alpha1.ReasonImageUnavailable, nil, "The image is not available for linux/%s", runtime.GOARCH)
}
