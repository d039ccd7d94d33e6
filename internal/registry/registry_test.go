package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	// images is the registry behind the guard.
	images http.Handler
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) guardWith(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard = f
}

func newServer(t *testing.T, o ...registry.Option) *server {
	t.Helper()
	images := registry.New(append(o, registry.Logger(log.New(io.Discard, "", 0)))...)
	s := &server{images: images}
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

func open(t testing.TB, o Options) *Registry {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
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

// tokenAuth protects a registry according to the distribution's token specification.
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
			s.push(t, s.host()+"/acme/shop/web:1")
			guard := basicAuth("robot:pass")
			if kind == "token" {
				guard = tokenAuth(s, "robot:pass")
			}
			s.guardWith(guard)
			file := configFile(t, map[string]string{s.host(): "robot:pass", "other.example": "x:y"})
			good := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: file})
			if _, _, err := good.ImageConfig(t.Context(), s.host()+"/acme/shop/web:1"); err != nil {
				t.Errorf("ImageConfig: %v", err)
			}
			if err := good.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			pushSample(t, good)
			anonymous := open(t, Options{Host: s.host(), Insecure: true})
			_, _, err := anonymous.ImageConfig(t.Context(), s.host()+"/acme/shop/web:1")
			checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
			if got := failure.Of(err).Sentence; !strings.Contains(got, "without a credential") {
				t.Errorf("sentence %q", got)
			}
			wrong := configFile(t, map[string]string{s.host(): "robot:hunter2"})
			bad := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: wrong})
			for _, err := range []error{bad.Ping(t.Context()), push(t.Context(), bad)} {
				checkFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
				if strings.Contains(err.Error(), "hunter2") || !strings.Contains(failure.Of(err).Sentence, wrong) {
					t.Errorf("the error holds the credential, or does not name its file: %v", err)
				}
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
	if _, _, err := r.ImageConfig(t.Context(), s.host()+"/a/b:1"); err == nil {
		t.Error("an image was looked up over plain HTTP")
	}
	if err := r.Ping(t.Context()); err == nil {
		t.Error("the registry was asked over plain HTTP")
	}
	if err := push(t.Context(), r); err == nil {
		t.Error("a record was pushed over plain HTTP")
	}
	if len(s.seen) != 0 {
		t.Errorf("requests arrived: %v", s.seen)
	}
}

func TestARedirectToPlainHTTPElsewhereIsRefused(t *testing.T) {
	elsewhere := newServer(t)
	s := newServer(t)
	s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)+r.URL.Path, http.StatusTemporaryRedirect)
		return false
	})
	r := open(t, Options{Host: s.host(), Insecure: true})
	_, _, err := r.ImageConfig(t.Context(), s.host()+"/a/b:1")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
	if len(elsewhere.seen) != 0 {
		t.Errorf("requests arrived: %v", elsewhere.seen)
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
	s := newServer(t)
	s.guardWith(basicAuth("robot:pass"))
	for _, file := range []string{broken, filepath.Join(t.TempDir(), "none")} {
		r := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: file})
		_, err := r.PushConfig(t.Context(), "")
		for _, err := range []error{err, r.Ping(t.Context()), push(t.Context(), r)} {
			checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
			if strings.Contains(err.Error(), "aHVudGVy") || !strings.Contains(failure.Of(err).Sentence, "cannot read its registry credential") {
				t.Errorf("the error quotes the credential, or does not say what is wrong: %v", err)
			}
		}
	}
}

func TestCanceled(t *testing.T) {
	s := newServer(t)
	r := open(t, Options{Host: s.host(), Insecure: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := r.ImageConfig(ctx, s.host()+"/a/b:1")
	for _, err := range []error{err, push(ctx, r), r.Ping(ctx)} {
		if err == nil || failure.IsTerminal(err) {
			t.Errorf("canceled: %v", err)
		}
	}
}

func TestFailures(t *testing.T) {
	s := newServer(t)
	s.push(t, s.host()+"/a/b:1")
	file := configFile(t, map[string]string{s.host(): "robot:pass"})
	r := open(t, Options{Host: s.host(), Insecure: true, PushConfigFile: file})
	look := func() error {
		_, _, err := r.ImageConfig(t.Context(), s.host()+"/a/b:1")
		return err
	}
	write := func() error { return push(t.Context(), r) }
	for _, c := range []struct {
		code   int
		do     func() error
		kind   failure.Kind
		reason string
	}{
		{401, look, failure.Terminal, v1alpha1.ReasonImageUnavailable}, {401, write, failure.Terminal, v1alpha1.ReasonRefused},
		{403, look, failure.Terminal, v1alpha1.ReasonImageUnavailable}, {403, write, failure.Terminal, v1alpha1.ReasonRefused},
		{404, look, failure.Terminal, v1alpha1.ReasonImageUnavailable}, {404, write, failure.Transient, v1alpha1.ReasonUnavailable},
		{413, write, failure.Terminal, v1alpha1.ReasonRefused},
		{429, look, failure.Waiting, v1alpha1.ReasonUnavailable}, {429, write, failure.Waiting, v1alpha1.ReasonUnavailable},
		{500, look, failure.Transient, v1alpha1.ReasonUnavailable}, {500, write, failure.Transient, v1alpha1.ReasonUnavailable},
	} {
		s.guardWith(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(c.code); return false })
		err := c.do()
		t.Logf("%d: %s", c.code, failure.Of(err).Sentence)
		checkFailure(t, err, c.kind, c.reason)
	}
	first := true
	s.guardWith(func(w http.ResponseWriter, r *http.Request) bool {
		pass := !first
		first = false
		if !pass {
			w.WriteHeader(http.StatusBadGateway)
		}
		return pass
	})
	if err := look(); err != nil || first {
		t.Errorf("a passing 502: %v", err)
	}
	s.Close()
	for _, err := range []error{look(), write(), r.Ping(t.Context())} {
		checkFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	}
}
