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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// pushAll pushes layers of which the first is the head.
func pushAll(ctx context.Context, r *Registry, run string, layers []evidence.Layer) (v1alpha1.RecordStatus, error) {
	return r.PushRecord(ctx, shop, run, sampleAnnotations, layers[1:], func(missing []error) ([]evidence.Layer, error) {
		return layers[:1], errors.Join(missing...)
	})
}

func push(ctx context.Context, r *Registry) error {
	_, err := pushAll(ctx, r, "shop-1", sampleLayers())
	return err
}

func pushSample(t *testing.T, r *Registry) v1alpha1.RecordStatus {
	t.Helper()
	rec, err := pushAll(t.Context(), r, "shop-1", sampleLayers())
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
		_, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, layers, nil)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	}
	_, err := pushAll(t.Context(), r, "not/a tag", sampleLayers())
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
		_, err := pushAll(t.Context(), r, "shop-1", []evidence.Layer{l})
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
		if blamed := strings.Contains(failure.Of(err).Sentence, "Conductor cannot read"); blamed != (i >= 2) {
			t.Errorf("%d: %s", i, failure.Of(err).Sentence)
		}
	}
	if _, err := r.PullRecord(t.Context(), shop, "shop-1"); err == nil {
		t.Error("there is a record")
	}
}

// written is a layer whose size and digest are not known before.
func written(name string, write func(io.Writer) error) evidence.Layer {
	return evidence.Layer{Name: name, MediaType: evidence.LogMediaType, Write: write}
}

// Files that cannot be read are left out. The head, which is made last and comes first, reports them.
func TestARecordWithoutWhatCannotBeRead(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	gone := errors.New("the agent is gone")
	files := []evidence.Layer{
		written("logs/one", noise(100)),
		written("logs/none", func(io.Writer) error { return gone }),
		evidence.BytesLayer("junit", evidence.ArchiveMediaType, []byte("a tar")),
		written("logs/half", func(w io.Writer) error { return errors.Join(noise(1<<20)(w), gone) }),
		written("logs/two", noise(2<<20)),
	}
	status, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, files, func(missing []error) ([]evidence.Layer, error) {
		if len(missing) != 2 || !errors.Is(missing[0], gone) || !strings.HasPrefix(missing[1].Error(), "logs/half: ") {
			t.Errorf("missing %v", missing)
		}
		return []evidence.Layer{
			written(evidence.ResultName, func(w io.Writer) error { _, err := io.WriteString(w, `{"run":"shop-1"}`); return err }),
			evidence.BytesLayer("plan.yaml", evidence.PlanMediaType, []byte("a plan")),
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := r.PullRecord(t.Context(), shop, "shop-1")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var size int64
	for _, l := range rec.Layers {
		names, size = append(names, l.Name), size+l.Size
		if data := bytesOf(t, l); int64(len(data)) != l.Size {
			t.Errorf("%s: %d of %d bytes", l.Name, len(data), l.Size)
		}
	}
	if diff := cmp.Diff([]string{evidence.ResultName, "plan.yaml", "logs/one", "junit", "logs/two"}, names); diff != "" || size != status.Size || size != 16+6+100+5+2<<20 {
		t.Errorf("%d bytes of %d, layers (-want +got):\n%s", size, status.Size, diff)
	}
	body, err := r.OpenResult(t.Context(), status)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); string(data) != `{"run":"shop-1"}` || err != nil {
		t.Errorf("result %q, %v", data, err)
	}
	// The tag may be someone else's by now; the digest is not.
	if _, err := pushAll(t.Context(), r, "shop-1", []evidence.Layer{evidence.BytesLayer(evidence.ResultName, evidence.ResultMediaType, []byte("a lie"))}); err != nil {
		t.Fatal(err)
	}
	again, err := r.OpenResult(t.Context(), status)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if data, _ := io.ReadAll(again); string(data) != `{"run":"shop-1"}` {
		t.Errorf("result %q after the tag has moved", data)
	}
}

// No record is written if its head cannot be read or the registry becomes unavailable.
func TestARecordThatIsNotWritten(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	none := written("logs/none", func(io.Writer) error { return errors.New("the agent is gone") })
	_, err := pushAll(t.Context(), r, "shop-1", []evidence.Layer{none})
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	s.guardWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			panic(http.ErrAbortHandler)
		}
		return true
	})
	head := false
	_, err = r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, []evidence.Layer{written("logs/one", noise(8<<20))}, func([]error) ([]evidence.Layer, error) {
		head = true
		return nil, nil
	})
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	if head {
		t.Error("what the registry did not take was left out")
	}
	s.guardWith(nil)
	if _, err := r.PullRecord(t.Context(), shop, "shop-1"); err == nil {
		t.Error("there is a record")
	}
}

// No more than four layers are on their way at a time.
func TestFewLayersAreOnTheirWay(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	var now, most atomic.Int32
	var files []evidence.Layer
	for i := range 20 {
		files = append(files, written(strconv.Itoa(i), func(w io.Writer) error {
			defer now.Add(-1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			return noise(1 << 20)(w)
		}))
	}
	_, err := r.PushRecord(t.Context(), shop, "shop-1", sampleAnnotations, files, func([]error) ([]evidence.Layer, error) { return nil, nil })
	if err != nil || most.Load() > pushes {
		t.Errorf("%d layers at a time: %v", most.Load(), err)
	}
}

// TestAStalledPushEnds has a registry that takes a connection and then nothing.
func TestAStalledPushEnds(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	r.stallTimeout = 100 * time.Millisecond
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
	if !strings.Contains(err.Error(), "no progress for 100ms") {
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
				w.(http.Flusher).Flush() // so that the response has no Content-Length
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
