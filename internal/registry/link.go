package registry

import (
	"context"
	"errors"
	"maps"

	"oras.land/oras-go/v2"
	orasregistry "oras.land/oras-go/v2/registry"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// LinkImages attaches to each image (host/path@digest, in this registry) a small artifact that refers to it and names the record. A
// registry without the referrers API gets the list under the fallback tag of the specification
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema). LinkImages is idempotent. If one
// image fails, the others are still linked.
func (r *Registry) LinkImages(ctx context.Context, record v1alpha1.RecordStatus, images []string) error {
	if len(images) == 0 {
		return nil
	}
	rec, err := r.Pull(ctx, record.Reference+"@"+record.Digest)
	if err != nil {
		return err
	}
	annotations := maps.Clone(rec.Annotations) // includes the record's creation time, so that repeated calls create the same artifact
	annotations[evidence.AnnotationRecord] = rec.Reference
	delete(annotations, evidence.AnnotationImages)
	done, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer done()
	var errs []error
	for _, image := range images {
		errs = append(errs, r.link(ctx, image, annotations))
	}
	return errors.Join(errs...)
}

func (r *Registry) link(ctx context.Context, image string, annotations map[string]string) error {
	ref, err := orasregistry.ParseReference(image)
	if err == nil {
		err = ref.ValidateReferenceAsDigest()
	}
	if err != nil {
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "%q is not an image reference with a digest", image)
	}
	e := r.artifactRead("image " + image)
	e.files, e.act = r.artifactWrite("").files, "link the image "+image
	target := r.open(ref, e)
	find, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	subject, err := target.Resolve(find, ref.Reference)
	if err == nil {
		_, err = pack(ctx, target, evidence.LinkArtifact, oras.PackManifestOptions{
			Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}, ManifestAnnotations: annotations,
		})
	}
	return r.explain(err, e, ref.Registry)
}
