package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/agent/files"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// shelf is a registry with one source artifact.
type shelf struct {
	index  []byte
	layers [][]byte
	// fail holds the errors of the next requests, one each; broken is how many layers break off in the middle.
	fail   []error
	broken atomic.Int32
}

type shelfLayer struct {
	bytes.Buffer
	to *shelf
}

func (l *shelfLayer) Close() error { l.to.layers = append(l.to.layers, l.Bytes()); return nil }

func newShelf(t *testing.T, each func(add func(f source.File, content io.Reader))) *shelf {
	t.Helper()
	s := &shelf{}
	p := source.NewPacker("6dcb09b5b57875f334f61aebed695e2e4193db5e", func() (io.WriteCloser, error) { return &shelfLayer{to: s}, nil })
	each(func(f source.File, content io.Reader) {
		if err := p.Add(f, content); err != nil {
			t.Fatal(err)
		}
	})
	index, err := p.Close()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := index.Write(&b); err != nil {
		t.Fatal(err)
	}
	s.index = b.Bytes()
	return s
}

func (s *shelf) open(_ context.Context, keep func(source.File) bool) (*source.Artifact, error) {
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return nil, err
	}
	index, err := source.ReadIndex(bytes.NewReader(s.index), keep)
	return &source.Artifact{Index: index, Open: func(n int) (io.ReadCloser, error) {
		data := s.layers[n]
		if s.broken.Add(-1) >= 0 {
			data = data[:len(data)/2]
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	}}, err
}

// commit is a small one.
func commit(t *testing.T) *shelf {
	return newShelf(t, func(add func(source.File, io.Reader)) {
		for _, f := range []struct{ path, mode, text string }{
			{"data/seed.sql", source.ModeFile, "insert"}, {"data/run.sh", source.ModeExecutable, "#!/bin/sh"}, {"data/deep/x", source.ModeFile, "x"},
			{"database/other", source.ModeFile, "not asked for"}, {"top", source.ModeFile, "top"},
		} {
			add(source.File{Path: f.path, Mode: f.mode, Size: int64(len(f.text))}, strings.NewReader(f.text))
		}
		add(source.File{Path: "data/in", Mode: source.ModeLink, Link: "deep/x"}, nil)
		add(source.File{Path: "data/out", Mode: source.ModeLink, Link: "../top"}, nil)
		add(source.File{Path: "data/module", Mode: source.ModeSubmodule}, nil)
	})
}

// bring asks the agent as an init container does.
func (w *world) bring(token string, limit int64, copies ...files.Copy) (string, error) {
	var out bytes.Buffer
	err := files.Bring(w.t.Context(), files.Options{
		Agent: fmt.Sprintf("http://127.0.0.1:%d/", w.port), Token: func() (string, error) { return token, nil }, Copies: copies, Limit: limit,
		Patience: 20 * time.Second, Out: &out,
	})
	return out.String(), err
}

// found lists what is below a directory.
func found(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			got[rel] = "folder"
		case d.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(path)
			got[rel] = "-> " + target
		default:
			data, _ := os.ReadFile(path)
			got[rel] = fmt.Sprintf("%o %s", info.Mode().Perm(), data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInitContainersGetFilesOfTheCommit(t *testing.T) {
	w := newWorld(t)
	w.source = commit(t).open
	w.start()
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	tree, one, all := t.TempDir(), t.TempDir(), t.TempDir()
	w.write(filepath.Join(tree, "deep/left"), "by a process that died")
	out, err := w.bring(secret.Source, 1<<20, files.Copy{Path: "data", Dir: tree}, files.Copy{Path: "data/run.sh", Dir: one}, files.Copy{Path: ".", Dir: all})
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string]string{"seed.sql": "644 insert", "run.sh": "755 #!/bin/sh", "deep": "folder", "deep/x": "644 x", "in": "-> deep/x", "module": "folder"}
	if diff := cmp.Diff(want, found(t, tree)); diff != "" {
		t.Errorf("a directory (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"run.sh": "755 #!/bin/sh"}, found(t, one)); diff != "" {
		t.Errorf("a file (-want +got):\n%s", diff)
	}
	if got := found(t, all); got["top"] != "644 top" || got["data/out"] != "-> ../top" || got["database/other"] == "" {
		t.Errorf("all: %v", got)
	}
	if !strings.Contains(out, "1 links were left out") {
		t.Errorf("it does not say that a link is not there: %s", out)
	}
}

func TestTheSourceIsForItsTokenOnly(t *testing.T) {
	w := newWorld(t)
	w.source = commit(t).open
	w.start()
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	get := func(token, path string) int {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/v1/source?path=%s", w.port, path), nil)
		w.ok(err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		w.ok(err)
		res.Body.Close()
		return res.StatusCode
	}
	for _, token := range []string{"", secret.Wrapper, secret.Conductor, secret.Source + "x"} {
		if code := get(token, "data"); code != http.StatusUnauthorized {
			t.Errorf("the token %.8s is answered %d", token, code)
		}
	}
	for path, want := range map[string]int{
		"data": 200, ".": 200, "data/seed.sql": 200, "dat": 404, "data/none": 404, "..": 400, "../etc/passwd": 400, "data/../top": 400, "/etc/passwd": 400, "": 400, "data/": 400,
		url.QueryEscape("a\xff"): 400,
	} {
		if code := get(secret.Source, path); code != want {
			t.Errorf("path %q is answered %d, want %d", path, code, want)
		}
	}
}

func TestAnAgentWithoutASourceHasNone(t *testing.T) {
	w := newWorld(t)
	w.start()
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	if _, err := w.bring(secret.Source, 1, files.Copy{Path: "data", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "does not have these files") {
		t.Errorf("bring: %v", err)
	}
}

// What is away for a moment is asked for again, from the beginning; what will not come is reported at once.
func TestFilesComeWholeOrNotAtAll(t *testing.T) {
	away := failure.Transientf("", errors.New("refused"), "The registry r.example did not answer")
	denied := failure.Terminalf("", nil, "The registry r.example does not let Conductor see it; it was asked with the credential in /registry/config.json")
	for name, c := range map[string]struct {
		fail   []error
		broken int32
		path   string
		limit  int64
		want   string
	}{
		"away":          {fail: []error{away, away}, path: "data", limit: 1 << 20},
		"broken off":    {broken: 2, path: "data", limit: 1 << 20},
		"denied":        {fail: []error{denied}, path: "data", limit: 1 << 20, want: "does not let Conductor see it; it was asked with the credential"},
		"not there":     {path: "none", limit: 1 << 20, want: "the commit does not have these files"},
		"too much":      {path: "data", limit: 15, want: "more than 15 bytes"},
		"not too much":  {path: "data", limit: 16},
		"not a commits": {path: "../x", limit: 1, want: "refused the request"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := commit(t)
			s.fail = c.fail
			s.broken.Store(c.broken)
			w.source = s.open
			w.start()
			secret, err := w.client.Tokens(w.run)
			w.ok(err)
			dir := t.TempDir()
			out, err := w.bring(secret.Source, c.limit, files.Copy{Path: c.path, Dir: dir})
			if c.want == "" {
				if got := found(t, dir); err != nil || got["run.sh"] != "755 #!/bin/sh" || got["seed.sql"] != "644 insert" {
					t.Errorf("%v, %s: %v", err, out, got)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if tries := strings.Count(out, "trying again"); tries != len(c.fail)+int(c.broken) && c.want == "" {
				t.Errorf("%d tries again: %s", tries, out)
			}
		})
	}
}

// Files of 40 MiB pass through the agent in a few MiB of memory.
func TestTheAgentsMemoryDoesNotGrowWithTheSource(t *testing.T) {
	s := newShelf(t, func(add func(source.File, io.Reader)) {
		add(source.File{Path: "d/big", Mode: source.ModeFile, Size: 40 << 20}, io.LimitReader(rand.NewChaCha8([32]byte{}), 40<<20))
		for i := range 2000 {
			add(source.File{Path: fmt.Sprintf("d/%d", i), Mode: source.ModeFile, Size: 100}, io.LimitReader(rand.NewChaCha8([32]byte{1}), 100))
		}
	})
	w := newWorld(t)
	w.source = s.open
	w.start()
	secret, err := w.client.Tokens(w.run)
	w.ok(err)
	remote := caller{http: directHTTP(), base: fmt.Sprintf("http://127.0.0.1:%d", w.port), token: func() (string, error) { return secret.Source, nil }}
	res, err := remote.do(t.Context(), http.MethodGet, evidence.SourcePath("d"), nil, "")
	w.ok(err)
	defer res.Body.Close()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most, read := m.HeapAlloc, m.HeapAlloc, int64(0)
	for {
		n, err := io.CopyN(io.Discard, res.Body, 1<<20)
		read += n
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
		if errors.Is(err, io.EOF) {
			break
		}
		w.ok(err)
	}
	t.Logf("the heap grew by %d KiB", (most-before)>>10)
	if most-before > 8<<20 || read < 40<<20 {
		t.Errorf("the heap grew by %d MiB over %d bytes", (most-before)>>20, read)
	}
}
