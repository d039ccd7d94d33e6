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
	// pushes is how many layers are pushed at once.
	pushes = 4
	// stallTimeout is how long a push may go without progress. It includes the registry's final response, because some registries store a
	// layer only then.
	stallTimeout = 2 * time.Minute
)

// PushRecord writes the record of a run to RecordRepository(repo):run. It pushes files first. It then calls head with the errors of
// those that could not be read, which are left out, and pushes the layers that head returns. Those come first in the manifest.
//
// PushRecord skips layers that have a digest and exist in the registry, and pushes the manifest last, so a retry continues where the
// last attempt broke off. Equal annotations (which include the creation time) and content produce an equal digest. No layer is held in
// memory, and at most four are pushed at once.
func (r *Registry) PushRecord(ctx context.Context, repo v1alpha1.Repository, run string, annotations map[string]string, files []evidence.Layer, head func(missing []error) ([]evidence.Layer, error)) (v1alpha1.RecordStatus, error) {
	ref, err := orasregistry.ParseReference(r.RecordRepository(repo) + ":" + run)
	if err != nil {
		return v1alpha1.RecordStatus{}, failure.Terminalf(v1alpha1.ReasonRefused, err, "%q is not a valid name for a record", run)
	}
	e := r.artifactWrite("record " + ref.String())
	target := r.open(ref, e)
	names := map[string]bool{}
	layers, missing, err := r.pushLayers(ctx, target, names, files)
	if err != nil {
		return v1alpha1.RecordStatus{}, r.explain(err, e, ref.Registry)
	}
	made, err := head(missing)
	if err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	first, missing, err := r.pushLayers(ctx, target, names, made)
	if err = errors.Join(append(missing, err)...); err != nil {
		return v1alpha1.RecordStatus{}, r.explain(err, e, ref.Registry)
	}
	layers = append(first, layers...)
	manifest, err := pack(ctx, tagged{target, run}, evidence.RecordArtifact, oras.PackManifestOptions{Layers: layers, ManifestAnnotations: annotations})
	if err != nil {
		return v1alpha1.RecordStatus{}, r.explain(err, e, ref.Registry)
	}
	status := v1alpha1.RecordStatus{Reference: ref.String(), Digest: manifest.Digest.String()}
	for _, d := range layers {
		status.Size += d.Size
	}
	return status, nil
}

// pushLayers pushes the layers that the registry does not have and returns their descriptors in order. missing holds the errors of
// layers that could not be read. names are the layer names in use.
func (r *Registry) pushLayers(ctx context.Context, target *remote.Repository, names map[string]bool, layers []evidence.Layer) (sent []ocispec.Descriptor, missing []error, err error) {
	if err := check(layers, names); err != nil {
		return nil, nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pushes)
	all, unread := make([]ocispec.Descriptor, len(layers)), make([]error, len(layers))
	started := map[string]bool{}
	for i, l := range layers {
		all[i] = describe(l)
		if l.Write != nil {
			group.Go(func() (err error) {
				all[i], unread[i], err = r.writeLayer(ctx, target, l)
				return err
			})
		} else if !started[l.Digest] {
			started[l.Digest] = true
			group.Go(func() error { return r.pushLayer(ctx, target, l, all[i]) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, d := range all {
		if unread[i] != nil {
			missing = append(missing, unread[i])
		} else {
			sent = append(sent, d)
		}
	}
	return sent, missing, nil
}

// check rejects layers that a manifest cannot list.
func check(layers []evidence.Layer, names map[string]bool) error {
	for _, l := range layers {
		var err error
		if l.Write == nil {
			err = digest.Digest(l.Digest).Validate()
		}
		if err != nil || names[l.Name] || l.Name == "" {
			return failure.Terminalf(v1alpha1.ReasonRefused, errors.Join(err, fmt.Errorf("layer %q with digest %q", l.Name, l.Digest)),
				"The record is invalid: it has a file without a name or a digest, or two files with the same name")
		}
		names[l.Name] = true
	}
	return nil
}

// describe returns the descriptor of a layer.
func describe(l evidence.Layer) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: l.MediaType, Size: l.Size, Digest: digest.Digest(l.Digest),
		Annotations: map[string]string{ocispec.AnnotationTitle: l.Name},
	}
}

// writeLayer pushes a layer whose size and digest are known only afterwards. unread is set if the content could not be read.
func (r *Registry) writeLayer(ctx context.Context, target *remote.Repository, l evidence.Layer) (d ocispec.Descriptor, unread, err error) {
	d, err = r.upload(ctx, target, l.MediaType, l.Write)
	if cause := new(unreadableError); errors.As(err, &cause) && ctx.Err() == nil {
		return d, fmt.Errorf("%s: %w", l.Name, err), nil
	}
	if err != nil {
		return d, nil, fmt.Errorf("push %s: %w", l.Name, err)
	}
	l.Size, l.Digest = d.Size, d.Digest.String()
	return describe(l), nil, nil
}

func (r *Registry) pushLayer(ctx context.Context, target *remote.Repository, l evidence.Layer, d ocispec.Descriptor) error {
	if there, err := exists(ctx, target, d); err != nil || there {
		return err
	}
	content, err := l.Open()
	if err != nil {
		return failure.Transientf(v1alpha1.ReasonUnavailable, err, "Conductor cannot read %s, which belongs in the record", l.Name)
	}
	defer content.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// net/http waits for a read of the body even if the request has been canceled.
	defer context.AfterFunc(ctx, func() { _ = content.Close() })()
	body := watch(content, r.stallTimeout, cancel)
	defer body.timer.Stop()
	if err := target.Blobs().Push(ctx, d, body); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return errors.Join(fmt.Errorf("push %s: %w", l.Name, err), cause)
		}
		if cause := body.err.Load(); cause != nil {
			return failure.Transientf(v1alpha1.ReasonUnavailable, *cause, "Conductor cannot read all of %s, which belongs in the record", l.Name)
		}
		return fmt.Errorf("push %s: %w", l.Name, err)
	}
	return nil
}

func exists(ctx context.Context, target *remote.Repository, d ocispec.Descriptor) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return target.Blobs().Exists(ctx, d)
}

// watched is the content of a push. It detects a stall and remembers the error that reading failed with.
type watched struct {
	io.Reader
	stallTimeout time.Duration
	timer        *time.Timer
	// waiting is set while the push waits for content, as opposed to the registry.
	waiting atomic.Bool
	err     atomic.Pointer[error]
}

// watch cancels the push when its content has not moved for stallTimeout. The cause is an *unreadableError if the content, not the
// registry, stalled.
func watch(content io.Reader, stallTimeout time.Duration, cancel context.CancelCauseFunc) *watched {
	w := &watched{Reader: content, stallTimeout: stallTimeout}
	w.timer = time.AfterFunc(stallTimeout, func() {
		err := fmt.Errorf("no progress for %s", stallTimeout)
		if w.waiting.Load() {
			err = &unreadableError{err}
		}
		cancel(err)
	})
	return w
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stallTimeout)
	w.waiting.Store(true)
	n, err := w.Reader.Read(p)
	w.waiting.Store(false)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err.Store(&err)
	}
	return n, err
}

// pack creates a manifest of version 1.1 with an empty config and pushes both.
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

// Push implements content.Pusher. It does not move a tag that names the manifest already, because some registries have immutable tags.
func (t tagged) Push(ctx context.Context, d ocispec.Descriptor, content io.Reader) error {
	if d.MediaType != ocispec.MediaTypeImageManifest {
		return t.Repository.Push(ctx, d, content)
	}
	if there, err := t.Resolve(ctx, t.tag); err == nil && there.Digest == d.Digest {
		return nil
	}
	return t.PushReference(ctx, d, content, t.tag)
}
