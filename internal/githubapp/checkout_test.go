package githubapp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e"

// The bounds in these tests, which are smaller than the real ones.
const (
	testBytes   = 8 << 20
	testEntries = 100
)

// entry is one entry of a made-up archive.
type entry struct {
	name, content string
	kind          byte
	mode          int64
	target        string
}

// archive is a tarball as GitHub makes it: the commit first, then everything below one folder.
func archive(t testing.TB, commit string, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	w := tar.NewWriter(gz)
	headers := []entry{{name: "pax_global_header", kind: tar.TypeXGlobalHeader}, {name: "acme-shop-6dcb09b/", kind: tar.TypeDir, mode: 0o755}}
	for _, e := range append(headers, entries...) {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Linkname: e.target}
		if e.kind == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.content))
		}
		if e.kind == tar.TypeXGlobalHeader {
			h.PAXRecords = map[string]string{"comment": commit}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unpack unpacks into a folder that has a neighbour which must stay as it is, and lists what is there.
func unpack(t testing.TB, data []byte) (map[string]string, *unpacker, error) {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(outer, "neighbour"), []byte("untouched"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, sha: sha, maxBytes: testBytes, maxEntries: testEntries}
	unpackErr := u.unpack(bytes.NewReader(data))
	if b, err := os.ReadFile(filepath.Join(outer, "neighbour")); err != nil || string(b) != "untouched" {
		t.Errorf("the neighbour is %q, %v", b, err)
	}
	if list, err := os.ReadDir(outer); err != nil || len(list) != 2 {
		t.Errorf("beside the folder there is %v, %v", list, err)
	}
	return listing(t, dir), u, unpackErr
}

func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			got[rel] = "-> " + target
			return err
		case d.IsDir():
			got[rel] = "folder"
		default:
			b, err := os.ReadFile(path)
			got[rel] = fmt.Sprintf("%o %s", info.Mode().Perm()&0o111, b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnpack(t *testing.T) {
	const top = "acme-shop-6dcb09b/"
	big := strings.Repeat("x", maxFile+1)
	got, u, err := unpack(t, archive(t, sha,
		entry{name: top + ".conductor.yaml", content: "version: 1", mode: 0o664},
		entry{name: top + "run.sh", content: "#!/bin/sh", mode: 0o775},
		entry{name: top + "a/", kind: tar.TypeDir, mode: 0o700},
		entry{name: top + "a/b/c.txt", content: "deep", mode: 0o644},
		entry{name: top + "big", content: big, mode: 0o644},
		entry{name: top + "fits", content: big[1:], mode: 0o644},
		entry{name: top + "a/up", kind: tar.TypeSymlink, target: "../run.sh"},
		entry{name: top + "dangling", kind: tar.TypeSymlink, target: "nowhere"},
		entry{name: top + "pipe", kind: tar.TypeFifo, mode: 0o644},
		entry{name: top + "device", kind: tar.TypeChar, mode: 0o644},
		entry{name: top + "hard", kind: tar.TypeLink, target: top + "run.sh"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".conductor.yaml": "0 version: 1", "run.sh": "111 #!/bin/sh", "a": "folder", "a/b": "folder", "a/b/c.txt": "0 deep",
		"fits": "0 " + big[1:], "a/up": "-> ../run.sh", "dangling": "-> nowhere",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if u.skipped != 4 {
		t.Errorf("%d left out, want the big file, the pipe, the device and the hard link", u.skipped)
	}
}

func TestLinksThatLeadOutsideAreLeftOut(t *testing.T) {
	const top = "acme-shop-6dcb09b/"
	link := func(name, target string) entry { return entry{name: top + name, kind: tar.TypeSymlink, target: target} }
	cases := map[string]struct {
		entries []entry
		want    map[string]string
	}{
		"absolute":       {[]entry{link("l", "/etc/passwd")}, map[string]string{}},
		"upwards":        {[]entry{link("l", "../neighbour")}, map[string]string{}},
		"up to nothing":  {[]entry{link("l", "../../nothing")}, map[string]string{}},
		"the root":       {[]entry{link("l", ".")}, map[string]string{"l": "-> ."}},
		"itself":         {[]entry{link("l", "l")}, map[string]string{}},
		"through a link": {[]entry{link("a", "."), link("l", "a/../../neighbour")}, map[string]string{"a": "-> ."}},
		"through two": {
			// By its letters b/c/up/../.. stays inside; followed, up leads to b and then out.
			[]entry{{name: top + "b/c/", kind: tar.TypeDir, mode: 0o755}, link("b/c/up", ".."), link("l", "b/c/up/../../neighbour")},
			map[string]string{"b": "folder", "b/c": "folder", "b/c/up": "-> .."},
		},
		"file after link": {
			[]entry{link("d", ".."), {name: top + "d/neighbour", content: "evil", mode: 0o644}},
			map[string]string{"d": "folder", "d/neighbour": "0 evil"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, _, err := unpack(t, archive(t, sha, c.entries...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	const top = "acme-shop-6dcb09b/"
	many := make([]entry, testEntries)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf("%sf%d", top, i), kind: tar.TypeFifo}
	}
	cases := map[string]struct {
		data []byte
		want error
	}{
		"absolute name":   {archive(t, sha, entry{name: "/etc/passwd", content: "x"}), errUnsafe},
		"name upwards":    {archive(t, sha, entry{name: top + "../../neighbour", content: "x"}), errUnsafe},
		"upwards at once": {archive(t, sha, entry{name: "../neighbour", content: "x"}), errUnsafe},
		"other commit":    {archive(t, strings.Repeat("1", 40)), errWrong},
		"too many":        {archive(t, sha, many...), errTooMuch},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, _, err := unpack(t, c.data); !errors.Is(err, c.want) {
				t.Errorf("unpack: %v, want %v", err, c.want)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		data := archive(t, sha, entry{name: top + "f", content: strings.Repeat("x", 1000)})
		if _, _, err := unpack(t, data[:len(data)/2]); err == nil {
			t.Error("half an archive was taken for a whole")
		}
	})
}

// A small answer that unpacks to more than the bound is stopped on the way, also within what is left out.
func TestUnpackStopsBelowABomb(t *testing.T) {
	bomb := archive(t, sha, entry{name: "top/zeros", content: strings.Repeat("\x00", testBytes)})
	if len(bomb) > testBytes/100 {
		t.Fatalf("the archive has %d bytes", len(bomb))
	}
	got, u, err := unpack(t, bomb)
	if !errors.Is(err, errTooMuch) || len(got) != 0 {
		t.Errorf("unpack: %v, %v", got, err)
	}
	if f := failure.Of(u.explain(scope{}, err)); f.Kind != failure.Terminal {
		t.Errorf("the failure is %+v", f)
	}
}
