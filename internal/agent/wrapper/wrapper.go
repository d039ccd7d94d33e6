// Package wrapper is the process that runs a test in its own container. The test sees what it would see without it: the same
// arguments, environment, user, working directory, streams and signals, and its exit code is the container's. Around it the
// wrapper waits for leave to start, keeps the time limit, reaps orphans when it is PID 1, and hands what the test left behind to
// the stack's agent. It needs nothing of the image: no shell, no user database, no certificates, and no file that can be written.
//
// What differs from a container without it: the test is not PID 1, so that a signal it does not handle ends it, where the
// kernel spares a PID 1 (signal(7), pid_namespaces(7)). SIGURG and SIGPROF do not reach it, since Go's runtime has them for itself.
package wrapper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/w3evolutionsllc/conductor/internal/agent"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Exit codes of the wrapper's own. Every other one is the test's: 128+n when signal n ended it, and as a shell has it 127
// when its program is not there and 126 when that cannot be executed.
const (
	// exitWrapper is when the test was not run.
	exitWrapper = 125
	// exitTimedOut represents the 0 of a test that was ended at its time limit, as timeout(1) has it.
	exitTimedOut = 124
)

// Agent is the stack's agent as the wrapper uses it. An error with agent.ErrRefused is final; after any other the wrapper tries
// again.
type Agent interface {
	// Ready asks for leave to start and waits for it; false is not yet.
	Ready(ctx context.Context, key evidence.AttemptKey, wait time.Duration) (bool, error)
	// PutJUnit and PutArtifacts read a tar as it is made.
	PutJUnit(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error
	PutArtifacts(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error
	// End tells how the test ended, Complete that nothing more comes.
	End(ctx context.Context, attempt evidence.Attempt) error
	Complete(ctx context.Context, attempt evidence.Attempt) error
}

// wrapper is one execution.
type wrapper struct {
	options
	agent   Agent
	signals <-chan os.Signal
	// stderr is the test's, too: the wrapper writes there only when something went wrong.
	stderr io.Writer
}

// Main runs a test and returns the exit code; args are flags and, after --, the test's argv. It is to be called before anything
// else catches signals.
func Main(args []string) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conductor wrap:", err)
		return exitWrapper
	}
	// The limit of the container's memory is the test's.
	debug.SetGCPercent(50)
	reserveThreads()
	w := &wrapper{options: o, agent: agent.NewWrapperClient(o.agentURL, o.tokenFile), signals: catchSignals(), stderr: os.Stderr}
	return w.run()
}

// say writes a line for the reader of the test's log.
func (w *wrapper) say(format string, args ...any) {
	fmt.Fprintf(w.stderr, "conductor: "+format+"\n", args...)
}

func (w *wrapper) run() int {
	if code, err := w.await(); err != nil {
		w.say("the test was not started: %v", err)
		return code
	}
	place := openPlace(w.tokenFile)
	attempt := evidence.Attempt{AttemptKey: w.key}
	code, stopped := w.test(&attempt)
	ctx, cancel := w.untilStopped(stopped)
	defer cancel()
	w.deliver(ctx, place, &attempt)
	return code
}

// test runs the test to its end and returns the wrapper's exit code; stopped says that the container is being stopped.
func (w *wrapper) test(attempt *evidence.Attempt) (code int, stopped bool) {
	before := cpuSeconds(cgroups)
	started := time.Now()
	attempt.StartedAt = started.UTC()
	p, err := start(w.argv)
	if err != nil {
		attempt.ExitCode, attempt.FinishedAt = -1, attempt.StartedAt
		attempt.Problems = append(attempt.Problems, "The test could not be started: "+err.Error()+".")
		w.say("%v", err)
		return startCode(err), false
	}
	end := p.supervise(w.timeout, w.grace, w.signals)
	// The time that went by, whatever was done to the clock.
	attempt.FinishedAt = started.Add(time.Since(started)).UTC().Round(0)
	attempt.Usage = usage(cgroups, before)
	attempt.ExitCode, attempt.TimedOut = exitCode(end.status), end.timedOut
	if end.status.Signaled() {
		attempt.Signal = unix.SignalName(end.status.Signal())
	}
	code = attempt.ExitCode
	if end.timedOut {
		w.say("the test was ended: its time limit of %s was up", words(w.timeout))
		if code == 0 {
			code = exitTimedOut
		}
	}
	return code, end.stopped
}

// exitCode is a process's exit code as a shell has it.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// errStopped is when the container is stopped before the test could start.
var errStopped = errors.New("the container is being stopped")

// await returns when the test may start; with an error and the exit code when it may not.
func (w *wrapper) await() (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	leave := make(chan error, 1)
	go func() { leave <- w.leave(ctx) }()
	for {
		select {
		case sig := <-w.signals:
			if ends(sig) {
				return 128 + int(sig.(syscall.Signal)), errStopped
			}
		case err := <-leave:
			return exitWrapper, err
		}
	}
}

// How the agent is asked for leave: each request waits, and one that hears nothing for long is given up.
const (
	readyWait  = 30 * time.Second
	readyLimit = readyWait + 10*time.Second
)

// leave asks the agent until it may start. Only time without any answer counts against the limit.
func (w *wrapper) leave(ctx context.Context) error {
	heard, pause := time.Now(), firstPause
	for {
		asked := time.Now()
		request, cancel := context.WithTimeout(ctx, readyLimit)
		ok, err := w.agent.Ready(request, w.key, readyWait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ok:
			return nil
		case errors.Is(err, agent.ErrRefused):
			return err
		case err != nil && time.Since(heard) >= w.wait:
			return fmt.Errorf("the stack's agent did not answer for %s: %w", words(w.wait), err)
		case err == nil:
			heard, pause = time.Now(), firstPause
			if heard.Sub(asked) > time.Second {
				continue
			}
		}
		sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

// untilStopped is a context that ends one grace period after the container was told to stop.
func (w *wrapper) untilStopped(stopped bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	if stopped {
		time.AfterFunc(w.grace, cancel)
		return ctx, cancel
	}
	go func() {
		for sig := range w.signals {
			if ends(sig) {
				time.AfterFunc(w.grace, cancel)
			}
		}
	}()
	return ctx, cancel
}
