package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

var sampleAnnotations = map[string]string{
	"org.opencontainers.image.created": "2026-11-21T10:00:00Z", evidence.AnnotationRun: "shop-1", evidence.AnnotationOutcome: "failed",
}

func sampleLayers() []evidence.Layer {
	return []evidence.Layer{
		evidence.BytesLayer("result.json", evidence.ResultMediaType, []byte(`{"run":"shop-1"}`)),
		evidence.BytesLayer("junit/e2e-0-1.tar.gz", evidence.ArchiveMediaType, []byte("a tar")),
		evidence.BytesLayer("logs/test-e2e-0-1.log.gz", evidence.LogMediaType, []byte("a log")),
		evidence.BytesLayer("logs/test-e2e-0-2.log.gz", evidence.LogMediaType, []byte("a log")), // the same bytes
	}
}

func push(ctx context.Context, r *Registry) error {
	_, err := r.PushRecord(ctx, shop, "shop-1", sampleAnnotations, sampleLayers())
	return err
}

func pushSample(t *testing.T, r *Registry) v1alpha1.RecordStatus {
	t.Helper()
	rec, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, sampleLayers())
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestRecord(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Prefix: "qa", Insecure: true})
	_, err := r.PullRecord(t.Context(), shop, "shop-1")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
	status := pushSample(t, r)
	if status.Reference != s.host()+"/qa/records/acme/shop:shop-1" || status.Size != 16+5+5+5 {
		t.Errorf("status %+v", status)
	}
	rec, err := r.PullRecord(t.Context(), shop, "shop-1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleAnnotations, rec.Annotations); diff != "" || rec.Digest != status.Digest {
		t.Errorf("digest %s, annotations (-want +got):\n%s", rec.Digest, diff)
	}
	checkLayers(t, rec, sampleLayers())
	if _, err := rec.Layer("none"); err == nil {
		t.Error("a layer that is not there was found")
	}
	byDigest, err := r.Pull(t.Context(), status.Reference+"@"+status.Digest)
	if err != nil || byDigest.Digest != status.Digest {
		t.Errorf("by digest: %+v, %v", byDigest, err)
	}
	s.push(t, s.host()+"/a/b:1")
	for _, reference := range []string{s.host() + "/a/b:1", "shop-1", s.host() + "/a/b", s.host() + "/a/b:none"} {
		_, err = r.Pull(t.Context(), reference)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
	}
}

func checkLayers(t *testing.T, rec *Record, want []evidence.Layer) {
	t.Helper()
	if len(rec.Layers) != len(want) {
		t.Fatalf("%d layers, want %d", len(rec.Layers), len(want))
	}
	for i, l := range rec.Layers {
		if l.Name != want[i].Name || l.MediaType != want[i].MediaType || l.Size != want[i].Size || l.Digest != want[i].Digest {
			t.Errorf("layer %d: %+v", i, l)
		}
		if got, want := bytesOf(t, l), bytesOf(t, want[i]); !bytes.Equal(got, want) {
			t.Errorf("%s: %q", l.Name, got)
		}
	}
}

func bytesOf(t *testing.T, l evidence.Layer) []byte {
	t.Helper()
	body, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestASecondPushSendsNothingAnew(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	first := pushSample(t, r)
	before := len(s.seen)
	if second := pushSample(t, r); second != first {
		t.Errorf("%+v, then %+v", first, second)
	}
	for _, request := range s.seen[before:] {
		if !strings.HasPrefix(request, "HEAD ") {
			t.Errorf("%s", request)
		}
	}
}

// TestARecordIsPushedWhereverItBrokeOff lets the connection break at each request in turn, and pushes again.
func TestARecordIsPushedWhereverItBrokeOff(t *testing.T) {
	whole := newServer(t)
	want := pushSample(t, open(t, Options{Host: whole.host(), Insecure: true}))
	broken := 0
	for at := range whole.seen {
		s := newServer(t)
		r := open(t, Options{Host: s.host(), Insecure: true})
		count := 0
		var mu sync.Mutex
		s.guardWith(func(http.ResponseWriter, *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			count++
			if count > at {
				panic(http.ErrAbortHandler) // from here on every connection breaks
			}
			return true
		})
		if err := push(t.Context(), r); err != nil {
			broken++
			checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
			if _, err := openAt(t, s).PullRecord(t.Context(), shop, "shop-1"); err == nil {
				t.Errorf("after %d requests there is a record already", at)
			}
		}
		s.guardWith(nil)
		if got := pushSample(t, r); got.Digest != want.Digest {
			t.Errorf("broken off after %d requests: %s, want %s", at, got.Digest, want.Digest)
		}
	}
	if broken < 8 {
		t.Errorf("only %d pushes were broken off", broken)
	}
}

func openAt(t *testing.T, s *server) *Registry {
	t.Helper()
	s.guardWith(nil)
	return open(t, Options{Host: s.host(), Insecure: true})
}

func TestRecordsThatCannotBe(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	twice := evidence.BytesLayer("a", evidence.LogMediaType, []byte("x"))
	nameless := evidence.BytesLayer("", evidence.LogMediaType, []byte("x"))
	noDigest := twice
	noDigest.Digest = "sha256:12"
	for _, layers := range [][]evidence.Layer{{twice, twice}, {nameless}, {noDigest}} {
		_, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, layers)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	}
	_, err := r.PushRecord(t.Context(), shop, "not/a tag", sampleAnnotations, sampleLayers())
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	if len(s.seen) != 0 {
		t.Errorf("requests: %v", s.seen)
	}
	changed := evidence.BytesLayer("a", evidence.LogMediaType, []byte("what it was"))
	changed.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("what it is ")), nil }
	short := evidence.BytesLayer("a", evidence.LogMediaType, []byte("what it was"))
	short.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("what")), nil }
	fails := evidence.BytesLayer("a", evidence.LogMediaType, []byte("what it was"))
	fails.Open = func() (io.ReadCloser, error) { return nil, errors.New("the agent is gone") }
	breaks := evidence.BytesLayer("a", evidence.LogMediaType, []byte("what it was"))
	breaks.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("what"), failing{})), nil
	}
	for i, l := range []evidence.Layer{changed, short, fails, breaks} {
		_, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, []evidence.Layer{l})
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
		if blamed := strings.Contains(failure.Of(err).Sentence, "cannot be read"); blamed != (i >= 2) {
			t.Errorf("%d: %s", i, failure.Of(err).Sentence)
		}
	}
	if _, err := r.PullRecord(t.Context(), shop, "shop-1"); err == nil {
		t.Error("there is a record")
	}
}

// TestAPushThatStandsStillEnds has a registry that takes a connection and then nothing.
func TestAPushThatStandsStillEnds(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	r.patience = 100 * time.Millisecond
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			<-block
		}
		return true
	})
	err := push(t.Context(), r)
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	if !strings.Contains(err.Error(), "nothing has moved for 100ms") {
		t.Error(err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the agent is gone") }

func TestExtract(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	pushSample(t, r)
	rec, err := r.PullRecord(t.Context(), shop, "shop-1")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "dir")
	for range 2 {
		if err := rec.Extract(dir); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, l := range sampleLayers() {
		data, err := os.ReadFile(filepath.Join(dir, l.Name))
		if err != nil || !bytes.Equal(data, bytesOf(t, l)) {
			t.Errorf("%s: %q, %v", l.Name, data, err)
		}
		got[l.Name] = string(data)
	}
	if len(got) != 4 {
		t.Errorf("files %v", slicesOf(got))
	}
}

func slicesOf(m map[string]string) (all []string) {
	for k := range maps.Keys(m) {
		all = append(all, k)
	}
	return all
}

func TestExtractStaysInside(t *testing.T) {
	for _, name := range []string{"../out", "a/../../out", "/out", "..", ".", "", "a//b", "a/./b", "a/"} {
		outer := t.TempDir()
		dir := filepath.Join(outer, "dir")
		rec := &Record{Layers: []evidence.Layer{evidence.BytesLayer("good", "text/plain", []byte("x")), evidence.BytesLayer(name, "text/plain", []byte("x"))}}
		if err := rec.Extract(dir); err == nil {
			t.Errorf("%q was extracted", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: something was written", name)
		}
		if _, err := os.Stat(filepath.Join(outer, "out")); err == nil {
			t.Errorf("%q: a file was written outside", name)
		}
	}
	outer := t.TempDir()
	dir := filepath.Join(outer, "dir")
	for _, err := range []error{os.Mkdir(dir, 0o755), os.Symlink(outer, filepath.Join(dir, "logs")), os.Symlink(filepath.Join(outer, "out"), filepath.Join(dir, "file"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"logs/out", "file"} {
		rec := &Record{Layers: []evidence.Layer{evidence.BytesLayer(name, "text/plain", []byte("x"))}}
		if err := rec.Extract(dir); err == nil {
			t.Errorf("%s was written through a link", name)
		}
	}
	if _, err := os.Stat(filepath.Join(outer, "out")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestBytesThatAreNotThoseOfTheDigestDoNotStay(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	pushSample(t, r)
	for _, body := range []string{"a lie", "a", "a tar and more"} {
		s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, sampleLayers()[1].Digest) {
				w.(http.Flusher).Flush() // so that there is no Content-Length to look at
				_, _ = io.WriteString(w, body)
				return false
			}
			return true
		})
		rec, err := r.PullRecord(t.Context(), shop, "shop-1")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := rec.Extract(dir); !errors.Is(err, errContent) {
			t.Errorf("%q: %v", body, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "junit/e2e-0-1.tar.gz")); err == nil {
			t.Errorf("%q stayed", body)
		}
	}
}
