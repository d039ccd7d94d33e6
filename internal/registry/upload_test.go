package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const streamType = "application/vnd.conductor.test"

// uploadTo uploads what write writes to a repository of a registry, and explains the error as PushRecord does.
func uploadTo(t *testing.T, r *Registry, write func(io.Writer) error) (*remote.Repository, ocispec.Descriptor, error) {
	t.Helper()
	e := r.artifactWrite("blob")
	target := r.open(orasregistry.Reference{Registry: r.o.Host, Repository: "acme/shop"}, e)
	d, err := r.upload(t.Context(), target, streamType, write)
	return target, d, r.explain(err, e, r.o.Host)
}

// noise writes bytes that are the same each time, in pieces of an odd size.
func noise(size int64) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(rand.NewChaCha8([32]byte{3}), size), make([]byte, 7777))
		return err
	}
}

func sumOf(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	sum := sha256.New()
	if err := write(sum); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// checkBlob compares a blob in the registry with what was written.
func checkBlob(t *testing.T, target *remote.Repository, d ocispec.Descriptor, size int64, write func(io.Writer) error) {
	t.Helper()
	if d.MediaType != streamType || d.Size != size || d.Digest.String() != sumOf(t, write) {
		t.Errorf("descriptor %+v, want %d bytes", d, size)
	}
	body, err := openBlob(t.Context(), target, d)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); n != size || err != nil {
		t.Errorf("read %d of %d bytes: %v", n, size, err)
	}
}

func TestUploadToARealRegistry(t *testing.T) {
	d := startDaemon(t)
	r := open(t, Options{Host: d.host, Insecure: true})
	for _, size := range []int64{0, 1, uploadBuffer, 96 << 20} {
		var target *remote.Repository
		var got ocispec.Descriptor
		var err error
		grown := peak(func() { target, got, err = uploadTo(t, r, noise(size)) })
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		checkBlob(t, target, got, size, noise(size))
		if grown > 8<<20 {
			t.Errorf("%d bytes: the heap grew by %d KiB", size, grown>>10)
		}
	}
}

func TestUploadLogsIn(t *testing.T) {
	for _, kind := range []string{"basic", "token"} {
		t.Run(kind, func(t *testing.T) {
			s := newServer(t)
			if s.guardWith(basicAuth("robot:pass")); kind == "token" {
				s.guardWith(tokenAuth(s, "robot:pass"))
			}
			r := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: configFile(t, map[string]string{s.host(): "robot:pass"})})
			target, d, err := uploadTo(t, r, noise(1<<20))
			if err != nil {
				t.Fatal(err)
			}
			checkBlob(t, target, d, 1<<20, noise(1<<20))
			_, _, err = uploadTo(t, open(t, Options{Host: s.host(), Insecure: true}), noise(1))
			checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
		})
	}
}

// A token that is good for the first request only is asked for again by the PUT, while the content's request can only fail.
func TestUploadWhoseTokenEnds(t *testing.T) {
	s := newServer(t)
	guard, ends := tokenAuth(s, "robot:pass"), ""
	var once sync.Once
	s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == ends {
			once.Do(func() { r.Header.Del("Authorization") })
		}
		return guard(w, r)
	})
	r := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: configFile(t, map[string]string{s.host(): "robot:pass"})})
	ends = http.MethodPut
	target, d, err := uploadTo(t, r, noise(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	checkBlob(t, target, d, 1<<20, noise(1<<20))
	ends, once = http.MethodPatch, sync.Once{}
	_, _, err = uploadTo(t, r, noise(1<<20))
	checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	if !strings.Contains(failure.Of(err).Sentence, "another login") {
		t.Error(err)
	}
}

func TestUploadThatBreaks(t *testing.T) {
	gone := errors.New("the agent is gone")
	full := failure.Terminalf(v1alpha1.ReasonRefused, nil, "It is too much")
	for name, c := range map[string]struct {
		guard  func(w http.ResponseWriter, r *http.Request) bool
		write  func(io.Writer) error
		kind   failure.Kind
		reason string
		want   error
	}{
		"the connection drops": {
			guard: func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
					panic(http.ErrAbortHandler)
				}
				return true
			},
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable,
		},
		"the registry refuses in the middle": {
			guard: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}
				return r.Method != http.MethodPatch
			},
			kind: failure.Terminal, reason: v1alpha1.ReasonRefused,
		},
		"the registry takes what is not all there": {
			guard: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					w.WriteHeader(http.StatusAccepted)
				}
				return r.Method != http.MethodPatch
			},
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable,
		},
		"the upload is forgotten": {
			guard: func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					w.WriteHeader(http.StatusNotFound)
				}
				return r.Method != http.MethodPut
			},
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable,
		},
		"the upload goes on at another host": {
			guard: func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Location", strings.Replace("http://"+r.Host+"/v2/x", "127.0.0.1", "localhost", 1))
				w.WriteHeader(http.StatusAccepted)
				return false
			},
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable,
		},
		"what is sent cannot be read": {
			write: func(w io.Writer) error {
				if err := noise(1 << 20)(w); err != nil {
					return err
				}
				return gone
			},
			kind: failure.Transient, reason: v1alpha1.ReasonUnavailable, want: gone,
		},
		"what is sent is refused": {
			write: func(w io.Writer) error { return full },
			kind:  failure.Terminal, reason: v1alpha1.ReasonRefused, want: full,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.guardWith(c.guard)
			if c.write == nil {
				c.write = noise(64 << 20)
			}
			_, _, err := uploadTo(t, open(t, Options{Host: s.host(), Insecure: true}), c.write)
			t.Log(err)
			checkFailure(t, err, c.kind, c.reason)
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v does not hold %v", err, c.want)
			}
			s.guardWith(nil)
			target, d, err := uploadTo(t, open(t, Options{Host: s.host(), Insecure: true}), noise(1<<20))
			if err != nil {
				t.Fatal("a second try:", err)
			}
			checkBlob(t, target, d, 1<<20, noise(1<<20))
		})
	}
}

// The registry's answers name the place to go on by a path or by an address, with a query of its own that has to come back.
func TestUploadGoesToTheRegistrysLocation(t *testing.T) {
	for _, prefix := range []string{"", "http://HOST"} {
		s := newServer(t)
		var states atomic.Int32
		s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
			step := map[string]string{http.MethodPatch: "1", http.MethodPut: "2"}[r.Method]
			if step == "" || r.URL.Query().Get("_state") == step && strings.HasPrefix(r.URL.Path, "/there/") {
				r.URL.Path = strings.Replace(r.URL.Path, "/there/", "/v2/acme/shop/blobs/uploads/", 1)
				states.Add(1)
			}
			rewritten := &locations{ResponseWriter: w, prefix: strings.Replace(prefix, "HOST", r.Host, 1), next: map[string]string{http.MethodPost: "1", http.MethodPatch: "2"}[r.Method]}
			s.images.ServeHTTP(rewritten, r)
			return false
		})
		target, d, err := uploadTo(t, open(t, Options{Host: s.host(), Insecure: true}), noise(1<<20))
		if err != nil || states.Load() != 3 {
			t.Fatalf("%q: %d requests came where they should: %v", prefix, states.Load(), err)
		}
		s.guardWith(nil)
		checkBlob(t, target, d, 1<<20, noise(1<<20))
	}
}

// locations writes other places into a registry's answers.
type locations struct {
	http.ResponseWriter
	prefix, next string
}

// WriteHeader implements http.ResponseWriter.
func (l *locations) WriteHeader(code int) {
	if at := l.Header().Get("Location"); at != "" && l.next != "" {
		id := at[strings.LastIndex(at, "/")+1:]
		l.Header().Set("Location", l.prefix+"/there/"+id+"?_state="+l.next)
	}
	l.ResponseWriter.WriteHeader(code)
}

func TestUploadThatDoesNotMoveEnds(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	r.stallTimeout = 200 * time.Millisecond
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	for name, c := range map[string]struct {
		method string
		write  func(io.Writer) error
	}{
		"what is sent":         {write: func(io.Writer) error { <-block; return nil }},
		"the content's answer": {http.MethodPatch, noise(64 << 20)},
		"the last answer":      {http.MethodPut, noise(1 << 20)},
	} {
		s.guardWith(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == c.method {
				<-block
			}
			return true
		})
		_, _, err := uploadTo(t, r, c.write)
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
		if !strings.Contains(err.Error(), "no progress for 200ms") {
			t.Errorf("%s: %v", name, err)
		}
		if unread := new(unreadableError); errors.As(err, &unread) != (c.method == "") {
			t.Errorf("%s: the wrong side is blamed: %v", name, failure.Of(err).Sentence)
		}
	}
}

// A writer that is slow, but moves, is waited for.
func TestASlowUploadIsNoHungOne(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	r.stallTimeout = 500 * time.Millisecond
	slow := func(w io.Writer) error {
		for range 10 {
			if _, err := w.Write([]byte("one line\n")); err != nil {
				return err
			}
			time.Sleep(r.stallTimeout / 5)
		}
		return nil
	}
	target, d, err := uploadTo(t, r, slow)
	if err != nil {
		t.Fatal(err)
	}
	r.stallTimeout = time.Minute
	checkBlob(t, target, d, 90, func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("one line\n", 10)); return err })
}
