package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// maxManifest bounds a manifest and an image's config, in bytes; the distribution specification wants registries to take
// manifests of 4 MiB.
const maxManifest = 4 << 20

// Record is a record as the registry has it.
type Record struct {
	// Reference is repository:tag or repository@digest, as it was asked for; Digest is its manifest's.
	Reference, Digest string
	Annotations       map[string]string
	// Layers are its files in the order of the manifest. What they open is checked against their digests as it is read.
	Layers []evidence.Layer
}

// PullRecord finds the record of a run.
func (r *Registry) PullRecord(ctx context.Context, repo v1alpha1.Repository, run string) (*Record, error) {
	return r.Pull(ctx, r.RecordRepository(repo)+":"+run)
}

// Pull finds a record by its reference: host/path:tag, host/path@digest or both. Its layers can be opened until ctx ends.
func (r *Registry) Pull(ctx context.Context, reference string) (*Record, error) {
	ref, err := orasregistry.ParseReference(reference)
	if err != nil || ref.Reference == "" {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, err, "%q is not a record's reference: that is host/path:tag", reference)
	}
	e := r.reading("record " + reference)
	source := r.open(ref, e)
	manifest, d, err := manifestOf(ctx, source, ref.Reference)
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	if manifest.ArtifactType != evidence.RecordArtifact {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "%s is not a record, but %q", reference, manifest.ArtifactType)
	}
	rec := &Record{Reference: reference, Digest: d.Digest.String(), Annotations: manifest.Annotations}
	for _, l := range manifest.Layers {
		rec.Layers = append(rec.Layers, evidence.Layer{
			Name: l.Annotations[ocispec.AnnotationTitle], MediaType: l.MediaType, Size: l.Size, Digest: l.Digest.String(),
			Open: func() (io.ReadCloser, error) {
				body, err := openBlob(ctx, source, l)
				return body, r.explain(err, e, ref.Registry)
			},
		})
	}
	return rec, nil
}

// Layer is the layer of a name.
func (rec *Record) Layer(name string) (evidence.Layer, error) {
	for _, l := range rec.Layers {
		if l.Name == name {
			return l, nil
		}
	}
	return evidence.Layer{}, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "The record %s has no %s", rec.Reference, name)
}

// maxResult bounds a result that a command reads into memory, in bytes. Conductor itself reads results as streams.
const maxResult = 256 << 20

// ResultJSON is the record's result as it stands.
func (rec *Record) ResultJSON() ([]byte, error) {
	l, err := rec.Layer(evidence.ResultName)
	if err != nil {
		return nil, err
	}
	if l.Size > maxResult {
		return nil, fmt.Errorf("%s has %d bytes: use --extract", l.Name, l.Size)
	}
	body, err := l.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.Name, err)
	}
	return data, nil
}

// Result is the record's result.
func (rec *Record) Result() (evidence.Result, error) {
	var result evidence.Result
	data, err := rec.ResultJSON()
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return result, fmt.Errorf("read %s: %w", evidence.ResultName, err)
	}
	if result.SchemaVersion > evidence.SchemaVersion {
		return result, fmt.Errorf("the record is of version %d, which this conductor does not know: use a newer one, or --json", result.SchemaVersion)
	}
	return result, nil
}

// OpenResult opens the result.json of a record, which is found by its digest: a tag can be moved by every account that may push. What
// is read is checked against its own digest at the end.
func (r *Registry) OpenResult(ctx context.Context, record v1alpha1.RecordStatus) (io.ReadCloser, error) {
	rec, err := r.Pull(ctx, record.Reference+"@"+record.Digest)
	if err != nil {
		return nil, err
	}
	l, err := rec.Layer(evidence.ResultName)
	if err != nil {
		return nil, err
	}
	return l.Open()
}

// manifestOf reads an image manifest by tag or digest.
func manifestOf(ctx context.Context, source *remote.Repository, reference string) (ocispec.Manifest, ocispec.Descriptor, error) {
	var m ocispec.Manifest
	data, d, err := readManifest(ctx, source, reference)
	if err != nil {
		return m, d, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, d, fmt.Errorf("the manifest of %s: %w", reference, err)
	}
	return m, d, nil
}

// readManifest reads any manifest by tag or digest, and checks its digest.
func readManifest(ctx context.Context, source *remote.Repository, reference string) ([]byte, ocispec.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d, body, err := source.FetchReference(ctx, reference)
	if err != nil {
		return nil, d, err
	}
	defer body.Close()
	if d.Size > maxManifest {
		return nil, d, fmt.Errorf("the manifest of %s has %d bytes", reference, d.Size)
	}
	data, err := content.ReadAll(body, d)
	if err != nil {
		return nil, d, fmt.Errorf("the manifest of %s: %w", reference, err)
	}
	return data, d, nil
}

// readBlob reads a small blob, and checks its digest.
func readBlob(ctx context.Context, source *remote.Repository, d ocispec.Descriptor, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", d.Digest, d.Size, most)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := source.Blobs().Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return content.ReadAll(body, d)
}

// openBlob reads a blob of any size; at its end the digest is checked.
func openBlob(ctx context.Context, source *remote.Repository, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("a layer's digest %q: %w", d.Digest, err)
	}
	body, err := source.Blobs().Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	return &verified{body: body, rest: d.Size, sum: d.Digest.Verifier()}, nil
}

// verified is a blob that ends with an error when it was not what its digest says.
type verified struct {
	body io.ReadCloser
	rest int64
	sum  digest.Verifier
}

var errContent = errors.New("the registry's bytes are not those that the digest names")

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	v.rest -= int64(n)
	_, _ = v.sum.Write(p[:n]) // a hash takes everything
	if v.rest < 0 || (errors.Is(err, io.EOF) && (v.rest != 0 || !v.sum.Verified())) {
		return 0, errContent
	}
	return n, err
}

// Close implements io.Closer.
func (v *verified) Close() error { return v.body.Close() }
