package files

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseCopy(t *testing.T) {
	for text, want := range map[string]Copy{
		"data=/m/0": {"data", "/m/0"}, "./data/=/m/0": {"data", "/m/0"}, ".=/m": {".", "/m"}, "a=b/c=/m/1": {"a=b/c", "/m/1"}, "a/../b=/m": {"b", "/m"},
	} {
		if got, err := ParseCopy(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "data", "=/m", "data=", "/etc=/m", "../x=/m", "a/../../x=/m", "..=/m"} {
		if got, err := ParseCopy(text); err == nil {
			t.Errorf("%q is taken: %+v", text, got)
		}
	}
}

// bring asks a server for one copy.
func bring(t *testing.T, dir string, patience time.Duration, answer http.HandlerFunc) error {
	t.Helper()
	s := httptest.NewServer(answer)
	defer s.Close()
	return Bring(t.Context(), Options{
		Agent: s.URL, Token: func() (string, error) { return "token\n", nil }, Copies: []Copy{{"data", dir}}, Limit: 1 << 20, Patience: patience,
	})
}

// An agent that is not what it should be writes nothing outside the directory.
func TestNothingIsWrittenOutside(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"upwards":         {{Name: "../evil", Size: 1}},
		"absolute":        {{Name: "/evil", Size: 1}},
		"through a link":  {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/evil", Size: 1}},
		"the root":        {{Name: "./", Typeflag: tar.TypeDir}, {Name: "..", Size: 1}},
		"a link upwards":  {{Name: "evil", Typeflag: tar.TypeSymlink, Linkname: "../../evil"}},
		"a link absolute": {{Name: "evil", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range headers {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			outer := t.TempDir()
			dir := filepath.Join(outer, "in")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			_ = bring(t, dir, time.Second, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b.Bytes()) })
			if list, err := os.ReadDir(outer); err != nil || len(list) != 1 {
				t.Errorf("beside the directory there is %v, %v", list, err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "evil")); err == nil {
				t.Error("a link that leads outside is there")
			}
		})
	}
}

func TestTheAgentHasATime(t *testing.T) {
	began := time.Now()
	var asked atomic.Int32
	err := bring(t, t.TempDir(), 700*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer token" {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		http.Error(w, "The registry r.example did not answer", http.StatusServiceUnavailable)
	})
	want := "the files of data: the stack's agent did not send them within 700ms: the stack's agent answered 503: The registry r.example did not answer"
	if err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
	if asked.Load() < 2 || time.Since(began) > 10*time.Second {
		t.Errorf("asked %d times in %s", asked.Load(), time.Since(began))
	}
}

// What an agent sends without an end is not taken for the whole.
func TestAnAnswerThatBreaksOffIsAskedForAgain(t *testing.T) {
	asked := 0
	dir := t.TempDir()
	err := bring(t, dir, 20*time.Second, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		out := tar.NewWriter(w)
		for i := range 3 {
			_ = out.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d-%d", asked, i), Size: 1, Mode: 0o644})
			_, _ = io.WriteString(out, "x")
		}
		if asked == 1 {
			_ = out.Flush()
			panic(http.ErrAbortHandler)
		}
		_ = out.Close()
	})
	list, _ := os.ReadDir(dir)
	if err != nil || asked != 2 || len(list) != 3 || list[0].Name() != "2-0" {
		t.Errorf("asked %d times, %v: %v", asked, err, list)
	}
}
