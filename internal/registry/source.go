package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// PushSource writes the files of a run's commit to SourceRepository(repo):run. fill writes the layers one after another to the writers
// that next returns, and returns their index. Nothing is buffered in memory or on disk. A retry starts from scratch and moves the tag.
// Equal annotations (which include the creation time) and files produce an equal digest.
func (r *Registry) PushSource(ctx context.Context, repo v1alpha1.Repository, run string, annotations map[string]string,
	fill func(next func() (io.WriteCloser, error)) (*source.Index, error),
) (v1alpha1.SourceStatus, error) {
	ref, e, err := r.sourceOf(repo, run, r.artifactWrite)
	if err != nil {
		return v1alpha1.SourceStatus{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &sourcePush{registry: r, target: r.open(ref, e)}
	defer func() {
		cancel()
		p.abort()
	}()
	index, err := fill(func() (io.WriteCloser, error) { return p.nextLayer(ctx) })
	if err != nil {
		// If the registry refused a layer, report that; other errors are fill's own.
		if refused := p.refused.Load(); refused != nil {
			return v1alpha1.SourceStatus{}, r.explain(*refused, e, ref.Registry)
		}
		return v1alpha1.SourceStatus{}, err
	}
	config, err := r.upload(ctx, p.target, source.IndexMediaType, index.Write)
	if err != nil {
		return v1alpha1.SourceStatus{}, r.explain(err, e, ref.Registry)
	}
	manifest, err := pack(ctx, tagged{p.target, run}, source.ArtifactType, oras.PackManifestOptions{
		Layers: p.layers, ConfigDescriptor: &config, ManifestAnnotations: annotations,
	})
	if err != nil {
		return v1alpha1.SourceStatus{}, r.explain(err, e, ref.Registry)
	}
	status := v1alpha1.SourceStatus{Reference: ref.String(), Digest: manifest.Digest.String()}
	for _, l := range p.layers {
		status.Size += l.Size
	}
	return status, nil
}

// sourceOf returns the reference of a run's source artifact and the operation on it.
func (r *Registry) sourceOf(repo v1alpha1.Repository, run string, do func(string) operation) (orasregistry.Reference, operation, error) {
	ref, err := orasregistry.ParseReference(r.SourceRepository(repo) + ":" + run)
	if err != nil {
		return ref, operation{}, failure.Terminalf(v1alpha1.ReasonRefused, err, "%q is not a valid name for a source artifact", run)
	}
	return ref, do("source artifact " + ref.String()), nil
}

// sourcePush pushes the layers of a source artifact.
type sourcePush struct {
	registry *Registry
	target   *remote.Repository
	layers   []ocispec.Descriptor
	current  *layerPush
	// refused is the error with which the registry refused a layer.
	refused atomic.Pointer[error]
}

// nextLayer starts a layer. The previous one must be closed.
func (p *sourcePush) nextLayer(ctx context.Context) (io.WriteCloser, error) {
	out, in := io.Pipe()
	l := &layerPush{PipeWriter: in, push: p, ended: make(chan layerEnd, 1)}
	p.current = l
	go func() {
		d, err := p.registry.upload(ctx, p.target, source.LayerMediaType, func(w io.Writer) error {
			_, err := io.Copy(w, out)
			return err
		})
		if err != nil {
			p.refused.CompareAndSwap(nil, &err)
		}
		_ = out.CloseWithError(errors.Join(errors.New("the registry did not accept the layer"), err)) // CloseWithError never fails
		l.ended <- layerEnd{d, err}
	}()
	return l, nil
}

// abort stops a layer that is still open and waits for its push to end.
func (p *sourcePush) abort() {
	if p.current != nil {
		_ = p.current.CloseWithError(errAborted) // CloseWithError never fails
		<-p.current.ended
	}
}

var errAborted = errors.New("the files could not be read completely")

// layerPush is one layer that is being pushed.
type layerPush struct {
	*io.PipeWriter
	push  *sourcePush
	ended chan layerEnd
}

type layerEnd struct {
	descriptor ocispec.Descriptor
	err        error
}

// Close ends the layer and waits until the registry has stored it.
func (l *layerPush) Close() error {
	_ = l.PipeWriter.Close() // never fails
	end := <-l.ended
	l.push.current = nil
	if end.err != nil {
		return fmt.Errorf("push a layer: %w", end.err)
	}
	l.push.layers = append(l.push.layers, end.descriptor)
	return nil
}

// OpenSource opens a source artifact by its reference: host/path@digest, with or without a tag. It loads the files that keep selects;
// nil selects all. Its layers can be read until ctx ends and are checked against their digests.
func (r *Registry) OpenSource(ctx context.Context, reference string, keep func(source.File) bool) (*source.Artifact, error) {
	ref, err := orasregistry.ParseReference(reference)
	if err != nil || ref.ValidateReferenceAsDigest() != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, err, "%q is not the reference of a source artifact: use host/path@digest", reference)
	}
	e := r.artifactRead("source artifact " + reference)
	from := r.open(ref, e)
	manifest, _, err := manifestOf(ctx, from, ref.Reference)
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	if manifest.ArtifactType != source.ArtifactType || manifest.Config.MediaType != source.IndexMediaType {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "%s is not a source artifact: its type is %q", reference, manifest.ArtifactType)
	}
	body, err := openBlob(ctx, from, manifest.Config)
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	defer body.Close()
	index, err := source.ReadIndex(body, keep)
	if err != nil {
		return nil, unreadable(err, ref)
	}
	return &source.Artifact{Index: index, Open: func(number int) (io.ReadCloser, error) {
		if number >= len(manifest.Layers) {
			return nil, unreadable(fmt.Errorf("%w: layer %d does not exist", source.ErrInvalid, number), ref)
		}
		body, err := openBlob(ctx, from, manifest.Layers[number])
		return body, r.explain(err, e, ref.Registry)
	}}, nil
}

// unreadable converts an error of reading an artifact: the artifact is damaged, or the connection broke.
func unreadable(err error, ref orasregistry.Reference) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.Is(err, source.ErrInvalid) || errors.As(err, &syntax) || errors.As(err, &kind) {
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The source artifact %s cannot be read", ref)
	}
	return failure.Transientf(v1alpha1.ReasonUnavailable, err, "The registry %s did not send the complete source artifact", ref.Registry)
}

// DeleteSource deletes a run's source artifact, whatever its digest. It succeeds if there is none. A registry that does not support
// deletion is a terminal failure.
func (r *Registry) DeleteSource(ctx context.Context, repo v1alpha1.Repository, run string) error {
	ref, e, err := r.sourceOf(repo, run, r.artifactWrite)
	if err != nil {
		return err
	}
	e.act = "delete the source artifact " + ref.String()
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	target := r.open(ref, e)
	d, err := target.Resolve(ctx, ref.Reference)
	if err == nil {
		err = target.Delete(ctx, d)
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return nil
	case status(err) == http.StatusMethodNotAllowed:
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "Cannot delete a source artifact: the registry %s does not support deletion. Source artifacts stay until the registry removes them itself", ref.Registry)
	}
	return r.explain(err, e, ref.Registry)
}
