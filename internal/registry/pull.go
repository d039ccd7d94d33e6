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

// maxManifest limits a manifest, in bytes. The distribution specification asks registries to accept manifests of 4 MiB.
const maxManifest = 4 << 20

// Record is a record in the registry.
type Record struct {
	// Reference is repository:tag or repository@digest as requested; Digest is the manifest's.
	Reference, Digest string
	Annotations       map[string]string
	// Layers are its files in the order of the manifest. Their content is checked against the digest while it is read.
	Layers []evidence.Layer
}

// PullRecord opens the record of a run.
func (r *Registry) PullRecord(ctx context.Context, repo v1alpha1.Repository, run string) (*Record, error) {
	return r.Pull(ctx, r.RecordRepository(repo)+":"+run)
}

// Pull opens a record by its reference: host/path:tag, host/path@digest or both. Its layers can be read until ctx ends.
func (r *Registry) Pull(ctx context.Context, reference string) (*Record, error) {
	ref, err := orasregistry.ParseReference(reference)
	if err != nil || ref.Reference == "" {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, err, "%q is not the reference of a record: use host/path:tag", reference)
	}
	e := r.artifactRead("record " + reference)
	source := r.open(ref, e)
	manifest, d, err := manifestOf(ctx, source, ref.Reference)
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	if manifest.ArtifactType != evidence.RecordArtifact {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "%s is not a record: its type is %q", reference, manifest.ArtifactType)
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

// Layer returns the layer with the given name.
func (rec *Record) Layer(name string) (evidence.Layer, error) {
	for _, l := range rec.Layers {
		if l.Name == name {
			return l, nil
		}
	}
	return evidence.Layer{}, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "The record %s does not have a %s", rec.Reference, name)
}

// maxResult limits a result that a command reads into memory, in bytes. The controllers stream results instead.
const maxResult = 256 << 20

// ResultJSON returns the record's result as it was written.
func (rec *Record) ResultJSON() ([]byte, error) {
	l, err := rec.Layer(evidence.ResultName)
	if err != nil {
		return nil, err
	}
	if l.Size > maxResult {
		return nil, fmt.Errorf("%s is too large to print (%d bytes): use --extract", l.Name, l.Size)
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

// Result returns the record's result, decoded.
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
		return result, fmt.Errorf("the record's version %d is not supported: use a newer conductor, or --json", result.SchemaVersion)
	}
	return result, nil
}

// OpenResult opens the result.json of a record. It finds the record by digest, because every account that may push can move a tag. The
// content is checked against its digest at the end.
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

// readManifest reads a manifest of any kind by tag or digest and checks its digest.
func readManifest(ctx context.Context, source *remote.Repository, reference string) ([]byte, ocispec.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d, body, err := source.FetchReference(ctx, reference)
	if err != nil {
		return nil, d, err
	}
	defer body.Close()
	if d.Size > maxManifest {
		return nil, d, fmt.Errorf("the manifest of %s is too large: %d bytes", reference, d.Size)
	}
	data, err := content.ReadAll(body, d)
	if err != nil {
		return nil, d, fmt.Errorf("the manifest of %s: %w", reference, err)
	}
	return data, d, nil
}

// readBlob reads a small blob and checks its digest.
func readBlob(ctx context.Context, source *remote.Repository, d ocispec.Descriptor, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, fmt.Errorf("%s is too large: %d bytes, the limit is %d", d.Digest, d.Size, most)
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

// openBlob opens a blob of any size. Its digest is checked at the end of the content.
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

// verified is a blob whose last read fails if the content does not match the digest.
type verified struct {
	body io.ReadCloser
	rest int64
	sum  digest.Verifier
}

var errContent = errors.New("the content from the registry does not match its digest")

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	v.rest -= int64(n)
	_, _ = v.sum.Write(p[:n]) // a hash never returns an error
	if v.rest < 0 || (errors.Is(err, io.EOF) && (v.rest != 0 || !v.sum.Verified())) {
		return 0, errContent
	}
	return n, err
}

// Close implements io.Closer.
func (v *verified) Close() error { return v.body.Close() }
