//go:build apiserver

package gauntlet

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// restartPause is how long a replica is away after it has ended.
const restartPause = 300 * time.Millisecond

// replica is one of Conductor's two processes: it is started again whenever it ends, as a kubelet does.
type replica struct {
	name            string
	listen, metrics string
	args, env       []string
	log             *os.File

	mu     sync.Mutex
	cmd    *exec.Cmd
	starts int
	// codes are the exit codes so far; -1 is a signal.
	codes   []int
	stopped bool
	done    chan struct{}
}

// startReplica starts a process of Conductor in a directory of its own.
func startReplica(t *testing.T, name, dir, config string, env []string) *replica {
	t.Helper()
	r := &replica{name: name, listen: freeAddress(t), metrics: freeAddress(t), done: make(chan struct{})}
	checkouts := filepath.Join(dir, name)
	if err := os.MkdirAll(checkouts, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.log, err = os.Create(filepath.Join(dir, name+".log")); err != nil {
		t.Fatal(err)
	}
	r.args = []string{"serve", "--config", config, "--listen", r.listen, "--metrics", r.metrics, "--dir", checkouts}
	r.env = append(append(os.Environ(), "KUBECONFIG="+kubeconfig), env...)
	go r.keepRunning()
	return r
}

// keepRunning starts the process again until the replica is stopped.
func (r *replica) keepRunning() {
	defer close(r.done)
	for {
		r.mu.Lock()
		if r.stopped {
			r.mu.Unlock()
			return
		}
		cmd := exec.CommandContext(context.Background(), binary, r.args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = r.env, r.log, r.log
		err := cmd.Start()
		r.cmd = cmd
		r.starts++
		r.mu.Unlock()
		if err != nil {
			fmt.Fprintln(r.log, "could not start:", err)
			return
		}
		_ = cmd.Wait()
		r.mu.Lock()
		r.codes = append(r.codes, cmd.ProcessState.ExitCode())
		r.mu.Unlock()
		time.Sleep(restartPause)
	}
}

// signal sends a signal to the process, if it runs.
func (r *replica) signal(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil && r.cmd.Process != nil {
		_ = r.cmd.Process.Signal(s)
	}
}

// stop kills the process and does not start it again.
func (r *replica) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.signal(syscall.SIGCONT)
	r.signal(syscall.SIGKILL)
	<-r.done
}

// exits returns how often the process ended by itself, with an exit code.
func (r *replica) exits() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, code := range r.codes {
		if code >= 0 {
			n++
		}
	}
	return n
}

func (r *replica) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd.Process.Pid
}

// isReady reports whether the replica answers its probe.
func (r *replica) isReady() bool {
	status, _ := get("http://" + r.listen + "/readyz")
	return status == http.StatusOK
}

// gauge returns a metric of one line.
func (r *replica) gauge(name string) float64 {
	_, text := get("http://" + r.metrics + "/metrics")
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && (fields[0] == name || strings.HasPrefix(fields[0], name+"{")) {
			n, _ := strconv.ParseFloat(fields[1], 64)
			return n
		}
	}
	return 0
}

// resident returns the process's memory in MiB, now and at most so far.
func (r *replica) resident() (now, most int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid()))
	value := func(key string) int {
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, key+":"); ok {
				n, _ := strconv.Atoi(strings.Fields(rest)[0])
				return n >> 10
			}
		}
		return 0
	}
	return value("VmRSS"), value("VmHWM")
}

// logged returns the lines of the log that contain a text, at most 20.
func (r *replica) logged(text string) (lines []string) {
	data, _ := os.ReadFile(r.log.Name())
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan() && len(lines) < 20; {
		if strings.Contains(scan.Text(), text) {
			lines = append(lines, scan.Text())
		}
	}
	return lines
}

func get(url string) (status int, body string) {
	c := &http.Client{Timeout: 2 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}

// freeAddress returns an address of this machine that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
