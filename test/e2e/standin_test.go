//go:build e2e && corpus

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/w3evolutionsllc/conductor/test/corpus"
)

// standInScript listens on ports until it is terminated. For a service that others wait to complete, it checks the names that it uses and ends.
const standInScript = `#!/bin/sh
for use in $STAND_IN_USES; do
  nc -w 5 "${use%:*}" "${use#*:}" </dev/null >/dev/null 2>&1 || { echo "$use does not answer"; exit 1; }
done
[ -z "$STAND_IN_COMPLETES" ] || exit 0
trap 'exit 0' TERM INT
for port in $STAND_IN_PORTS; do
  httpd -f -p "$port" -h /home &
done
while :; do sleep 3600 & wait $!; done
`

// standIn makes an image for a service whose own image cannot be built here, and returns its reference.
func standIn(t *testing.T, project string, p *types.Project, uses []corpus.Use, service string) string {
	t.Helper()
	s := p.Services[service]
	var ports, tries []string
	for _, port := range expected(p, uses, service) {
		ports = append(ports, fmt.Sprint(port))
	}
	for _, u := range uses {
		if u.From == service && u.Port != 0 && completes(p, service) {
			tries = append(tries, fmt.Sprintf("%s:%d", inCluster(u.Name), u.Port))
		}
	}
	config := v1.Config{Entrypoint: []string{"/usr/local/bin/stand-in"}, Env: []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "STAND_IN_PORTS=" + strings.Join(ports, " "), "STAND_IN_USES=" + strings.Join(tries, " "),
	}}
	if completes(p, service) {
		config.Env = append(config.Env, "STAND_IN_COMPLETES=yes")
	}
	names := []string{"usr/local/bin/stand-in"}
	if len(s.Entrypoint) > 0 {
		names = append(names, path.Join("usr/local/bin", path.Base(s.Entrypoint[0])))
	}
	return push(t, "conductor/stand-in/"+project+"-"+inCluster(service), config, standInScript, names)
}

// push adds a script to busybox, under each of the names, and pushes the image.
func push(t *testing.T, repository string, config v1.Config, script string, names []string) string {
	t.Helper()
	base, err := name.ParseReference(here.Registry+"/library/busybox:1.36", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(base, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o755, Size: int64(len(script))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, script); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, config); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(here.Registry+"/"+repository+":1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	auth := remote.WithAuth(&authn.Basic{Username: here.PushUser, Password: here.PushPassword})
	if err := remote.Write(ref, img, auth, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return ref.Context().Digest(digest.String()).String()
}
