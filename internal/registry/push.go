package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// pushes is how many layers are pushed at a time.
	pushes = 4
	// patience is how long a push may go on without a byte moving, the registry's last answer included: some store a layer only then.
	patience = 2 * time.Minute
)

// PushRecord keeps the record of a run as RecordRepository(repo):run. Layers that the registry has are not sent again and the
// manifest comes last, so that it can be tried again from wherever it broke off. The same annotations (which name the time of
// creation) and layers make the same digest. No layer is held in memory.
func (r *Registry) PushRecord(ctx context.Context, repo v1alpha1.Repository, run string, annotations map[string]string, layers []evidence.Layer) (v1alpha1.RecordStatus, error) {
	ref, err := orasregistry.ParseReference(r.RecordRepository(repo) + ":" + run)
	if err != nil {
		return v1alpha1.RecordStatus{}, failure.Terminalf(v1alpha1.ReasonRefused, err, "%q cannot name a record", run)
	}
	e := r.writing("record " + ref.String())
	target := r.open(ref, e)
	descriptors, err := describe(layers)
	if err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	if err := r.pushLayers(ctx, target, layers, descriptors); err != nil {
		return v1alpha1.RecordStatus{}, r.explain(err, e, ref.Registry)
	}
	manifest, err := pack(ctx, tagged{target, run}, evidence.RecordArtifact, oras.PackManifestOptions{Layers: descriptors, ManifestAnnotations: annotations})
	if err != nil {
		return v1alpha1.RecordStatus{}, r.explain(err, e, ref.Registry)
	}
	status := v1alpha1.RecordStatus{Reference: ref.String(), Digest: manifest.Digest.String()}
	for _, d := range descriptors {
		status.Size += d.Size
	}
	return status, nil
}

// describe gives the layers as a manifest names them.
func describe(layers []evidence.Layer) ([]ocispec.Descriptor, error) {
	all, names := make([]ocispec.Descriptor, 0, len(layers)), map[string]bool{}
	for _, l := range layers {
		d := ocispec.Descriptor{
			MediaType: l.MediaType, Size: l.Size, Digest: digest.Digest(l.Digest),
			Annotations: map[string]string{ocispec.AnnotationTitle: l.Name},
		}
		if err := d.Digest.Validate(); err != nil || names[l.Name] || l.Name == "" {
			return nil, failure.Terminalf(v1alpha1.ReasonRefused, errors.Join(err, fmt.Errorf("layer %q with digest %q", l.Name, l.Digest)),
				"The record has a file without a name or a digest, or two of one name")
		}
		names[l.Name] = true
		all = append(all, d)
	}
	return all, nil
}

// pushLayers sends the layers that the registry does not have.
func (r *Registry) pushLayers(ctx context.Context, target *remote.Repository, layers []evidence.Layer, descriptors []ocispec.Descriptor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pushes)
	sent := map[digest.Digest]bool{}
	for i, l := range layers {
		if sent[descriptors[i].Digest] {
			continue
		}
		sent[descriptors[i].Digest] = true
		group.Go(func() error { return r.pushLayer(ctx, target, l, descriptors[i]) })
	}
	return group.Wait()
}

func (r *Registry) pushLayer(ctx context.Context, target *remote.Repository, l evidence.Layer, d ocispec.Descriptor) error {
	if there, err := exists(ctx, target, d); err != nil || there {
		return err
	}
	content, err := l.Open()
	if err != nil {
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "%s, which belongs in the record, cannot be read", l.Name)
	}
	defer content.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := watch(content, r.patience, cancel)
	defer body.timer.Stop()
	if err := target.Blobs().Push(ctx, d, body); err != nil {
		if cause := body.err.Load(); cause != nil {
			return failure.Transientf(v1alpha1.ReasonUnavailable, *cause, "%s, which belongs in the record, cannot be read to its end", l.Name)
		}
		return errors.Join(fmt.Errorf("push %s: %w", l.Name, err), context.Cause(ctx))
	}
	return nil
}

func exists(ctx context.Context, target *remote.Repository, d ocispec.Descriptor) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return target.Blobs().Exists(ctx, d)
}

// watched is the content of a push: it notices when nothing has been read for too long, and remembers why it could not be read.
type watched struct {
	io.Reader
	patience time.Duration
	timer    *time.Timer
	// waiting is set while content is waited for, as opposed to the registry.
	waiting atomic.Bool
	err     atomic.Pointer[error]
}

// watch cancels the push when its content has not moved for the time of patience. The cause is an *unreadableError where no content
// came.
func watch(content io.Reader, patience time.Duration, cancel context.CancelCauseFunc) *watched {
	w := &watched{Reader: content, patience: patience}
	w.timer = time.AfterFunc(patience, func() {
		err := fmt.Errorf("nothing has moved for %s", patience)
		if w.waiting.Load() {
			err = &unreadableError{err}
		}
		cancel(err)
	})
	return w
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.patience)
	w.waiting.Store(true)
	n, err := w.Reader.Read(p)
	w.waiting.Store(false)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err.Store(&err)
	}
	return n, err
}

// pack makes a manifest of version 1.1 with an empty config and pushes both.
func pack(ctx context.Context, target oras.Target, artifact string, o oras.PackManifestOptions) (ocispec.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	return oras.PackManifest(ctx, target, oras.PackManifestVersion1_1, artifact, o)
}

// tagged is a repository whose manifests are pushed under a tag.
type tagged struct {
	*remote.Repository
	tag string
}

// Push implements content.Pusher. A tag that names the manifest already is left alone: some registries let none be written twice.
func (t tagged) Push(ctx context.Context, d ocispec.Descriptor, content io.Reader) error {
	if d.MediaType != ocispec.MediaTypeImageManifest {
		return t.Repository.Push(ctx, d, content)
	}
	if there, err := t.Resolve(ctx, t.tag); err == nil && there.Digest == d.Digest {
		return nil
	}
	return t.PushReference(ctx, d, content, t.tag)
}
