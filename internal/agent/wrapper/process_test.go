package wrapper

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestTransparent runs the same program with and without the wrapper: it sees no difference.
func TestTransparent(t *testing.T) {
	a := newAgent(t)
	dir := t.TempDir()
	if err := os.Symlink(probe, filepath.Join(dir, "tool")); err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"absolute":      {probe, "show", "", "a b", "$HOME", "--suite", "--", "-x", "\xff\n'\""},
		"relative":      {"./tool", "show"},
		"found in PATH": {"probe", "show"},
	} {
		t.Run(name, func(t *testing.T) {
			prepare := func(c *exec.Cmd) {
				c.Dir, c.Stdin = dir, strings.NewReader("what it reads\n")
				// In the order of the list; exec.Cmd would tidy it up, so env(1) is asked to.
				c.Env = []string{"PATH=" + dir + ":/nowhere:" + filepath.Dir(probe), "A=1", "EMPTY=", "Z=a=b\nc", "HTTP_PROXY=http://127.0.0.1:1", "GOMAXPROCS=1"}
				c.ExtraFiles = []*os.File{os.Stdin}
			}
			resolved := argv
			if argv[0] == "probe" {
				resolved = slices.Concat([]string{probe}, argv[1:])
			}
			direct := begin(t, resolved[1:], func(c *exec.Cmd) {
				prepare(c)
				c.Path, c.Args, c.SysProcAttr = resolved[0], argv, &syscall.SysProcAttr{Setsid: true}
				if strings.HasPrefix(c.Path, "./") {
					c.Path = filepath.Join(dir, c.Path)
				}
			})
			if code := direct.code(t); code != 0 {
				t.Fatalf("without the wrapper: exit code %d", code)
			}
			w := begin(t, append(flags(t, a.URL), argv...), prepare)
			if code := w.code(t); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			var want, got map[string]any
			if err := json.Unmarshal([]byte(direct.out.String()), &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(w.out.String()), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-without +with the wrapper:\n%s", diff)
			}
			if w.err.String() != "" {
				t.Errorf("standard error: %q", w.err.String())
			}
		})
	}
}

// TestEnvironment keeps what os.Environ would tidy up.
func TestEnvironment(t *testing.T) {
	a := newAgent(t)
	var out strings.Builder
	c := exec.Command(probe)
	c.Stdout = &out
	argv := append([]string{probe}, append(flags(t, a.URL), probe, "show")...)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	env := []string{"TWICE=1", "TWICE=2", "no value", "Z=1", "A=2"}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	pid, err := syscall.ForkExec(probe, argv, &syscall.ProcAttr{Dir: t.TempDir(), Env: env, Files: []uintptr{null.Fd(), write.Fd(), 2}})
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	var got struct{ Environ string }
	if err := json.NewDecoder(read).Decode(&got); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Join(env, "\x00")+"\x00", got.Environ); diff != "" {
		t.Error(diff)
	}
}

// TestThreads counts the threads of a wrapper whose test runs: what it may need later is there, when the test leaves room for none.
func TestThreads(t *testing.T) {
	onlyLinux(t)
	a := newAgent(t)
	w := begin(t, append(flags(t, a.URL), probe, "test", "hang"), nil)
	until(t, "the test is ready", func() bool { return strings.Contains(w.out.String(), "ready") })
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(w.Process.Pid) + "/task")
	if err != nil || len(threads) < spareThreads {
		t.Errorf("%d threads, want at least %d; %v", len(threads), spareThreads, err)
	}
	w.signal(t, syscall.SIGTERM)
	if code := w.code(t); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

// BenchmarkTrue is what the wrapper adds to a test that does nothing: the whole of it, with an agent that answers at once.
func BenchmarkTrue(b *testing.B) {
	a := newAgent(b)
	wrapped := append(flags(b, a.URL), "true")
	for name, argv := range map[string][]string{"direct": {"true"}, "wrapped": append([]string{probe}, wrapped...)} {
		b.Run(name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				begun := time.Now()
				if err := exec.Command(argv[0], argv[1:]...).Run(); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(begun))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms/p50")
		})
	}
}

// TestTerminal gives the wrapper a terminal: the test is in its foreground, and its lines come in order.
func TestTerminal(t *testing.T) {
	onlyLinux(t)
	a := newAgent(t)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer slave.Close()
	if _, err := master.Write([]byte("typed\n\x04")); err != nil {
		t.Fatal(err)
	}
	w := begin(t, append(flags(t, a.URL), probe, "show"), func(c *exec.Cmd) {
		c.Stdin, c.Stderr = slave, slave
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	})
	if code := w.code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var got struct {
		Foreground bool
		Stdin      string
	}
	if err := json.Unmarshal([]byte(w.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Foreground || got.Stdin != "typed\n" {
		t.Errorf("at a terminal: %+v", got)
	}
}

// TestSignals sends every signal that can be caught.
func TestSignals(t *testing.T) {
	a := newAgent(t)
	w := begin(t, append(flags(t, a.URL, "--grace", "1h"), probe, "signals"), nil)
	own := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF, 32, 33, 34}
	for n := syscall.Signal(1); n <= 64; n++ {
		if slices.Contains(own, n) {
			continue
		}
		w.signal(t, n)
		until(t, unix.SignalName(n)+" "+strconv.Itoa(int(n))+" has reached the test", func() bool {
			return slices.Contains(strings.Fields(w.out.String()), strconv.Itoa(int(n)))
		})
	}
	w.signal(t, syscall.SIGTERM)
	if code := w.code(t); code != 7 {
		t.Errorf("exit code %d, want the test's own 7", code)
	}
	if a.complete == nil || a.complete.ExitCode != 7 || a.complete.TimedOut {
		t.Errorf("the agent was told %+v", a.complete)
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"script": 0o755, "text": 0o644, "no-interpreter": 0o755} {
		text := "true\n"
		if name == "no-interpreter" {
			text = "#!/no/such/shell\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		argv   []string
		code   int
		told   int
		signal string
		stderr string
	}{
		{argv: []string{probe, "exit", "0"}},
		{argv: []string{probe, "exit", "1"}, code: 1, told: 1},
		{argv: []string{probe, "exit", "255"}, code: 255, told: 255},
		{argv: []string{probe, "raise", "9"}, code: 137, told: 137, signal: "SIGKILL"},
		{argv: []string{probe, "raise", "15"}, code: 143, told: 143, signal: "SIGTERM"},
		{argv: []string{"no-such-program"}, code: 127, told: -1, stderr: "no-such-program: no such program in the image"},
		{argv: []string{dir + "/none"}, code: 127, told: -1, stderr: "no such program"},
		{argv: []string{dir + "/no-interpreter"}, code: 127, told: -1, stderr: "its interpreter or loader is not in the image"},
		{argv: []string{dir + "/text/x"}, code: 127, told: -1, stderr: "no such program"},
		{argv: []string{dir + "/text"}, code: 126, told: -1, stderr: "not executable"},
		{argv: []string{dir}, code: 126, told: -1, stderr: "not executable"},
		{argv: []string{dir + "/script"}, code: 126, told: -1, stderr: "#!"},
	} {
		t.Run(filepath.Base(strings.Join(c.argv, " ")), func(t *testing.T) {
			a := newAgent(t)
			w := begin(t, append(flags(t, a.URL), c.argv...), nil)
			if code := w.code(t); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if a.ended == nil || a.complete == nil || a.ended.ExitCode != c.told || a.ended.Signal != c.signal {
				t.Fatalf("the agent was told %+v", a.ended)
			}
			if !strings.Contains(w.err.String(), c.stderr) || (c.stderr == "") != (w.err.String() == "") {
				t.Errorf("standard error: %q", w.err.String())
			}
			if c.stderr != "" && !strings.Contains(strings.Join(a.ended.Problems, "\n"), c.stderr) {
				t.Errorf("problems: %q", a.ended.Problems)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	for _, c := range []struct {
		name, do string
		code     int
		told     int
		signal   string
	}{
		{name: "ends at SIGTERM", do: "hang", code: 143, told: 143, signal: "SIGTERM"},
		{name: "is deaf to SIGTERM", do: "deaf", code: 137, told: 137, signal: "SIGKILL"},
		{name: "exits with a code", do: "polite 5", code: 5, told: 5},
		{name: "exits with 0, which is not passed", do: "polite 0", code: 124},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgent(t)
			args := append([]string{"test", "junit.xml=3"}, strings.Fields(c.do)...)
			code, w := wrap(t, a, []string{"--timeout", "500ms", "--grace", "200ms", "--junit", "*.xml"}, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			e := a.complete
			if e == nil || !e.TimedOut || e.ExitCode != c.told || e.Signal != c.signal || e.FinishedAt.Sub(e.StartedAt) < 500*time.Millisecond {
				t.Errorf("the agent was told %+v", e)
			}
			if a.junit["junit.xml"] != 3 {
				t.Errorf("junit: %v", a.junit)
			}
			if want := "conductor: the test reached its time limit of 500ms and was terminated\n"; !strings.HasSuffix(w.err.String(), want) {
				t.Errorf("standard error: %q", w.err.String())
			}
		})
	}
}

// TestStopped is a pod that is deleted: what the test wrote is kept.
func TestStopped(t *testing.T) {
	for do, want := range map[string]int{"hang": 143, "deaf": 137, "polite 6": 6} {
		t.Run(do, func(t *testing.T) {
			a := newAgent(t)
			args := append([]string{probe, "test", "junit.xml=3", "big/one=1000000"}, strings.Fields(do)...)
			w := begin(t, append(flags(t, a.URL, "--grace", "2s", "--junit", "*.xml", "--artifacts", "big/**"), args...), nil)
			w.signal(t, syscall.SIGTERM)
			if code := w.code(t); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if a.junit["junit.xml"] != 3 || a.artifact["big/one"] != 1000000 || a.complete == nil || a.complete.TimedOut {
				t.Errorf("junit %v, artifacts %v, told %+v", a.junit, a.artifact, a.complete)
			}
		})
	}
}

// TestKilled is a test that something else kills, such as the kernel for its memory.
func TestKilled(t *testing.T) {
	a := newAgent(t)
	code, _ := wrap(t, a, []string{"--junit", "*.xml", "--artifacts", "log"}, "test", "junit.xml=3", "log=4", "raise", "9")
	if code != 137 || a.ended.Signal != "SIGKILL" || a.junit["junit.xml"] != 3 || a.artifact["log"] != 4 {
		t.Errorf("exit code %d, told %+v, junit %v, artifacts %v", code, a.ended, a.junit, a.artifact)
	}
	want := []string{"junit", "end", "artifacts", "complete"}
	if diff := cmp.Diff(want, a.calls); diff != "" {
		t.Errorf("the order of calls:\n%s", diff)
	}
	if a.ended.Artifacts != nil || len(a.complete.Artifacts) != 1 || len(a.complete.JUnit) != 1 {
		t.Errorf("files at the end %+v, when complete %+v", a.ended, a.complete)
	}
}
