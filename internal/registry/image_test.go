package registry

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

func image(t *testing.T, c v1.Config, kind types.MediaType) v1.Image {
	t.Helper()
	img, err := mutate.Config(mutate.MediaType(empty.Image, kind), c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (s *server) put(t *testing.T, reference string, write func(name.Reference) error) {
	t.Helper()
	ref, err := name.ParseReference(s.host()+"/"+reference, name.Insecure)
	if err == nil {
		err = write(ref)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// config is the part of an image's configuration that the tests compare.
type config struct {
	Entrypoint, Cmd []string
	User, Workdir   string
}

func ask(t *testing.T, r *Registry, image string) (config, error) {
	_, data, err := r.ImageConfig(t.Context(), image)
	if err != nil {
		return config{}, err
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return config{file.Config.Entrypoint, file.Config.Cmd, file.Config.User, file.Config.WorkingDir}, nil
}

func TestImageConfig(t *testing.T) {
	s := newServer(t)
	want := config{[]string{"/app", "--x"}, []string{"serve"}, "1000:1000", "/srv"}
	of := func(c config) v1.Config {
		return v1.Config{Entrypoint: c.Entrypoint, Cmd: c.Cmd, User: c.User, WorkingDir: c.Workdir}
	}
	oci, docker := image(t, of(want), types.OCIManifestSchema1), image(t, of(want), types.DockerManifestSchema2)
	other := image(t, v1.Config{Cmd: []string{"of another platform"}}, types.OCIManifestSchema1)
	index := func(kind types.MediaType, architecture string) v1.ImageIndex {
		platform := func(os, arch string) v1.Descriptor {
			return v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}
		}
		return mutate.IndexMediaType(mutate.AppendManifests(empty.Index,
			mutate.IndexAddendum{Add: other, Descriptor: platform("windows", architecture)},
			mutate.IndexAddendum{Add: other, Descriptor: platform("linux", "s390x")},
			mutate.IndexAddendum{Add: other},
			mutate.IndexAddendum{Add: oci, Descriptor: platform("linux", architecture)}), kind)
	}
	s.put(t, "a/oci:1", func(ref name.Reference) error { return remote.Write(ref, oci) })
	s.put(t, "a/docker", func(ref name.Reference) error { return remote.Write(ref, docker) })
	s.put(t, "a/many:1", func(ref name.Reference) error {
		return remote.WriteIndex(ref, index(types.OCIImageIndex, runtime.GOARCH))
	})
	s.put(t, "a/list:1", func(ref name.Reference) error {
		return remote.WriteIndex(ref, index(types.DockerManifestList, runtime.GOARCH))
	})
	s.put(t, "a/foreign:1", func(ref name.Reference) error { return remote.WriteIndex(ref, index(types.OCIImageIndex, "mips")) })
	digest, err := oci.Digest()
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Host: s.host(), Insecure: true})
	for _, reference := range []string{"a/oci:1", "a/docker", "a/docker:latest", "a/many:1", "a/list:1", "a/oci@" + digest.String(), "a/oci:gone@" + digest.String()} {
		got, err := ask(t, r, s.host()+"/"+reference)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", reference, err, diff)
		}
	}
	for _, reference := range []string{"a/oci:2", "a/none", "a/foreign:1", "A/oci:1", "a/oci@sha256:12"} {
		_, err := ask(t, r, s.host()+"/"+reference)
		checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
	}
	pushSample(t, r)
}

// A tag is asked for its digest each time, and what a digest names is read once.
func TestWhatADigestNamesIsReadOnce(t *testing.T) {
	s := newServer(t)
	first, second := image(t, v1.Config{Cmd: []string{"1"}}, types.OCIManifestSchema1), image(t, v1.Config{Cmd: []string{"2"}}, types.OCIManifestSchema1)
	write := func(img v1.Image) func(name.Reference) error {
		return func(ref name.Reference) error { return remote.Write(ref, img) }
	}
	s.put(t, "a/b:1", write(first))
	r := open(t, Options{Host: s.host(), Insecure: true})
	look := func(reference, cmd string) (digest string, requests int) {
		t.Helper()
		s.seen = nil
		digest, data, err := r.ImageConfig(t.Context(), s.host()+"/"+reference)
		if err != nil || !strings.Contains(string(data), `"Cmd":["`+cmd+`"]`) {
			t.Fatalf("%s: %s, %v", reference, data, err)
		}
		return digest, len(s.seen)
	}
	digest, requests := look("a/b:1", "1")
	if want, _ := first.Digest(); digest != want.String() || requests != 3 {
		t.Errorf("%s after %v", digest, s.seen)
	}
	if again, requests := look("a/b:1", "1"); again != digest || requests != 1 || !strings.HasPrefix(s.seen[0], "HEAD ") {
		t.Errorf("once more: %s after %v", again, s.seen)
	}
	if again, requests := look("a/b:0@"+digest, "1"); again != digest || requests != 0 {
		t.Errorf("by its digest: %s after %v", again, s.seen)
	}
	s.put(t, "a/b:1", write(second))
	if moved, _ := look("a/b:1", "2"); moved == digest {
		t.Error("a tag that moved still stands for what it stood for")
	}
	r.configs.put(orasregistry.Reference{Registry: "x"}, make([]byte, maxKept))
	if r.configs.size != maxKept {
		t.Errorf("%d bytes are kept", r.configs.size)
	}
}

func TestDockerHubIsAskedAfterItsMirrors(t *testing.T) {
	s, second := newServer(t), newServer(t)
	// The second mirror is on the same host, since plain HTTP goes to that of the registry alone.
	o := Options{Host: s.host(), Insecure: true, Mirrors: []string{s.host() + "/proxy", s.host()}}
	transport := &hub{second}
	o.Transport = transport
	r := open(t, o)
	img := image(t, v1.Config{Cmd: []string{"nginx"}}, types.OCIManifestSchema1)
	write := func(ref name.Reference) error { return remote.Write(ref, img) }
	s.put(t, "library/nginx:latest", write)
	second.put(t, "library/redis:7", write)
	second.put(t, "acme/tool:latest", write)
	for reference, onHub := range map[string]bool{"nginx": false, "docker.io/library/nginx:latest": false, "redis:7": true, "index.docker.io/acme/tool": true} {
		s.seen, second.seen = nil, nil
		if got, err := ask(t, r, reference); err != nil || len(got.Cmd) != 1 {
			t.Errorf("%s: %+v, %v", reference, got, err)
		}
		if (len(second.seen) > 0) != onHub || len(s.seen) < 2 || !strings.HasPrefix(s.seen[0], "HEAD /v2/proxy/") {
			t.Errorf("%s: the mirrors were asked %v, Docker Hub %v", reference, s.seen, second.seen)
		}
	}
	_, err := ask(t, r, "none")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
}

// hub sends what is meant for Docker Hub to a server of the test.
type hub struct{ to *server }

func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	to := r.Clone(r.Context())
	if r.URL.Host == "registry-1.docker.io" {
		to.URL.Scheme, to.URL.Host = "http", h.to.host()
	}
	response, err := http.DefaultTransport.RoundTrip(to)
	if err == nil {
		response.Request = r
	}
	return response, err
}

func TestCredentialsGoToTheirHostAlone(t *testing.T) {
	s, hubServer := newServer(t), newServer(t)
	img := image(t, v1.Config{Cmd: []string{"x"}}, types.OCIManifestSchema1)
	hubServer.put(t, "acme/private:1", func(ref name.Reference) error { return remote.Write(ref, img) })
	file := configFile(t, map[string]string{s.host(): "robot:own", "https://index.docker.io/v1/": "anna:hub"})
	hubServer.guardWith(basicAuth("anna:hub"))
	r := open(t, Options{Host: s.host(), Insecure: true, PullConfigFile: file, Transport: &hub{hubServer}})
	if _, err := ask(t, r, "acme/private:1"); err != nil {
		t.Errorf("with the credential of Docker Hub: %v", err)
	}
	hubServer.guardWith(basicAuth("robot:own"))
	_, err := ask(t, r, "acme/private:1")
	checkFailure(t, err, failure.Terminal, v1alpha1.ReasonImageUnavailable)
}
