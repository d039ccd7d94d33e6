package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// archivist is an agent with blobs by their paths; those that are missing are absent.
type archivist struct {
	Agent
	blobs map[string]string
	// sizes are the false sizes of blobs.
	sizes map[string]int64
	fails map[string]error
}

func (a archivist) Blob(_ context.Context, path string) (io.ReadCloser, int64, string, error) {
	text, ok := a.blobs[path]
	size, lies := a.sizes[path]
	switch {
	case a.fails[path] != nil:
		return nil, 0, "", a.fails[path]
	case !ok:
		return nil, 0, "", fmt.Errorf("get %s: %w", path, evidence.ErrAbsent)
	case !lies:
		size = int64(len(text))
	}
	return io.NopCloser(strings.NewReader(text)), size, "sha256:" + strings.Repeat("0", 64), nil
}

// What cannot be read is noted in the result, but for what was never there; and the rest of the record is made.
func TestTheResultListsWhatIsMissing(t *testing.T) {
	key := evidence.AttemptKey{Suite: "e2e", Shard: 0, Number: 1}
	other := evidence.AttemptKey{Suite: "e2e", Shard: 0, Number: 2}
	run := runOf("1")
	run.Status.Suites = []v1alpha1.SuiteStatus{{Name: "e2e"}}
	run.Status.Images = []v1alpha1.ImageStatus{{Name: "web", Job: "build-web"}, {Name: "api", Job: "build-api"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "builds", Labels: map[string]string{v1alpha1.LabelRunUID: "1", v1alpha1.LabelImage: names.LabelValue("web")}}}
	r := opened(&Reconciler{Kube: fake.NewClientset(pod), Log: slog.New(slog.DiscardHandler), Dir: t.TempDir()})
	r.Settings.Builds.Namespace = "builds"
	c := newCollector(r, run, archivist{
		blobs: map[string]string{
			evidence.JUnitPath(key): "a tar", evidence.ArtifactsPath(key): "artifacts", evidence.LogPath("p1", "test"): "a log", evidence.LogPath("p1", "seed"): "filled", evidence.LogPath("p5", "test"): "again", evidence.LogPath("p2", "db"): "half",
			evidence.ArtifactsPath(other): "many",
		},
		sizes: map[string]int64{evidence.LogPath("p2", "db"): 8, evidence.LogPath("p3", "big"): maxLogs, evidence.ArtifactsPath(other): maxArtifacts},
		fails: map[string]error{evidence.LogPath("p4", "c"): errors.New("token ghp_" + strings.Repeat("a", 36) + " is bad")},
	})
	c.agent.(archivist).blobs[evidence.LogPath("p3", "big")] = ""
	files := c.files(t.Context(), evidence.AgentState{
		Attempts: []evidence.AttemptState{{Key: key, JUnitSize: 5, ArtifactsSize: 9}, {Key: other, JUnitSize: 5, ArtifactsSize: 9}},
		Logs: []evidence.LogFile{
			{Pod: "p1", Container: "test", Suite: "e2e", Number: 1}, {Pod: "p1", Container: "seed", Init: true, Suite: "e2e", Number: 1},
			{Pod: "p5", Container: "test", Suite: "e2e", Number: 1}, {Pod: "p2", Container: "db", Service: "db"},
			{Pod: "p3", Container: "big", Service: "big"}, {Pod: "p4", Container: "c", Service: "c"},
		},
	})
	got := map[string]string{}
	var missing []error
	for _, l := range files {
		if l.Write == nil {
			got[l.Name] = "by digest"
			continue
		}
		var text strings.Builder
		if err := l.Write(&text); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", l.Name, err))
			continue
		}
		got[l.Name] = fmt.Sprint(text.Len() > 0)
	}
	want := map[string]string{
		"junit/e2e-0-1.tar.gz": "true", "artifacts/e2e-0-1.tar.gz": "by digest", "logs/test-e2e-0-1.log.gz": "true", "logs/build-web.log.gz": "true",
		"logs/test-e2e-0-1-seed.log.gz": "true", "logs/test-e2e-0-1-p5.log.gz": "true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	layers, err := c.head(t.Context(), missing)
	if err != nil || len(layers) != 1 || layers[0].Name != evidence.ResultName {
		t.Fatalf("%+v, %v", layers, err)
	}
	var text strings.Builder
	if err := layers[0].Write(&text); err != nil {
		t.Fatal(err)
	}
	var out evidence.Result
	if err := json.Unmarshal([]byte(text.String()), &out); err != nil {
		t.Fatal(err)
	}
	notes := []string{
		"Not in this record: artifacts/e2e-0-2.tar.gz: 1.5GiB more do not fit: a record has at most 1.5GiB of artifacts and 512MiB of test reports and logs",
		"Not in this record: logs/service-db-p2-db.log.gz: 4 of 8 bytes came: unexpected EOF",
		"Not in this record: logs/service-big-p3-big.log.gz: 512MiB more do not fit: a record has at most 1.5GiB of artifacts and 512MiB of test reports and logs",
		"Not in this record: logs/service-c-p4-c.log.gz: token *** is bad",
		"Not in this record: logs/build-api.log.gz: the build's pod is gone",
	}
	if diff := cmp.Diff(notes, out.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if left := c.logs.left.Load(); left < maxLogs-1<<10 {
		t.Errorf("%d bytes are gone for what was never sent", maxLogs-left)
	}
}
