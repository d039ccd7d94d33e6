package githubapp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

const sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e"

// The bounds in these tests, which are smaller than the real ones.
const (
	testBytes   = 8 << 20
	testEntries = 100
	testNames   = 1 << 14
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

// unpack visits an archive and puts its files into a folder that has a neighbour which must stay as it is, and lists what is there.
func unpack(t testing.TB, data []byte) (map[string]string, *archiveReader, error) {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(outer, "neighbour"), []byte("untouched"), 0o600)); err != nil {
		t.Fatal(err)
	}
	tree := newTree(t, dir)
	a := &archiveReader{sha: sha, visit: tree.visit, maxBytes: testBytes, maxEntries: testEntries, maxNames: testNames}
	unpackErr := a.read(bytes.NewReader(data))
	if unpackErr == nil {
		unpackErr = tree.Finish()
	}
	if b, err := os.ReadFile(filepath.Join(outer, "neighbour")); err != nil || string(b) != "untouched" {
		t.Errorf("the neighbour is %q, %v", b, err)
	}
	if list, err := os.ReadDir(outer); err != nil || len(list) != 2 {
		t.Errorf("beside the folder there is %v, %v", list, err)
	}
	return listing(t, dir), a, unpackErr
}

// tree is a folder that an archive is put into, as a checkout is.
type tree struct{ *source.Tree }

// testFile is the largest file that is kept, in bytes.
const testFile = 1 << 20

func newTree(t testing.TB, dir string) tree {
	t.Helper()
	to, err := source.OpenTree(dir, source.Room{Content: testBytes, File: testFile, Entries: testBytes, Sparse: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return tree{to}
}

func (to tree) visit(f source.File, content io.Reader) error {
	out, err := to.Create(f)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// checkout puts a commit into an empty folder.
func checkout(ctx context.Context, t testing.TB, c *Client, installation int64, repo v1alpha1.Repository, sha, dir string) error {
	t.Helper()
	to := newTree(t, dir)
	if err := c.Archive(ctx, installation, repo, sha, to.visit); err != nil {
		return err
	}
	return to.Finish()
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
	big := strings.Repeat("x", testFile+1)
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
		entry{name: top + "module/", kind: tar.TypeDir, mode: 0o755},
		entry{name: top + "device", kind: tar.TypeChar, mode: 0o644},
		entry{name: top + "hard", kind: tar.TypeLink, target: top + "run.sh"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".conductor.yaml": "0 version: 1", "run.sh": "111 #!/bin/sh", "a": "folder", "a/b": "folder", "a/b/c.txt": "0 deep",
		"big": "0 " + strings.Repeat("\x00", len(big)), "fits": "0 " + big[1:], "a/up": "-> ../run.sh", "dangling": "-> nowhere", "module": "folder",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if u.skipped != 3 {
		t.Errorf("%d left out, want the pipe, the device and the hard link", u.skipped)
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
		"names too long":  {archive(t, sha, entry{name: top + strings.Repeat("n/", testNames/2), kind: tar.TypeDir}), errTooMuch},
		"a path too long": {archive(t, sha, entry{name: top + strings.Repeat("n/", source.MaxPath/2+1), kind: tar.TypeDir}), errUnsafe},
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
	if !errors.Is(err, errTooMuch) || len(got) > 1 {
		t.Errorf("unpack: %v, %v", err, slices.Collect(maps.Keys(got)))
	}
	if f := failure.Of(u.explain(scope{}, err)); f.Kind != failure.Terminal {
		t.Errorf("the failure is %+v", f)
	}
}

// The visitor's own error is what the caller gets, and not a sentence of GitHub's; a broken archive is GitHub's, for every reader.
func TestTheErrorsOfAVisitorAreItsOwn(t *testing.T) {
	full := errors.New("no space left on device")
	data := archive(t, sha, entry{name: "top/f", content: strings.Repeat("x", 1<<16)})
	for name, c := range map[string]struct {
		data  []byte
		visit func(source.File, io.Reader) error
		want  error
	}{
		"at once": {data, func(source.File, io.Reader) error { return full }, full},
		"after some": {data, func(_ source.File, in io.Reader) error {
			_, err := io.CopyN(io.Discard, in, 10)
			return errors.Join(err, full)
		}, full},
		"cut short": {data[:len(data)-20], func(_ source.File, in io.Reader) error { _, err := io.Copy(io.Discard, in); return err }, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			a := &archiveReader{sha: sha, visit: c.visit, maxBytes: testBytes, maxEntries: testEntries, maxNames: testNames}
			err := a.explain(scope{}, a.read(bytes.NewReader(c.data)))
			var f *failure.Error
			if !errors.Is(err, c.want) || errors.As(err, &f) != (c.want != full) {
				t.Errorf("read: %v", err)
			}
		})
	}
}
