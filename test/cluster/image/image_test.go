package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// tree makes the same files at different times and in a different order.
func tree(t *testing.T, names []string, age time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTreeIsReproducible(t *testing.T) {
	var first, second bytes.Buffer
	if err := WriteTree(&first, tree(t, []string{"a", "b/c", "b/d"}, 0), nil); err != nil {
		t.Fatal(err)
	}
	if err := WriteTree(&second, tree(t, []string{"b/d", "a", "b/c"}, 72*time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files gave two different layers")
	}
	var other bytes.Buffer
	if err := WriteTree(&other, tree(t, []string{"a", "b/c", "b/e"}, 0), nil); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.Bytes(), other.Bytes()) {
		t.Error("different files gave the same layer")
	}
}

func TestTreeOwners(t *testing.T) {
	var b bytes.Buffer
	dir := tree(t, []string{"data/x/y", "database", "root"}, 0)
	if err := os.Chmod(filepath.Join(dir, "data"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := WriteTree(&b, dir, map[string]Owner{"data": {UID: 7, GID: 8}}); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		UID, GID int
		Mode     int64
		Type     byte
	}
	got := map[string]entry{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = entry{h.Uid, h.Gid, h.Mode, h.Typeflag}
	}
	want := map[string]entry{
		"data/":    {7, 8, 0o1777, tar.TypeDir},
		"data/x/":  {7, 8, 0o755, tar.TypeDir},
		"data/x/y": {7, 8, 0o644, tar.TypeReg},
		"database": {0, 0, 0o644, tar.TypeReg},
		"link":     {0, 0, 0o777, tar.TypeSymlink},
		"root":     {0, 0, 0o644, tar.TypeReg},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestBinary(t *testing.T) {
	config := v1.Config{Entrypoint: []string{"/app", "serve"}, User: "65532"}
	first, err := Binary([]byte("program"), []byte("roots"), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(first, validate.Fast); err != nil { // in full it wants compressed layers
		t.Errorf("not a valid image: %v", err)
	}
	second, err := Binary([]byte("program"), []byte("roots"), config)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Binary([]byte("program 2"), []byte("roots"), config)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := digest(t, first), digest(t, second), digest(t, other)
	if a != b {
		t.Errorf("the same program gave %s and %s", a, b)
	}
	if a == c {
		t.Errorf("another program gave the same digest %s", a)
	}
	file, err := first.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, file.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if _, err := Binary(nil, nil, v1.Config{}); err == nil {
		t.Error("an image without an entrypoint was made")
	}
}

func digest(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}
