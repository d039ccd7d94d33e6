//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// keptSource is a source artifact on the shelf.
type keptSource struct {
	index  *source.Index
	layers [][]byte
}

func sourceOf(repo v1alpha1.Repository, run string) string {
	return "registry.example/sources/" + repo.FullName() + ":" + run
}

// layerBuffer is a layer that is written into memory.
type layerBuffer struct {
	bytes.Buffer
	done func([]byte)
}

// Close implements io.Closer.
func (b *layerBuffer) Close() error { b.done(b.Bytes()); return nil }

// PushSource implements run.Registry.
func (r registry) PushSource(_ context.Context, repo v1alpha1.Repository, run string, _ map[string]string,
	fill func(next func() (io.WriteCloser, error)) (*source.Index, error),
) (v1alpha1.SourceStatus, error) {
	var kept keptSource
	index, err := fill(func() (io.WriteCloser, error) {
		return &layerBuffer{done: func(data []byte) { kept.layers = append(kept.layers, data) }}, nil
	})
	if err != nil {
		return v1alpha1.SourceStatus{}, err
	}
	kept.index = index
	ref := sourceOf(repo, run)
	err = r.effect("PushSource", "push "+ref, func() { r.shelf.sources[ref] = kept })
	return v1alpha1.SourceStatus{Reference: ref, Digest: digest(ref), Size: 1}, err
}

// OpenSource implements run.Registry.
func (r registry) OpenSource(_ context.Context, reference string, keep func(source.File) bool) (a *source.Artifact, err error) {
	var missing error
	err = r.faults.call("OpenSource", func() {
		ref, _, _ := strings.Cut(reference, "@")
		r.shelf.mu.Lock()
		defer r.shelf.mu.Unlock()
		kept, ok := r.shelf.sources[ref]
		if !ok {
			missing = failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is no source artifact %s", ref)
			return
		}
		index := &source.Index{SHA: kept.index.SHA}
		for _, f := range kept.index.Files {
			if keep == nil || keep(f) {
				index.Files = append(index.Files, f)
			}
		}
		a = &source.Artifact{Index: index, Open: func(n int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept.layers[n])), nil }}
	})
	if err == nil {
		err = missing
	}
	return a, err
}

// DeleteSource implements run.Registry.
func (r registry) DeleteSource(_ context.Context, repo v1alpha1.Repository, run string) error {
	return r.effect("DeleteSource", "delete "+sourceOf(repo, run), func() { delete(r.shelf.sources, sourceOf(repo, run)) })
}

// source reports whether a Run's source artifact is on the shelf.
func (s *shelf) source(run *v1alpha1.Run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.sources[sourceOf(run.Spec.Repository, run.Name)]
	return ok
}
