package wrapper

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is the test.
type process struct {
	pid int
	// exited gets its status; childless is closed when the wrapper has no child left.
	exited    chan syscall.WaitStatus
	childless chan struct{}
}

// start runs a program with everything that the wrapper itself was given. An error is a *startError.
func start(argv []string) (*process, error) {
	path, err := lookUp(argv[0])
	if err != nil {
		return nil, err
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: environment(), Files: []uintptr{0, 1, 2}, Sys: session()})
	if err != nil {
		return nil, startFailure(path, err)
	}
	p := &process{pid: pid, exited: make(chan syscall.WaitStatus, 1), childless: make(chan struct{})}
	go p.reap()
	return p, nil
}

// session makes the test the leader of a session and group of its own, as a container's first process is: what it sends to its
// group does not reach the wrapper. At a terminal it becomes the group in the foreground instead, to keep the terminal.
func session() *syscall.SysProcAttr {
	if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		return &syscall.SysProcAttr{Setpgid: true, Foreground: group == unix.Getpgrp(), Ctty: 0}
	}
	return &syscall.SysProcAttr{Setsid: true}
}

// reap waits for every child, the test and what it orphaned, until there is none.
func (p *process) reap() {
	defer close(p.childless)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return
		case pid == p.pid:
			p.exited <- status
		}
	}
}

// ending is how the test ended.
type ending struct {
	status syscall.WaitStatus
	// timedOut says that its time was up, stopped that the wrapper was told to stop.
	timedOut, stopped bool
}

// afterKill bounds the wait for a process that SIGKILL does not end: one of another user, or in a system call that hangs.
const afterKill = 5 * time.Second

// supervise passes signals on and keeps the time limit until the test and what it left running is gone.
func (p *process) supervise(timeout, grace time.Duration, signals <-chan os.Signal) ending {
	defer p.clear()
	var out ending
	var limit, kill, giveUp <-chan time.Time
	if timeout > 0 {
		limit = time.After(timeout)
	}
	for {
		select {
		case sig := <-signals:
			p.send(sig.(syscall.Signal))
			if ends(sig) && kill == nil {
				out.stopped, kill = true, time.After(grace)
			}
		case <-limit:
			out.timedOut = true
			p.send(syscall.SIGTERM)
			if kill == nil {
				kill = time.After(grace)
			}
		case <-kill:
			p.send(syscall.SIGKILL)
			giveUp = time.After(afterKill)
		case <-giveUp:
			out.status = syscall.WaitStatus(syscall.SIGKILL)
			return out
		case out.status = <-p.exited:
			return out
		}
	}
}

// send passes a signal on to the test. A test that is gone cannot get it, which is no error.
func (p *process) send(sig syscall.Signal) { _ = syscall.Kill(p.pid, sig) }

// clear ends what the test left running, as the kernel does when a container's first process ends.
func (p *process) clear() {
	if os.Getpid() != 1 {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		return
	}
	for end := time.Now().Add(afterKill); time.Now().Before(end); {
		// -1 is every process that the wrapper may signal, but itself. Zombies count until they are reaped.
		if syscall.Kill(-1, syscall.SIGKILL) != nil {
			return
		}
		select {
		case <-p.childless:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
