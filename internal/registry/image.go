package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

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

// ImageConfig is what an image runs when nothing else is said. The image may be in any registry and is named as in a pod: nginx is
// Docker Hub's, for which the mirrors are asked first. Of an image for several platforms it is the one for Linux on this
// process's architecture. Credentials are those of the operator's files for that registry.
func (r *Registry) ImageConfig(ctx context.Context, image string) (entrypoint, cmd []string, user, workdir string, err error) {
	refs, err := r.places(image)
	if err != nil {
		return nil, nil, "", "", failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "%q is not an image reference", image)
	}
	e := r.seeing(image)
	for _, ref := range refs {
		var c *ocispec.Image
		if c, err = configOf(ctx, r.open(ref, e), ref.Reference); err == nil {
			return c.Config.Entrypoint, c.Config.Cmd, c.Config.User, c.Config.WorkingDir, nil
		}
		err = r.explain(err, e, ref.Registry)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, "", "", err
}

// places are where an image is looked for, in order.
func (r *Registry) places(image string) ([]orasregistry.Reference, error) {
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

// configOf reads the config of an image by tag or digest.
func configOf(ctx context.Context, source *remote.Repository, tag string) (*ocispec.Image, error) {
	data, d, err := readManifest(ctx, source, tag)
	if err != nil {
		return nil, err
	}
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
		return nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, errors.Join(err, fmt.Errorf("its manifest is %q", d.MediaType)), "%s is not an image of a kind that is known", source.Reference.String())
	}
	raw, err := readBlob(ctx, source, m.Config, maxManifest)
	if err != nil {
		return nil, err
	}
	var c ocispec.Image
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "The config of the image %s is broken", source.Reference.String())
	}
	return &c, nil
}

// forPlatform picks from an index the digest of the image for Linux on this architecture.
func forPlatform(index []byte) (string, error) {
	var all ocispec.Index
	if err := json.Unmarshal(index, &all); err != nil {
		return "", fmt.Errorf("an index of images: %w", err)
	}
	for _, m := range all.Manifests {
		if m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH {
			return m.Digest.String(), nil
		}
	}
	return "", failure.Terminalf(v1alpha1.ReasonImageUnavailable, nil, "The image is not made for linux/%s", runtime.GOARCH)
}
