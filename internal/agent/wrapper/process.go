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
	// exited receives its status; childless is closed when the wrapper has no children left.
	exited    chan syscall.WaitStatus
	childless chan struct{}
}

// start runs a program with the wrapper's own environment and streams. An error is a *startError.
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

// session makes the test the leader of a new session and process group, like the first process of a container, so that signals to its
// group do not reach the wrapper. At a terminal it makes the test the foreground group instead, which keeps the terminal.
func session() *syscall.SysProcAttr {
	if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		return &syscall.SysProcAttr{Setpgid: true, Foreground: group == unix.Getpgrp(), Ctty: 0}
	}
	return &syscall.SysProcAttr{Setsid: true}
}

// reap waits for every child, including orphans of the test, until none is left.
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
	// timedOut means that the test reached its time limit, stopped that the container was being stopped.
	timedOut, stopped bool
}

// afterKill limits the wait for processes that survive SIGKILL: those of another user, or in a system call that hangs.
const afterKill = 5 * time.Second

// supervise forwards signals and enforces the time limit until the test has ended. It then kills what the test left running.
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

// send forwards a signal to the test, if that still runs.
func (p *process) send(sig syscall.Signal) { _ = syscall.Kill(p.pid, sig) }

// clear kills what the test left running, as the kernel does when the first process of a container exits.
func (p *process) clear() {
	if os.Getpid() != 1 {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		return
	}
	for end := time.Now().Add(afterKill); time.Now().Before(end); {
		// -1 addresses every process that the wrapper may signal, except itself. Zombies count until they are reaped.
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
