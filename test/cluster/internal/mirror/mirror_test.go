package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
)

// testLayer is a finished layer of one small file.
func testLayer(t *testing.T, content string) made {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := write(filepath.Join(tree, "etc", "file"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (layer{}).pack(tree, dir); err != nil {
		t.Fatal(err)
	}
	m, err := readMade(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func testMirror(t *testing.T, content string) *Mirror {
	t.Helper()
	base := map[string]made{"base": testLayer(t, "base"), "top": testLayer(t, content)}
	img, err := recipe{Names: []string{"library/thing:1", "library/thing:latest"}, Layers: []string{"base", "top"}}.make(base)
	if err != nil {
		t.Fatal(err)
	}
	return &Mirror{images: []packed{img}}
}

// TestSeededRegistryServes has Debian's registry itself read what Seed wrote:
// its layout on disk is what Seed must meet.
func TestSeededRegistryServes(t *testing.T) {
	dir := t.TempDir()
	m := testMirror(t, "first")
	if err := m.Seed(dir); err != nil {
		t.Fatal(err)
	}
	address := serve(t, dir)
	want := digestOf(t, m.images[0].Image)
	for _, tag := range []string{"1", "latest"} {
		if got := pull(t, address+"/library/thing:"+tag); got != want {
			t.Errorf("tag %s is %s, want %s", tag, got, want)
		}
	}
	newer := testMirror(t, "second")
	if err := newer.Seed(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := pull(t, address+"/library/thing:1"), digestOf(t, newer.images[0].Image); got != want {
		t.Errorf("after seeding anew tag 1 is %s, want %s", got, want)
	}
	if got := pull(t, address+"/library/thing@"+want); got != want {
		t.Errorf("by digest the old image is %s, want %s", got, want)
	}
}

// serve runs docker-registry over a directory.
func serve(t *testing.T, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := filepath.Join(t.TempDir(), "config.yml")
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + dir + "}}\nhttp: {addr: " + address + "}\nlog: {level: error}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", config)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("Debian's package docker-registry is needed: %v", err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			response.Body.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry does not answer: %v\n%s", err, output.String())
		}
	}
}

// pull fetches an image with all of its layers and answers its digest.
func pull(t *testing.T, reference string) string {
	t.Helper()
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 2 {
		t.Errorf("%s has %d layers, want 2", reference, len(layers))
	}
	for _, l := range layers {
		content, err := l.Compressed() // as it is in the registry
		if err != nil {
			t.Fatal(err)
		}
		d := digester{next: io.Discard, sum: sha256.New()}
		_, err = io.Copy(&d, content)
		if h, _ := l.Digest(); err != nil || d.hash() != h {
			t.Errorf("layer %s arrives as %s (%v)", h, d.hash(), err)
		}
		content.Close()
	}
	return digestOf(t, img)
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func TestMissingLibraryIsFound(t *testing.T) {
	layers := map[string]made{
		"program": {Needs: []string{"libc.so.6", "libz.so.1"}},
		"libc":    {Provides: []string{"libc.so.6"}},
	}
	_, err := recipe{Names: []string{"x:1"}, Layers: []string{"libc", "program"}}.make(layers)
	if err == nil || !strings.Contains(err.Error(), "libz.so.1") || strings.Contains(err.Error(), "libc.so.6") {
		t.Errorf("got %v, want it to name libz.so.1 alone", err)
	}
}

// TestRecipes checks the recipes without making an image: each uses existing
// layers, and names are unique.
func TestRecipes(t *testing.T) {
	layers, images := recipes(parts.Binaries{})
	var known, names []string
	for _, l := range layers {
		known = append(known, l.Name)
		if _, err := l.key(); err != nil {
			t.Errorf("layer %s: %v", l.Name, err)
		}
	}
	for _, img := range images {
		names = append(names, img.Names...)
		for _, l := range img.Layers {
			if !slices.Contains(known, l) {
				t.Errorf("image %s names layer %s, which there is not", img.Names[0], l)
			}
		}
	}
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("a name is given twice: %v", names)
	}
}

func TestKeyHoldsTheRecipe(t *testing.T) {
	one, err := layer{Name: "x", Files: []file{{Path: "a", From: "passwd", Mode: 0o644}}}.key()
	if err != nil {
		t.Fatal(err)
	}
	two, err := layer{Name: "x", Files: []file{{Path: "a", From: "passwd", Mode: 0o600}}}.key()
	if err != nil {
		t.Fatal(err)
	}
	if one == two {
		t.Error("another mode gives the same key")
	}
	if _, err := (layer{Files: []file{{From: "nothing"}}}).key(); err == nil {
		t.Error("a file that is not embedded was accepted")
	}
}

// TestLockNamesNoRegistry keeps the lock file free of any registry's address:
// it must work with whichever one npm is set to.
func TestLockNamesNoRegistry(t *testing.T) {
	text, err := files.ReadFile("maildev/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Resolved, Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	for path, p := range lock.Packages {
		if p.Resolved != "" {
			t.Errorf("%s is bound to %s", path, p.Resolved)
		}
		if path != "" && p.Integrity == "" {
			t.Errorf("%s has no integrity", path)
		}
	}
}
