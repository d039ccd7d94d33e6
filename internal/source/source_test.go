package source

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testLayer is the size of a layer in these tests, in bytes.
const testLayer = 64 << 10

// layers are an artifact in memory.
type layers struct {
	index *Index
	blobs [][]byte
	// opened are the numbers of the layers that were opened.
	opened []int
}

type layerBuffer struct {
	bytes.Buffer
	to *layers
}

func (b *layerBuffer) Close() error { b.to.blobs = append(b.to.blobs, b.Bytes()); return nil }

// pack makes an artifact of files given with their content; a link's is its target.
func pack(t testing.TB, files []File, content map[string]string) *layers {
	t.Helper()
	made := &layers{}
	p := NewPacker("6dcb09b5b57875f334f61aebed695e2e4193db5e", func() (io.WriteCloser, error) { return &layerBuffer{to: made}, nil })
	p.max = testLayer
	for _, f := range files {
		f.Size = int64(len(content[f.Path]))
		if err := p.Add(f, strings.NewReader(content[f.Path])); err != nil {
			t.Fatal(err)
		}
	}
	index, err := p.Close()
	if err != nil {
		t.Fatal(err)
	}
	made.index = index
	return made
}

// artifact is what a registry would give of the layers.
func (l *layers) artifact(keep func(File) bool) (*Artifact, error) {
	var b bytes.Buffer
	if err := l.index.Write(&b); err != nil {
		return nil, err
	}
	index, err := ReadIndex(&b, keep)
	return &Artifact{Index: index, Open: func(n int) (io.ReadCloser, error) {
		l.opened = append(l.opened, n)
		return io.NopCloser(bytes.NewReader(l.blobs[n])), nil
	}}, err
}

// read is the content of the files that an artifact gives.
func read(t testing.TB, a *Artifact) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := a.Read(func(f File, content io.Reader) error {
		data, err := io.ReadAll(content)
		if got[f.Path] = string(data); f.Mode == ModeLink {
			got[f.Path] = "-> " + f.Link
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func random(n int, seed byte) string {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return string(data)
}

// sample has small files, one that takes three layers with small ones before and after, and one that just fits into a layer.
func sample() ([]File, map[string]string) {
	content := map[string]string{
		"a.txt": "a\n", "big": random(2*testLayer+testLayer/2, 1), "empty": "", "fits": random(testLayer-entryRoom-tarEnd-4, 2), "z/run.sh": "#!/bin/sh\n",
		strings.Repeat("deep/", 60) + "ü": "long", "half": random(testLayer/2, 3), "other": random(testLayer/2, 4),
	}
	files := []File{
		{Path: "a.txt", Mode: ModeFile}, {Path: "z/run.sh", Mode: ModeExecutable}, {Path: "big", Mode: ModeFile}, {Path: "empty", Mode: ModeFile},
		{Path: strings.Repeat("deep/", 60) + "ü", Mode: ModeFile}, {Path: "half", Mode: ModeFile}, {Path: "other", Mode: ModeFile}, {Path: "fits", Mode: ModeFile},
		{Path: "link", Mode: ModeLink, Link: "z/run.sh"}, {Path: "module", Mode: ModeSubmodule},
	}
	return files, content
}

func TestWhatIsPackedIsReadAgain(t *testing.T) {
	files, content := sample()
	made := pack(t, files, content)
	a, err := made.artifact(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"link": "-> z/run.sh", "module": ""}
	for k, v := range content {
		want[k] = v
	}
	if diff := cmp.Diff(want, read(t, a)); diff != "" {
		t.Errorf("files (-want +got):\n%.2000s", diff)
	}
	if diff := cmp.Diff(made.index, a.Index); diff != "" {
		t.Errorf("the index (-written +read):\n%s", diff)
	}
	for i, f := range a.Index.Files {
		if i > 0 && f.Path <= a.Index.Files[i-1].Path {
			t.Errorf("%s is after %s", f.Path, a.Index.Files[i-1].Path)
		}
	}
}

// A layer has at most the size that it may have, in bytes that are unpacked; a file that fits into one is in one.
func TestLayersHaveASize(t *testing.T) {
	files, content := sample()
	made := pack(t, files, content)
	for n, blob := range made.blobs {
		size, err := io.Copy(io.Discard, unzip(t, blob))
		if err != nil || size > testLayer {
			t.Errorf("layer %d has %d bytes, %v", n, size, err)
		}
	}
	for _, f := range made.index.Files {
		want := 0
		if f.Path == "big" {
			want = 3
		}
		if f.Layers != want {
			t.Errorf("%s is in %d layers from %d on, want %d", f.Path, f.Layers, f.Layer, want)
		}
	}
	if len(made.blobs) != 7 {
		t.Errorf("%d layers", len(made.blobs))
	}
}

func unzip(t testing.TB, blob []byte) io.Reader {
	t.Helper()
	c := &cursor{artifact: &Artifact{Open: func(int) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil }}, number: -1}
	if err := c.open(0); err != nil {
		t.Fatal(err)
	}
	return c.plain
}

func TestBlobsAreNamedAsGitNamesThem(t *testing.T) {
	content := map[string]string{"empty": "", "hello": "hello\n"}
	index := pack(t, []File{{Path: "empty", Mode: ModeFile}, {Path: "hello", Mode: ModeFile}, {Path: "link", Mode: ModeLink, Link: "hello"}}, content).index
	sum := sha1.Sum([]byte("blob 5\x00hello"))
	// As computed by git hash-object.
	want := []string{"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "ce013625030ba8dba906f756967f9e9ca394464a", hex.EncodeToString(sum[:])}
	for i, f := range index.Files {
		if f.Blob != want[i] {
			t.Errorf("%s is the blob %s, want %s", f.Path, f.Blob, want[i])
		}
	}
}

// Only the layers that hold what is wanted are opened, and files that are not wanted are not visited.
func TestLittleIsReadOfALargeArtifact(t *testing.T) {
	files, content := sample()
	for _, c := range []struct {
		wanted string
		opened []int
	}{{"a.txt", []int{0}}, {"big", []int{1, 2, 3}}, {"empty", []int{3}}, {"fits", []int{6}}, {"link", nil}} {
		made := pack(t, files, content)
		a, err := made.artifact(func(f File) bool { return f.Path == c.wanted })
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, a)
		if len(got) != 1 || c.wanted != "link" && got[c.wanted] != content[c.wanted] {
			t.Errorf("%s: read %d files, %d bytes of it", c.wanted, len(got), len(got[c.wanted]))
		}
		if diff := cmp.Diff(c.opened, made.opened); diff != "" {
			t.Errorf("%s: layers (-want +got):\n%s", c.wanted, diff)
		}
	}
}

// A visitor may leave content unread, also that of a file over several layers.
func TestContentNeedNotBeRead(t *testing.T) {
	files, content := sample()
	a, err := pack(t, files, content).artifact(nil)
	if err != nil {
		t.Fatal(err)
	}
	visited := 0
	if err := a.Read(func(File, io.Reader) error { visited++; return nil }); err != nil || visited != len(files) {
		t.Errorf("visited %d of %d: %v", visited, len(files), err)
	}
}

func TestADamagedArtifactIsNotRead(t *testing.T) {
	files, content := sample()
	for name, damage := range map[string]func(*layers){
		"a file that is not there": func(l *layers) { l.index.Files[0].Path = "A" },
		"another size":             func(l *layers) { l.index.Files[0].Size++ },
		"a smaller size":           func(l *layers) { l.index.Files[1].Size -= testLayer },
		"layers in another order":  func(l *layers) { l.blobs[1], l.blobs[2] = l.blobs[2], l.blobs[1] },
		"a layer cut short":        func(l *layers) { l.blobs[3] = l.blobs[3][:100] },
		"a layer with more behind": func(l *layers) { l.blobs[0] = append(bytes.Clone(l.blobs[0]), "more"...) },
	} {
		t.Run(name, func(t *testing.T) {
			made := pack(t, files, content)
			damage(made)
			a, err := made.artifact(nil)
			if err == nil {
				err = a.Read(func(_ File, content io.Reader) error { _, err := io.Copy(io.Discard, content); return err })
			}
			if err == nil {
				t.Error("it was read")
			}
		})
	}
}

func TestAnIndexIsChecked(t *testing.T) {
	file := func(path, mode string) string {
		return fmt.Sprintf(`{"path":%q,"mode":%q,"size":0,"layer":0}`, path, mode)
	}
	many := strings.Repeat("x", MaxPath)
	for name, text := range map[string]string{
		"no JSON":          "x",
		"a list":           "[]",
		"another version":  `{"schemaVersion":2,"files":[]}`,
		"an unknown key":   `{"schemaVersion":1,"more":[]}`,
		"an absolute path": `{"files":[` + file("/etc/passwd", ModeFile) + `]}`,
		"a path upwards":   `{"files":[` + file("../x", ModeFile) + `]}`,
		"the root":         `{"files":[` + file(".", ModeFile) + `]}`,
		"a long path":      `{"files":[` + file(many+"x", ModeFile) + `]}`,
		"an unknown mode":  `{"files":[` + file("x", "100666") + `]}`,
		"twice":            `{"files":[` + file("x", ModeFile) + "," + file("x", ModeFile) + `]}`,
		"not sorted":       `{"files":[` + file("y", ModeFile) + "," + file("x", ModeFile) + `]}`,
		"an empty link":    `{"files":[` + file("x", ModeLink) + `]}`,
		"a negative size":  `{"files":[{"path":"x","mode":"100644","size":-1,"layer":0}]}`,
		"a negative layer": `{"files":[{"path":"x","mode":"100644","size":1,"layer":-1}]}`,
		"no end":           `{"files":[` + file("x", ModeFile),
	} {
		if x, err := ReadIndex(strings.NewReader(text), nil); err == nil {
			t.Errorf("%s is taken: %+v", name, x)
		}
	}
	endless := io.MultiReader(strings.NewReader(`{"files":[`), zeros{})
	if _, err := ReadIndex(endless, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("an endless index: %v", err)
	}
}

// zeros is an endless stretch of white space.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// grow puts files with content of these sizes below a directory.
func grow(t *testing.T, room Room, sizes ...int64) (*Tree, string, error) {
	t.Helper()
	dir := t.TempDir()
	tree, err := OpenTree(dir, room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	for i, size := range sizes {
		out, err := tree.Create(File{Path: fmt.Sprintf("d%d/f", i), Mode: ModeExecutable, Size: size})
		if err != nil {
			return tree, dir, err
		}
		if _, err := io.Copy(out, strings.NewReader(strings.Repeat("x", int(size)))); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return tree, dir, nil
}

func TestATreeKeepsToItsRoom(t *testing.T) {
	room := Room{Content: 5 * block, File: 2 * block, Entries: 1 << 20, Sparse: true}
	// The second is too large, the fourth and the fifth share what is left, the last finds none.
	tree, dir, err := grow(t, room, 100, 2*block+1, 2*block, 1, block, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"d1/f": true, "d5/f": true}, tree.Absent); diff != "" {
		t.Errorf("absent (-want +got):\n%s", diff)
	}
	st, err := os.Stat(filepath.Join(dir, "d1/f"))
	if err != nil || st.Size() != 2*block+1 || st.Mode().Perm()&0o111 == 0 {
		t.Errorf("the file without content: %v, %v", st, err)
	}
	if want := int64(5*block + 6*(block+entryCost)); tree.Used() != want {
		t.Errorf("it takes %d bytes, want %d", tree.Used(), want)
	}
	// What is asked for later has a room of its own.
	if err := tree.Fill(File{Path: "d1/f", Size: 2*block + 1}, strings.NewReader(strings.Repeat("y", 2*block+1)), 8*block); err != nil || tree.Absent["d1/f"] {
		t.Errorf("fill: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "d1/f")); err != nil || string(data) != strings.Repeat("y", 2*block+1) {
		t.Errorf("it holds %d bytes, %v", len(data), err)
	}
	if err := tree.Fill(File{Path: "d5/f", Size: 10}, strings.NewReader("0123456789"), 8*block); !errors.Is(err, ErrRoom) || !tree.Absent["d5/f"] {
		t.Errorf("fill beyond the room: %v", err)
	}
	// A file is never half there.
	if err := tree.Fill(File{Path: "d5/f", Size: 10}, strings.NewReader("01234"), 9*block); err == nil || !tree.Absent["d5/f"] {
		t.Errorf("half a file: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "d5/f")); err != nil || string(data) != strings.Repeat("\x00", 10) {
		t.Errorf("it holds %q, %v", data, err)
	}
}

func TestATreeWithoutRoomIsAnError(t *testing.T) {
	if _, _, err := grow(t, Room{Content: block, File: block, Entries: 1 << 20}, 10, 10); !errors.Is(err, ErrRoom) {
		t.Errorf("content: %v", err)
	}
	if _, _, err := grow(t, Room{Content: 1 << 20, File: block, Entries: 2*block + 2*entryCost, Sparse: true}, 10, 10, 10); !errors.Is(err, ErrRoom) {
		t.Errorf("directories: %v", err)
	}
}

func TestNoLinkOfATreeLeadsOutside(t *testing.T) {
	tree, dir, err := grow(t, Room{Content: 1 << 20, File: block, Entries: 1 << 20}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"in": "d0/f", "up": "..", "abs": "/etc", "hop": "in/../../..", "d0/f/below": "x", "gone": "nothing"} {
		if _, err := tree.Create(File{Path: name, Mode: ModeLink, Link: target}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Finish(); err != nil {
		t.Fatal(err)
	}
	var links []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d.Type() == fs.ModeSymlink {
			links = append(links, filepath.Base(path))
		}
		return err
	})
	if diff := cmp.Diff([]string{"gone", "in"}, links); diff != "" || err != nil || tree.Skipped != 4 {
		t.Errorf("links, %v, %d skipped (-want +got):\n%s", err, tree.Skipped, diff)
	}
}

// The index of the largest commit that is taken is what a fetch holds in memory.
func TestTheLargestIndexHasABound(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var b bytes.Buffer
	x := &Index{SHA: strings.Repeat("1", 40)}
	for i := range MaxEntries {
		path := fmt.Sprintf("%06d", i)
		x.Files = append(x.Files, File{Path: path + strings.Repeat("p", MaxNames/MaxEntries-len(path)), Mode: ModeFile, Size: 1000, Blob: strings.Repeat("b", 40), Layer: 1})
	}
	if err := x.Write(&b); err != nil {
		t.Fatal(err)
	}
	x = nil
	data := b.Bytes()
	before := heap()
	read, err := ReadIndex(bytes.NewReader(data), nil)
	if err != nil || len(read.Files) != MaxEntries {
		t.Fatalf("%d files, %v", len(read.Files), err)
	}
	held := heap() - before
	t.Logf("%d files take %d KiB", len(read.Files), held>>10)
	if held > 40<<20 {
		t.Errorf("%d MiB", held>>20)
	}
	runtime.KeepAlive(read)
	runtime.KeepAlive(data)
}
