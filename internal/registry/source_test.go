package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

const testSHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"

// fill packs files of these sizes, of random bytes that are the same each time.
func fill(sizes ...int64) func(next func() (io.WriteCloser, error)) (*source.Index, error) {
	return func(next func() (io.WriteCloser, error)) (*source.Index, error) {
		p := source.NewPacker(testSHA, next)
		for i, size := range sizes {
			f := source.File{Path: fmt.Sprintf("dir-%03d/file-%06d", i/1000, i), Mode: source.ModeFile, Size: size}
			if err := p.Add(f, contentOf(i, size)); err != nil {
				return nil, err
			}
		}
		return p.Close()
	}
}

func contentOf(i int, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}), size)
}

func sizes(n int, size int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = size
	}
	return all
}

// readBack reads a whole artifact and checks its content.
func readBack(t testing.TB, r *Registry, s v1alpha1.SourceStatus) (files int, size int64) {
	t.Helper()
	a, err := r.OpenSource(t.Context(), s.Pinned(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	err = a.Read(func(f source.File, content io.Reader) error {
		var dir, i int
		if _, err := fmt.Sscanf(f.Path, "dir-%03d/file-%06d", &dir, &i); err != nil {
			return err
		}
		files++
		for expected := contentOf(i, f.Size); ; {
			n, err := io.ReadFull(content, got)
			m, _ := io.ReadFull(expected, want)
			size += int64(n)
			if !bytes.Equal(got[:n], want[:m]) {
				return fmt.Errorf("%s differs after %d bytes", f.Path, size)
			}
			if err != nil {
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, size
}

func TestASourceArtifactOnARealRegistry(t *testing.T) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Prefix: "qa", Insecure: true})
	all := append(sizes(300, 2000), 40<<20, 0)
	first, err := r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(all...))
	if err != nil {
		t.Fatal(err)
	}
	if first.Reference != d.host+"/qa/sources/acme/shop:shop-1" || first.Size < 40<<20 {
		t.Errorf("status %+v", first)
	}
	if files, size := readBack(t, r, first); files != 302 || size != 300*2000+40<<20 {
		t.Errorf("read %d files with %d bytes", files, size)
	}
	// The same again is the same, so that an agent which was given the digest finds it.
	second, err := r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(all...))
	if diff := cmp.Diff(first, second); diff != "" || err != nil {
		t.Errorf("the second push, %v (-first +second):\n%s", err, diff)
	}
	one, err := r.OpenSource(t.Context(), first.Pinned(), func(f source.File) bool { return f.Path == "dir-000/file-000007" })
	if err != nil || len(one.Index.Files) != 1 || one.Index.SHA != testSHA {
		t.Fatalf("one file: %+v, %v", one, err)
	}
	// This registry lets nothing be deleted.
	checkFailure(t, r.DeleteSource(t.Context(), shop, "shop-1"), failure.Terminal, v1alpha1.ReasonRefused)
	if err := r.DeleteSource(t.Context(), shop, "shop-2"); err != nil {
		t.Errorf("delete what is not there: %v", err)
	}
	d.stop()
	_, err = r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(10))
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	_, err = r.OpenSource(t.Context(), first.Pinned(), nil)
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
}

// TestALargeSourceIsNotHeldInMemory pushes and reads 20,000 small files, and large ones.
func TestALargeSourceIsNotHeldInMemory(t *testing.T) {
	for name, all := range map[string][]int64{"small files": sizes(20_000, 1000), "large files": sizes(4, 10<<20)} {
		t.Run(name, func(t *testing.T) { pushAndRead(t, all, 20<<20) })
	}
}

// BenchmarkSource pushes and reads 200 MiB in large files.
func BenchmarkSource(b *testing.B) {
	for b.Loop() {
		pushAndRead(b, sizes(4, 50<<20), 20<<20)
	}
}

// BenchmarkSmallSource pushes a repository of the usual size, which is what a run waits for.
func BenchmarkSmallSource(b *testing.B) {
	d := startDaemon(b)
	r := open(b, Options{Host: d.host, Insecure: true})
	for i := 0; b.Loop(); i++ {
		if _, err := r.PushSource(b.Context(), shop, fmt.Sprintf("shop-%d", i), sampleAnnotations, fill(sizes(100, 4000)...)); err != nil {
			b.Fatal(err)
		}
	}
}

func pushAndRead(t testing.TB, all []int64, most uint64) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Insecure: true})
	var s v1alpha1.SourceStatus
	pushed := peak(func() {
		var err error
		if s, err = r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(all...)); err != nil {
			t.Fatal(err)
		}
	})
	read := peak(func() {
		if files, _ := readBack(t, r, s); files != len(all) {
			t.Errorf("read %d files of %d", files, len(all))
		}
	})
	t.Logf("the heap grew by %d KiB while it was pushed and by %d KiB while it was read", pushed>>10, read>>10)
	if max(pushed, read) > most {
		t.Errorf("the heap grew by %d and %d MiB", pushed>>20, read>>20)
	}
}

// A push that breaks off leaves no tag, and its error names who broke it off.
func TestAPushThatBreaksOff(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	broken := errors.New("GitHub hung up")
	_, err := r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, func(next func() (io.WriteCloser, error)) (*source.Index, error) {
		p := source.NewPacker(testSHA, next)
		return nil, p.Add(source.File{Path: "f", Mode: source.ModeFile, Size: 1 << 20}, io.MultiReader(contentOf(1, 1000), brokenReader{broken}))
	})
	if !errors.Is(err, broken) || failure.Of(err).Sentence == failure.Transientf("", nil, "The registry %s did not answer", s.host()).Sentence {
		t.Errorf("GitHub's fault: %v", err)
	}
	s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			http.Error(w, "no", http.StatusForbidden)
			return false
		}
		return true
	})
	_, err = r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(40<<20))
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	if !strings.Contains(failure.Of(err).Sentence, "cannot write the source artifact") {
		t.Errorf("sentence %q", failure.Of(err).Sentence)
	}
	s.guardWith(nil)
	for _, seen := range s.seen {
		if strings.HasPrefix(seen, "PUT") && strings.Contains(seen, "/manifests/") {
			t.Errorf("a manifest was pushed: %s", seen)
		}
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestASourceIsDeleted(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	status, err := r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(10, 20))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // It can be repeated.
		if err := r.DeleteSource(t.Context(), shop, "shop-1"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.OpenSource(t.Context(), status.Pinned(), nil)
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
}

// What a registry sends that is not what the digests name is not taken, be it the manifest, the index or a layer.
func TestADamagedSourceIsNotRead(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	status, err := r.PushSource(t.Context(), shop, "shop-1", sampleAnnotations, fill(sizes(10, 10_000)...))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"/manifests/", "/blobs/"} {
		gets := 0
		s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, part) {
				return true
			}
			if gets++; part == "/blobs/" && gets == 1 {
				return true // The index, so that a layer comes at all.
			}
			_, _ = w.Write([]byte("something else"))
			return false
		})
		a, err := r.OpenSource(t.Context(), status.Pinned(), nil)
		if err == nil {
			err = a.Read(func(_ source.File, in io.Reader) error { _, err := io.Copy(io.Discard, in); return err })
		}
		if err == nil {
			t.Errorf("%s: it was read", part)
		}
	}
}

func TestASourceIsReadByItsDigestOnly(t *testing.T) {
	s := newServer(t, registry.WithReferrersSupport(false))
	r := open(t, Options{Host: s.host(), Insecure: true})
	for _, reference := range []string{"", "x", s.host() + "/sources/acme/shop:shop-1", s.host() + "/sources/acme/shop"} {
		_, err := r.OpenSource(t.Context(), reference, nil)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
	}
	record := pushSample(t, r)
	_, err := r.OpenSource(t.Context(), record.Reference+"@"+record.Digest, nil)
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
}

func TestPlacesOfOurOwn(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Host: "r.example"}, "r.example/sources/acme/shop"},
		{Options{Host: "r.example", Prefix: "qa", Sources: "a/b"}, "r.example/qa/a/b/acme/shop"},
		{Options{Host: "r.example", Prefix: "qa", Sources: "/a"}, "r.example/a/acme/shop"},
	} {
		if got := open(t, c.o).SourceRepository(shop); got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
	}
	for _, o := range []Options{{Host: "r.example", Sources: "A"}, {Host: "r.example", Sources: "records"}, {Host: "r.example", Sources: "x", Records: "/x"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	owner := v1alpha1.Repository{Owner: "sources", Name: "shop"}
	if got := open(t, Options{Host: "r.example"}).Repository(owner, "web"); strings.HasPrefix(got, "r.example/sources/") {
		t.Errorf("the image %s is among the sources", got)
	}
}
