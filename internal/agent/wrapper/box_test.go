package wrapper

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The users of the boxes. No one else has processes of limited's.
const (
	somebody = 1000
	limited  = 61234
)

// boxed starts the wrapper as a container does: PID 1 of a namespace, in a read-only root that holds nothing but the program,
// /proc and a directory for the test to write to, as a user without a name.
func boxed(t *testing.T, a *stackAgent, user, processes int, more []string, args ...string) *wrapped {
	onlyLinux(t)
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "work"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(root, "work"), user, user); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "token"), []byte(token), 0o444); err != nil {
		t.Fatal(err)
	}
	copyProbe(t, filepath.Join(root, "bin", "probe"))
	argv := slices.Concat([]string{"box", root, strconv.Itoa(user), strconv.Itoa(processes), "/bin/probe"},
		flags(t, a.URL, append([]string{"--token-file", "/bin/token"}, more...)...), []string{"probe"}, args)
	return begin(t, argv, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	})
}

func copyProbe(t *testing.T, to string) {
	from, err := os.Open(probe)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// processesOf counts the processes of a user.
func processesOf(t *testing.T, user int) (n int) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if info, err := os.Stat(p); err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == user {
			n++
		}
	}
	return n
}

// TestContainer runs a test in a box: what it orphans is reaped, and what it leaves running is ended.
func TestContainer(t *testing.T) {
	a := newAgent(t)
	w := boxed(t, a, somebody, 0, []string{"--junit", "junit.xml"}, "test", "junit.xml=5", "orphans")
	if code := w.code(t); code != 3 {
		t.Fatalf("exit code %d, want the test's own 3", code)
	}
	if out := w.out.String(); !strings.HasPrefix(out, "pid ") || !strings.HasSuffix(out, "parent 1\n") {
		t.Errorf("it says %q", out)
	}
	if a.junit["junit.xml"] != 5 || a.complete == nil || len(a.complete.Problems) > 0 {
		t.Errorf("junit %v, told %+v", a.junit, a.complete)
	}
}

// TestContainerCleared ends what a test left running before its files are read, and not with the container only.
func TestContainerCleared(t *testing.T) {
	a := newAgent(t)
	running := -1
	a.atComplete = func() { running = processesOf(t, limited) }
	w := boxed(t, a, limited, 0, nil, "test", "x=1", "orphans")
	if code := w.code(t); code != 3 {
		t.Fatalf("exit code %d", code)
	}
	if running != 1 {
		t.Errorf("%d processes when the files were read, want the wrapper alone", running)
	}
}

// TestForkBomb leaves the wrapper no thread and no process to make, and it ends the test all the same.
func TestForkBomb(t *testing.T) {
	a := newAgent(t)
	w := boxed(t, a, limited, 60, []string{"--timeout", "1500ms", "--grace", "300ms", "--junit", "*.xml", "--artifacts", "a*"},
		"test", "junit.xml=5", "a1=1000000", "a2=2000000", "bomb")
	if code := w.code(t); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
	if a.complete == nil || !a.complete.TimedOut || a.junit["junit.xml"] != 5 || a.artifact["a2"] != 2000000 {
		t.Errorf("junit %v, artifacts %v, told %+v", a.junit, a.artifact, a.complete)
	}
	if strings.Contains(w.err.String(), "goroutine 1 [running]:\ngithub.com/w3evolutionsllc/conductor/internal/agent/wrapper") {
		t.Error("the wrapper's runtime has failed")
	}
	if n := processesOf(t, limited); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// TestMemory hands over 200 MiB of artifacts: the wrapper's memory does not grow with them.
func TestMemory(t *testing.T) {
	peaks := map[int]int64{}
	for _, mebibytes := range []int{1, 200} {
		a := newAgent(t)
		var w *wrapped
		started := make(chan struct{})
		a.atComplete = func() { <-started; peaks[mebibytes] = peak(t, w.Process.Pid) }
		args := []string{probe, "test"}
		for n := range 4 {
			args = append(args, fmt.Sprintf("big/%d=%d", n, mebibytes<<20/4))
		}
		w = begin(t, append(flags(t, a.URL, "--artifacts", "big/*"), append(args, "exit", "0")...), nil)
		close(started)
		if code := w.code(t); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		var sum int64
		for _, size := range a.artifact {
			sum += size
		}
		if sum != int64(mebibytes)<<20 {
			t.Errorf("%d bytes arrived: %v", sum, a.complete)
		}
	}
	t.Logf("peak memory in MiB: %d with 1 MiB, %d with 200 MiB", peaks[1]>>20, peaks[200]>>20)
	if peaks[200] > 64<<20 || peaks[200] > peaks[1]+16<<20 {
		t.Errorf("the wrapper used %d bytes for 200 MiB and %d for 1 MiB", peaks[200], peaks[1])
	}
}
