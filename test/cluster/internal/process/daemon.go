package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var errNoDevice = unix.ENODEV // a cgroup that vanished while it was read

// Daemon is a program that runs as long as the cluster does.
type Daemon struct {
	Name string
	Args []string // Args[0] is a path
}

// environment is all that a daemon gets: a proxy or a setting in the user's
// own must not reach it.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}

// enter puts the shell into the cgroup, notes its pid with the time it
// started (so that no one else's process is taken for it later), and becomes
// the daemon. $1 cgroup.procs, $2 pid file, then the daemon's arguments.
const enter = `set -e
echo $$ >"$1"
read -r stat </proc/$$/stat
echo "$stat" >"$2.tmp"
mv "$2.tmp" "$2"
shift 2
exec "$@"`

// Start starts the daemon unless it runs, in a session of its own.
func (g Group) Start(d Daemon) error {
	if g.Running(d.Name) {
		return nil
	}
	procs, err := g.daemonsProcs()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(g.LogFile(d.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", enter, "sh", procs, g.pidFile(d.Name)}, d.Args...)...)
	cmd.Env = environment
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = os.Remove(g.pidFile(d.Name))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.Name, err)
	}
	go func() { _ = cmd.Wait() }() // an early end must not leave a zombie that looks alive
	return g.awaitPidFile(d.Name)
}

// awaitPidFile waits until the daemon is noted down, so that Running is true
// of what Start has started.
func (g Group) awaitPidFile(name string) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(g.pidFile(name)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("start %s: it did not note down its pid; see %s", name, g.LogFile(name))
}

// Running reports whether the daemon is alive.
func (g Group) Running(name string) bool {
	_, ok := g.Pid(name)
	return ok
}

// Pid answers the pid of a running daemon.
func (g Group) Pid(name string) (int, bool) {
	noted, err := os.ReadFile(g.pidFile(name))
	if err != nil {
		return 0, false
	}
	pid, born, _ := parseStat(string(noted))
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, now, state := parseStat(string(text))
	return pid, pid > 0 && born == now && state != "Z" && state != "X"
}

// Daemons answers the names of all daemons that were started, running or not.
func (g Group) Daemons() ([]string, error) {
	entries, err := os.ReadDir(g.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".stat"); ok {
			names = append(names, name)
		}
	}
	return names, err
}

// LogFile is where a daemon's output goes.
func (g Group) LogFile(name string) string { return filepath.Join(g.Logs, name+".log") }

func (g Group) pidFile(name string) string { return filepath.Join(g.Dir, name+".stat") }

// parseStat reads pid, start time and state out of /proc/<pid>/stat
// (proc_pid_stat(5): fields 1, 22 and 3).
func parseStat(text string) (pid int, born, state string) {
	open, closed := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || closed < open {
		return 0, "", ""
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(text[:open]))
	rest := strings.Fields(text[closed+1:])
	if len(rest) < 20 {
		return 0, "", ""
	}
	return pid, rest[19], rest[0]
}

func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, _, state := parseStat(string(text))
	return state != "Z" && state != "X"
}

// Stop ends one daemon at once. None of them has anything to save.
func (g Group) Stop(ctx context.Context, name string) error {
	for {
		pid, ok := g.Pid(name)
		if !ok {
			return nil
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
	}
}

// KillAll ends every process of the group and waits until none is left.
func (g Group) KillAll(ctx context.Context) error {
	for {
		pids, err := g.Members()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%d processes of %s do not end: %v: %w", len(pids), g.Name, pids, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
