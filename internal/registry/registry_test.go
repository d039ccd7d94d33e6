package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

var shop = v1alpha1.Repository{ID: 7, Owner: "Acme", Name: "shop"}

// server is a registry in this process, with a guard before it.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	guard func(w http.ResponseWriter, r *http.Request) (pass bool)
	seen  []string
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) guardWith(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard = f
}

func newServer(t *testing.T) *server {
	t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		guard := s.guard
		s.mu.Unlock()
		if guard == nil || guard(w, r) {
			images.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// push puts a random image at a reference and returns its digest.
func (s *server) push(t *testing.T, reference string) string {
	t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func configFile(t *testing.T, auths map[string]string) string {
	t.Helper()
	entries := map[string]any{}
	for host, userAndPassword := range auths {
		entries[host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(userAndPassword))}
	}
	data, err := json.Marshal(map[string]any{"auths": entries, "credsStore": "desktop"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func open(t *testing.T, o Options) *Registry {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDigest(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Prefix: "qa", Insecure: true})
	repository := r.Repository(shop, "web")
	want := s.push(t, repository+":1")
	got, err := r.Digest(t.Context(), repository+":1")
	if err != nil || got != want {
		t.Errorf("Digest = %s, %v, want %s", got, err, want)
	}
	if got, err := r.Digest(t.Context(), repository+"@"+want); err != nil || got != want {
		t.Errorf("by digest: %s, %v", got, err)
	}
	_, err = r.Digest(t.Context(), repository+":2")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
	_, err = r.Digest(t.Context(), "not a reference")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
}

func checkFailure(t *testing.T, err error, kind failure.Kind, reason string) {
	t.Helper()
	var f *failure.Error
	if !errors.As(err, &f) {
		t.Fatalf("%v is no failure", err)
	}
	if f.Kind != kind || f.Reason != reason || f.Sentence == "" {
		t.Errorf("failure %d %s %q, want %d %s", f.Kind, f.Reason, f.Sentence, kind, reason)
	}
}

func TestDigestWhereHeadIsNotAnswered(t *testing.T) {
	s := newServer(t)
	want := s.push(t, s.host()+"/a/b:1")
	r := open(t, Options{Host: s.host(), Insecure: true})
	spoil := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"405": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method != http.MethodHead
		},
		"no digest": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "2")
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				w.WriteHeader(http.StatusOK)
			}
			return r.Method != http.MethodHead
		},
	}
	for name, f := range spoil {
		t.Run(name, func(t *testing.T) {
			s.guardWith(f)
			if got, err := r.Digest(t.Context(), s.host()+"/a/b:1"); err != nil || got != want {
				t.Errorf("Digest = %s, %v, want %s", got, err, want)
			}
		})
	}
}

func TestDigestFailures(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	reply := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return true
			}
			w.WriteHeader(code)
			return false
		}
	}
	for code, want := range map[int]struct {
		kind   failure.Kind
		reason string
	}{
		401: {failure.Terminal, v1alpha1.ReasonImageUnavailable},
		403: {failure.Terminal, v1alpha1.ReasonImageUnavailable},
		404: {failure.Terminal, v1alpha1.ReasonImageUnavailable},
		429: {failure.Waiting, v1alpha1.ReasonUnavailable},
		500: {failure.Transient, v1alpha1.ReasonUnavailable},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s.guardWith(reply(code))
			_, err := r.Digest(t.Context(), s.host()+"/a/b:1")
			checkFailure(t, err, want.kind, want.reason)
		})
	}
	t.Run("a passing 502", func(t *testing.T) {
		s.guardWith(nil)
		want := s.push(t, s.host()+"/a/b:1")
		first := true
		s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v2/" && first {
				first = false
				w.WriteHeader(http.StatusBadGateway)
				return false
			}
			return true
		})
		if got, err := r.Digest(t.Context(), s.host()+"/a/b:1"); err != nil || got != want || first {
			t.Errorf("Digest = %s, %v", got, err)
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		s.Close()
		_, err := r.Digest(t.Context(), s.host()+"/a/b:1")
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
		checkFailure(t, r.Ping(t.Context()), failure.Transient, v1alpha1.ReasonUnavailable)
	})
}

// tokenAuth guards a registry as the distribution's token specification says.
func tokenAuth(s *server, user string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if u, p, _ := r.BasicAuth(); u+":"+p != user {
				w.WriteHeader(http.StatusUnauthorized)
				return false
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"token": "t:" + r.FormValue("scope")})
			return false
		}
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer t:") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		return true
	}
}

func basicAuth(user string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, _ := r.BasicAuth(); u+":"+p != user {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
		return true
	}
}

func TestLogin(t *testing.T) {
	for _, kind := range []string{"basic", "token"} {
		t.Run(kind, func(t *testing.T) {
			s := newServer(t)
			want := s.push(t, s.host()+"/acme/shop/web:1")
			guard := basicAuth("robot:pass")
			if kind == "token" {
				guard = tokenAuth(s, "robot:pass")
			}
			s.guardWith(guard)
			file := configFile(t, map[string]string{s.host(): "robot:pass", "other.example": "x:y"})
			good := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: file})
			if got, err := good.Digest(t.Context(), s.host()+"/acme/shop/web:1"); err != nil || got != want {
				t.Errorf("Digest = %s, %v", got, err)
			}
			if err := good.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			anonymous := open(t, Options{Host: s.host(), Insecure: true})
			_, err := anonymous.Digest(t.Context(), s.host()+"/acme/shop/web:1")
			checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
			wrong := configFile(t, map[string]string{s.host(): "robot:wrong"})
			bad := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: wrong})
			err = bad.Ping(t.Context())
			checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
			if strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error holds the credential: %v", err)
			}
			// A replaced file is used without a restart.
			data, _ := os.ReadFile(file)
			if err := os.WriteFile(wrong, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := bad.Ping(t.Context()); err != nil {
				t.Errorf("after the file was replaced: %v", err)
			}
		})
	}
}

func TestPlainHTTPIsAskedForNowhereElse(t *testing.T) {
	s := newServer(t)
	file := configFile(t, map[string]string{s.host(): "robot:pass"})
	r := open(t, Options{Host: s.host(), PushConfigFile: file})
	_, err := r.Digest(t.Context(), s.host()+"/a/b:1")
	if err == nil {
		t.Error("an image was looked up over plain HTTP")
	}
	if err := r.Ping(t.Context()); err == nil {
		t.Error("the registry was asked over plain HTTP")
	}
	if len(s.seen) != 0 {
		t.Errorf("requests arrived: %v", s.seen)
	}
}

func TestConfigsHoldOneHost(t *testing.T) {
	file := configFile(t, map[string]string{"r.example:5000": "a:b", "https://r.example:5000/v2/": "c:d", "other.example": "x:y", "r.example": "x:z"})
	r := open(t, Options{Host: "r.example:5000", PushConfigFile: file, PullConfigFile: file})
	want := map[string]any{"auths": map[string]any{
		"r.example:5000":             map[string]any{"auth": "YTpi"},
		"https://r.example:5000/v2/": map[string]any{"auth": "Yzpk"},
	}}
	push, err := r.PushConfig(t.Context(), r.Repository(shop, ""))
	checkConfig(t, push, err, want)
	pull, err := r.PullConfig(t.Context(), shop)
	checkConfig(t, pull, err, want)

	none := open(t, Options{Host: "r.example:5000"})
	push, err = none.PushConfig(t.Context(), "")
	checkConfig(t, push, err, map[string]any{"auths": map[string]any{}})
	if pull, err := none.PullConfig(t.Context(), shop); pull != nil || err != nil {
		t.Errorf("PullConfig = %s, %v", pull, err)
	}
	other := open(t, Options{Host: "third.example", PushConfigFile: file, PullConfigFile: file})
	_, err = other.PushConfig(t.Context(), "")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	_, err = other.PullConfig(t.Context(), shop)
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
	hub := open(t, Options{Host: "index.docker.io", PushConfigFile: configFile(t, map[string]string{"https://index.docker.io/v1/": "a:b"})})
	push, err = hub.PushConfig(t.Context(), "")
	checkConfig(t, push, err, map[string]any{"auths": map[string]any{"https://index.docker.io/v1/": map[string]any{"auth": "YTpi"}}})
}

func checkConfig(t *testing.T, data []byte, err error, want map[string]any) {
	t.Helper()
	var got map[string]any
	if err != nil || json.Unmarshal(data, &got) != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestUnreadableConfigs(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(broken, []byte(`{"auths":{"r.example":{"auth":"aHVudGVyMg==`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{broken, filepath.Join(t.TempDir(), "none")} {
		r := open(t, Options{Host: "r.example", PushConfigFile: file})
		_, err := r.PushConfig(t.Context(), "")
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
		if strings.Contains(err.Error(), "aHVudGVy") {
			t.Errorf("the error quotes the credential: %v", err)
		}
		checkFailure(t, r.Ping(t.Context()), failure.Transient, v1alpha1.ReasonUnavailable)
	}
}

func TestCanceled(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Digest(ctx, s.host()+"/a/b:1"); err == nil || failure.IsTerminal(err) {
		t.Errorf("Digest: %v", err)
	}
}
