package registry

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

func history(runs ...string) evidence.History {
	h := evidence.History{SchemaVersion: evidence.SchemaVersion, Repository: "Acme/shop", Branch: "main", Suite: "e2e"}
	for i, run := range runs {
		h.Runs = append(h.Runs, evidence.Entry{Run: run, FinishedAt: time.Date(2026, 11, 21, 10, i, 0, 0, time.UTC), Cases: map[string]string{"a › b": "failed"}})
	}
	return h
}

func TestHistory(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	if h, err := r.History(t.Context(), shop, "main", "e2e"); h != nil || err != nil {
		t.Errorf("before the first run: %+v, %v", h, err)
	}
	for _, want := range []evidence.History{history("one"), history("two", "one")} {
		if err := r.PutHistory(t.Context(), shop, want); err != nil {
			t.Fatal(err)
		}
		got, err := r.History(t.Context(), shop, "main", "e2e")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	}
	if h, err := r.History(t.Context(), shop, "main", "unit"); h != nil || err != nil {
		t.Errorf("another suite: %+v, %v", h, err)
	}
	if h, err := r.History(t.Context(), shop, "next", "e2e"); h != nil || err != nil {
		t.Errorf("another branch: %+v, %v", h, err)
	}
}

func TestUpdatesOfAHistoryDoNotGetLost(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	var wait sync.WaitGroup
	for i := range 10 {
		wait.Go(func() {
			err := r.UpdateHistory(t.Context(), shop, "main", "e2e", func(h *evidence.History) evidence.History {
				next := history(fmt.Sprint(i))
				if h != nil {
					next.Runs = append(next.Runs, h.Runs...)
				}
				return next
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if h, err := r.History(t.Context(), shop, "main", "e2e"); err != nil || len(h.Runs) != 10 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestAHistoryThatCannotBeRead(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	ref, err := r.historyReference(shop, "main", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	newer := history("one")
	newer.SchemaVersion++
	future, err := packHistory(newer)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"no gzip": []byte("{}"), "of a later Conductor": future} {
		target := r.open(ref, r.artifactWrite("x"))
		layer := evidence.BytesLayer("history.json.gz", evidence.HistoryMediaType, data)
		if err := r.pushLayer(t.Context(), target, layer, describe(layer)); err != nil {
			t.Fatal(err)
		}
		o := oras.PackManifestOptions{Layers: []ocispec.Descriptor{describe(layer)}, ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-11-21T10:00:00Z"}}
		if _, err := pack(t.Context(), tagged{target, ref.Reference}, evidence.HistoryArtifact, o); err != nil {
			t.Fatal(err)
		}
		_, err = r.History(t.Context(), shop, "main", "e2e")
		t.Logf("%s: %v", name, err)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonInvalidConfig)
	}
	// An error of the registry must not be taken for an empty history.
	s.Close()
	err = r.UpdateHistory(t.Context(), shop, "main", "e2e", func(*evidence.History) evidence.History { t.Error("asked"); return history() })
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
}
