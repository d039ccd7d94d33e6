package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// maxHistory limits a history, compressed or not, in bytes.
const maxHistory = 16 << 20

// History reads the results of a suite's last runs on a branch; nil if there are none. A history that cannot be decoded is a terminal
// failure.
func (r *Registry) History(ctx context.Context, repo v1alpha1.Repository, branch, suite string) (*evidence.History, error) {
	ref, err := r.historyReference(repo, branch, suite)
	if err != nil {
		return nil, err
	}
	e := r.artifactRead("history " + ref.String())
	source := r.open(ref, e)
	manifest, _, err := manifestOf(ctx, source, ref.Reference)
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	if manifest.ArtifactType != evidence.HistoryArtifact || len(manifest.Layers) != 1 {
		return nil, broken(ref, errors.New("its manifest is not the manifest of a history"))
	}
	data, err := readBlob(ctx, source, manifest.Layers[0], maxHistory)
	if err != nil {
		return nil, r.explain(err, e, ref.Registry)
	}
	h, err := unpackHistory(data)
	if err != nil {
		return nil, broken(ref, err)
	}
	return h, nil
}

// PutHistory replaces the history of a repository, branch and suite. The old manifest stays untagged until the registry's garbage
// collection.
func (r *Registry) PutHistory(ctx context.Context, repo v1alpha1.Repository, h evidence.History) error {
	ref, err := r.historyReference(repo, h.Branch, h.Suite)
	if err != nil {
		return err
	}
	data, err := packHistory(h)
	if err != nil {
		return fmt.Errorf("encode a history: %w", err)
	}
	e := r.artifactWrite("history " + ref.String())
	target := r.open(ref, e)
	layer := evidence.BytesLayer("history.json.gz", evidence.HistoryMediaType, data)
	if err = r.pushLayer(ctx, target, layer, describe(layer)); err == nil {
		_, err = pack(ctx, tagged{target, ref.Reference}, evidence.HistoryArtifact, oras.PackManifestOptions{
			Layers: []ocispec.Descriptor{describe(layer)}, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: newest(h).UTC().Format(time.RFC3339)},
		})
	}
	return r.explain(err, e, ref.Registry)
}

// UpdateHistory replaces a history with the result of change, which receives nil if there is none. Updates of one process are
// serialized; the caller must ensure that no other process updates the same history.
func (r *Registry) UpdateHistory(ctx context.Context, repo v1alpha1.Repository, branch, suite string, change func(*evidence.History) evidence.History) error {
	done, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer done()
	old, err := r.History(ctx, repo, branch, suite)
	if err != nil {
		return err
	}
	return r.PutHistory(ctx, repo, change(old))
}

func (r *Registry) historyReference(repo v1alpha1.Repository, branch, suite string) (orasregistry.Reference, error) {
	ref, err := orasregistry.ParseReference(r.RecordRepository(repo) + ":" + historyTag(branch, suite))
	if err != nil {
		return ref, fmt.Errorf("invalid reference of a history: %w", err)
	}
	return ref, nil
}

func broken(ref orasregistry.Reference, cause error) error {
	return failure.Terminalf(v1alpha1.ReasonInvalidConfig, cause, "The history %s cannot be read", ref)
}

// newest returns when the newest run ended. It becomes the creation time of the manifest, so that equal histories have equal digests.
func newest(h evidence.History) time.Time {
	if len(h.Runs) == 0 {
		return time.Unix(0, 0)
	}
	return h.Runs[0].FinishedAt
}

func packHistory(h evidence.History) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(h); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpackHistory(data []byte) (*evidence.History, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxHistory+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxHistory {
		return nil, fmt.Errorf("it is larger than %d bytes", maxHistory)
	}
	var h evidence.History
	if err := json.Unmarshal(plain, &h); err != nil {
		return nil, err
	}
	if h.SchemaVersion > evidence.SchemaVersion {
		return nil, fmt.Errorf("its version %d is not supported by this version of Conductor", h.SchemaVersion)
	}
	return &h, nil
}
