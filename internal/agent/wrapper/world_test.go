package wrapper

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// probe is the path of the program in testdata/probe: the wrapper as a process of its own, and what it runs.
var probe string

func TestMain(m *testing.M) {
	// Under nohup children would inherit that SIGHUP is ignored; a signal that is handled here has its default there.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "probe")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			panic(err)
		}
		probe = filepath.Join(dir, "bin", "probe")
		build := exec.Command("go", "build", "-o", probe, "./testdata/probe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build the probe: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// The probe is built from this package and from source. Go's cache of test results tracks only what is linked into the test and the
// files that it opens, so both are referenced here.
var linked = Main

const source = "testdata/probe/main.go"

// testPatience is how long a test waits for something that must happen.
const testPatience = time.Minute

// until waits for something to become true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(testPatience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// stackAgent is an agent that records its requests.
type stackAgent struct {
	*httptest.Server
	// ready returns the status for a request for permission to start; nil permits it.
	ready func(n int) int
	// atComplete is called before the last response.
	atComplete func()

	mu              sync.Mutex
	calls           []string
	asked           int
	junit, artifact map[string]int64
	ended, complete *evidence.Attempt
}

const token = "the wrapper's token"

func newAgent(t testing.TB) *stackAgent {
	a := &stackAgent{}
	mux := http.NewServeMux()
	const at = " /v1/attempts/api/2/3/"
	mux.HandleFunc("POST"+at+"ready", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		a.asked++
		n := a.asked
		a.mu.Unlock()
		if a.ready != nil {
			w.WriteHeader(a.ready(n))
		}
	})
	mux.HandleFunc("PUT"+at+"junit", func(w http.ResponseWriter, r *http.Request) { a.take(t, w, r.Body, &a.junit) })
	mux.HandleFunc("PUT"+at+"artifacts", func(w http.ResponseWriter, r *http.Request) { a.take(t, w, r.Body, &a.artifact) })
	mux.HandleFunc("POST"+at+"end", func(_ http.ResponseWriter, r *http.Request) { a.receive(t, r.Body, &a.ended) })
	mux.HandleFunc("POST"+at+"complete", func(_ http.ResponseWriter, r *http.Request) {
		if a.atComplete != nil {
			a.atComplete()
		}
		a.receive(t, r.Body, &a.complete)
	})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s %s without the token", r.Method, r.URL)
		}
		if what := filepath.Base(r.URL.Path); what != "ready" {
			a.mu.Lock()
			a.calls = append(a.calls, what)
			a.mu.Unlock()
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// take reads an archive and keeps the sizes of its files.
func (a *stackAgent) take(t testing.TB, w http.ResponseWriter, body io.Reader, into *map[string]int64) {
	files := map[string]int64{}
	for r := tar.NewReader(body); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && h.Typeflag != tar.TypeReg {
			err = fmt.Errorf("%s is no regular file", h.Name)
		}
		var n int64
		if err == nil {
			n, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			t.Errorf("read the archive: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		files[h.Name] = n
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	*into = files
}

func (a *stackAgent) receive(t testing.TB, body io.Reader, into **evidence.Attempt) {
	var attempt evidence.Attempt
	if err := json.NewDecoder(body).Decode(&attempt); err != nil {
		t.Errorf("read the attempt: %v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	*into = &attempt
}

// wrapped is one execution of the wrapper as a process.
type wrapped struct {
	*exec.Cmd
	out, err lines
}

// lines is what a process wrote so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// flags are the wrapper's, for an agent.
func flags(t testing.TB, url string, more ...string) []string {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return slices.Concat([]string{"wrap", "--agent", url, "--token-file", file, "--suite", "api", "--shard", "2", "--number", "3"}, more, []string{"--"})
}

// begin starts a program in a directory of its own; the caller may change the command before.
func begin(t *testing.T, args []string, change func(c *exec.Cmd)) *wrapped {
	t.Helper()
	if _, err := os.Stat(source); err != nil || linked == nil {
		t.Fatal(err)
	}
	w := &wrapped{Cmd: exec.Command(probe, args...)}
	w.Dir, w.Stdout, w.Stderr, w.WaitDelay = t.TempDir(), &w.out, &w.err, time.Second
	if change != nil {
		change(w.Cmd)
	}
	if err := w.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) && w.SysProcAttr != nil {
			t.Skip("namespaces need root")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The wrapper ends the test, when it is asked to.
		if w.ProcessState == nil {
			_ = w.Process.Signal(syscall.SIGTERM)
			w.code(t)
		}
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", w.out.String(), w.err.String())
		}
	})
	return w
}

// code waits for the end and returns the exit code.
func (w *wrapped) code(t *testing.T) int {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.Wait() }()
	select {
	case <-done:
		return w.ProcessState.ExitCode()
	case <-time.After(testPatience):
		_ = w.Process.Kill()
		<-done
		t.Fatal("it does not end")
		return 0
	}
}

// wrap runs a test of the probe to its end.
func wrap(t *testing.T, a *stackAgent, more []string, args ...string) (int, *wrapped) {
	t.Helper()
	w := begin(t, slices.Concat(flags(t, a.URL, more...), []string{probe}, args), nil)
	return w.code(t), w
}

// signal sends a signal to the wrapper once the test has printed that it is ready.
func (w *wrapped) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	until(t, "the test is ready", func() bool { return strings.Contains(w.out.String(), "ready") })
	if err := w.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// peak is the most memory that a process had, in bytes.
func peak(t *testing.T, pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(status)) {
		var n int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			return n << 10
		}
	}
	t.Error("no VmHWM")
	return 0
}

func onlyLinux(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("this needs Linux and root")
	}
}
