package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// daemon is Debian's docker-registry: it has no referrers API and lets nothing be deleted.
type daemon struct {
	host, dir string
	stop      func()
}

func (d *daemon) start(t testing.TB) {
	t.Helper()
	const binary = "/usr/bin/docker-registry"
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("Debian's package docker-registry is needed for this test; make deps and make cluster-up install what the tests need: %v", err)
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + d.dir + "}}\nhttp: {addr: " + d.host + "}\nlog: {level: error}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.stop = func() { cancel(); _ = cmd.Wait() }
	t.Cleanup(d.stop)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if response, err := http.Get("http://" + d.host + "/v2/"); err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			d.stop()
			t.Fatalf("the registry does not answer:\n%s", output.String())
		}
	}
}

func startDaemon(t testing.TB) *daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{host: l.Addr().String(), dir: t.TempDir()}
	l.Close()
	d.start(t)
	return d
}

// generated is a layer of random bytes, the same each time, that is nowhere held as a whole.
func generated(t *testing.T, name string, size int64) evidence.Layer {
	t.Helper()
	source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{7}), size) }
	sum := sha256.New()
	if _, err := io.Copy(sum, source()); err != nil {
		t.Fatal(err)
	}
	return evidence.Layer{
		Name: name, MediaType: evidence.ArchiveMediaType, Size: size, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(source()), nil },
	}
}

// peak calls f and returns how much the heap grew over what it was before, in bytes, at most.
func peak(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return most - before
}

// TestALargeLayerIsNotHeldInMemory pushes and extracts 200 MiB.
func TestALargeLayerIsNotHeldInMemory(t *testing.T) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Insecure: true})
	const size = 200 << 20
	layers := append(sampleLayers(), generated(t, "artifacts/e2e-0-1.tar.gz", size))
	dir := t.TempDir()
	grown := peak(func() {
		begin := time.Now()
		if _, err := pushAll(t.Context(), r, "shop-1", layers); err != nil {
			t.Fatal(err)
		}
		t.Logf("pushed in %s", time.Since(begin))
		rec, err := r.PullRecord(t.Context(), shop, "shop-1")
		if err == nil {
			err = rec.Extract(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("and extracted after %s", time.Since(begin))
	})
	t.Logf("the heap grew by %d KiB", grown>>10)
	if grown > 20<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	st, err := os.Stat(filepath.Join(dir, "artifacts/e2e-0-1.tar.gz"))
	if err != nil || st.Size() != size {
		t.Errorf("extracted: %v, %v", st, err)
	}
}

// TestARegistryThatDiesWhileALayerIsPushed comes back with what it had.
func TestARegistryThatDiesWhileALayerIsPushed(t *testing.T) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Insecure: true})
	large := generated(t, "artifacts/e2e-0-1.tar.gz", 32<<20)
	var opened atomic.Int32
	dying := large
	dying.Open = func() (io.ReadCloser, error) {
		opened.Add(1)
		body, err := large.Open()
		half := io.LimitReader(body, large.Size/2)
		return io.NopCloser(io.MultiReader(half, after(d.stop), body)), err
	}
	_, err := pushAll(t.Context(), r, "shop-1", append(sampleLayers(), dying))
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	if opened.Load() != 1 {
		t.Errorf("the layer was opened %d times", opened.Load())
	}
	d.start(t)
	want, err := pushAll(t.Context(), r, "shop-1", append(sampleLayers(), large))
	if err != nil {
		t.Fatal(err)
	}
	d.stop()
	d.start(t)
	rec, err := r.PullRecord(t.Context(), shop, "shop-1")
	if err != nil || rec.Digest != want.Digest {
		t.Fatalf("%+v, %v", rec, err)
	}
	checkLayers(t, rec, append(sampleLayers(), large))
}

// after is a reader of nothing that does something when it is read.
type after func()

func (f after) Read([]byte) (int, error) { f(); return 0, io.EOF }

// TestAStrangerPullsARecord copies it into a directory as the command oras pull does, knowing nothing of Conductor.
func TestAStrangerPullsARecord(t *testing.T) {
	d := startDaemon(t)
	status := pushSample(t, open(t, Options{Host: d.host, Insecure: true}))
	repo, err := remote.NewRepository(status.Reference)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	dir := t.TempDir()
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	got, err := oras.Copy(t.Context(), repo, "shop-1", store, "shop-1", oras.DefaultCopyOptions)
	if err != nil || got.Digest.String() != status.Digest {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, l := range sampleLayers() {
		data, err := os.ReadFile(filepath.Join(dir, l.Name))
		if err != nil || !bytes.Equal(data, bytesOf(t, l)) {
			t.Errorf("%s: %q, %v", l.Name, data, err)
		}
	}
}

// referrers are what refers to an image, as a stranger finds it.
func referrers(t *testing.T, image string) []ocispec.Descriptor {
	t.Helper()
	ref, err := orasregistry.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	repo := &remote.Repository{Reference: ref, PlainHTTP: true}
	subject, err := repo.Resolve(t.Context(), ref.Reference)
	if err != nil {
		t.Fatal(err)
	}
	var all []ocispec.Descriptor
	err = repo.Referrers(t.Context(), subject, "", func(page []ocispec.Descriptor) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImagesReferToTheirRecord(t *testing.T) {
	api := newServer(t, registry.WithReferrersSupport(true))
	api.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("OCI-Subject", "sha256:0") // what the specification wants, and this registry forgets
		}
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") {
			t.Errorf("a list of links was pushed to a registry that makes it itself: %s", r.URL.Path)
		}
		return true
	})
	real := startDaemon(t)
	for name, host := range map[string]string{"with the referrers API": api.host(), "without it": real.host} {
		t.Run(name, func(t *testing.T) {
			r := open(t, Options{Host: host, Insecure: true})
			status := pushSample(t, r)
			var images []string
			for _, image := range []string{"web", "worker"} {
				repository := r.Repository(shop, image)
				images = append(images, repository+"@"+(&server{}).push(t, repository+":1"))
			}
			for range 2 {
				if err := r.LinkImages(t.Context(), status, images); err != nil {
					t.Fatal(err)
				}
			}
			for _, image := range images {
				found := referrers(t, image)
				if len(found) != 1 {
					t.Fatalf("%s has %d links", image, len(found))
				}
				want := map[string]string{evidence.AnnotationRecord: status.Reference + "@" + status.Digest}
				for k, v := range sampleAnnotations {
					want[k] = v
				}
				if diff := cmp.Diff(want, found[0].Annotations); diff != "" {
					t.Errorf("%s (-want +got):\n%s", image, diff)
				}
				if _, err := r.Pull(t.Context(), found[0].Annotations[evidence.AnnotationRecord]); err != nil {
					t.Errorf("the link leads to nothing: %v", err)
				}
			}
			// A later run that reused an image adds the link to its own record.
			later, err := pushAll(t.Context(), r, "shop-2", sampleLayers()[:1])
			if err != nil {
				t.Fatal(err)
			}
			gone := r.Repository(shop, "gone") + "@" + status.Digest
			err = r.LinkImages(t.Context(), later, []string{gone, images[0], "r.example/a/b:1"})
			checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
			if n := len(referrers(t, images[0])); n != 2 {
				t.Errorf("%d links after the second run", n)
			}
		})
	}
}

func TestHistoryOnARealRegistry(t *testing.T) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Prefix: "qa", Insecure: true})
	if h, err := r.History(t.Context(), shop, "main", "e2e"); h != nil || err != nil {
		t.Errorf("before the first run: %+v, %v", h, err)
	}
	for _, want := range []evidence.History{history("one"), history("two", "one")} {
		if err := r.PutHistory(t.Context(), shop, want); err != nil {
			t.Fatal(err)
		}
		got, err := r.History(t.Context(), shop, "main", "e2e")
		if diff := cmp.Diff(&want, got); diff != "" || err != nil {
			t.Errorf("history, %v (-want +got):\n%s", err, diff)
		}
	}
	d.stop()
	if _, err := r.History(t.Context(), shop, "main", "e2e"); err == nil || failure.IsTerminal(err) || errors.Is(err, context.Canceled) {
		t.Errorf("while the registry is away: %v", err)
	}
}
