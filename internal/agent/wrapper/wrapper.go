// Package wrapper is the process that runs a test in its own container. The test runs with the image's arguments, environment, user,
// working directory, streams and signals, and its exit code becomes the container's. The wrapper waits for permission to start,
// enforces the time limit, reaps orphans if it is PID 1, and sends the results to the stack's agent. It requires nothing of the image:
// no shell, no user database, no certificates and no writable files.
//
// Two things differ from a container without the wrapper. The test is not PID 1, so a signal that it does not handle ends it, which the
// kernel prevents for PID 1 (signal(7), pid_namespaces(7)). SIGURG and SIGPROF do not reach the test, because Go's runtime uses them.
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
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Exit codes of the wrapper itself. All others come from the test: 128+n if signal n ended it and, as in a shell, 127 if its program
// was not found and 126 if it could not be executed.
const (
	// exitWrapper means that the test was not run.
	exitWrapper = 125
	// exitTimedOut replaces exit code 0 of a test that reached its time limit, as in timeout(1).
	exitTimedOut = 124
)

// Agent is the stack's agent. An error that wraps agent.ErrRefused is final; the wrapper retries after any other.
type Agent interface {
	// Ready asks for permission to start and waits for it; false means not yet.
	Ready(ctx context.Context, key evidence.AttemptKey, wait time.Duration) (bool, error)
	// PutJUnit, for test reports of all formats, and PutArtifacts read a tar while it is being written.
	PutJUnit(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error
	PutArtifacts(ctx context.Context, key evidence.AttemptKey, tar io.Reader) error
	// End reports how the test ended, Complete that the wrapper is finished.
	End(ctx context.Context, attempt evidence.Attempt) error
	Complete(ctx context.Context, attempt evidence.Attempt) error
}

// wrapper is one execution.
type wrapper struct {
	options
	agent   Agent
	signals <-chan os.Signal
	// stderr is shared with the test: the wrapper writes only errors to it.
	stderr io.Writer
}

// Main runs a test and returns the exit code. args are flags and, after --, the test's argv. Call it before anything else catches
// signals.
func Main(args []string) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conductor wrap:", err)
		return exitWrapper
	}
	// Collect garbage early: the container's memory limit applies to the test and the wrapper together.
	debug.SetGCPercent(50)
	reserveThreads()
	w := &wrapper{options: o, agent: agent.NewWrapperClient(o.agentURL, o.tokenFile), signals: catchSignals(), stderr: os.Stderr}
	return w.run()
}

// logf writes a line to the test's log.
func (w *wrapper) logf(format string, args ...any) {
	fmt.Fprintf(w.stderr, "conductor: "+format+"\n", args...)
}

func (w *wrapper) run() int {
	if code, err := w.await(); err != nil {
		w.logf("the test was not started: %v", err)
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

// test runs the test and returns the wrapper's exit code; stopped means that the container is being stopped.
func (w *wrapper) test(attempt *evidence.Attempt) (code int, stopped bool) {
	before := cpuSeconds(cgroups)
	started := time.Now()
	attempt.StartedAt = started.UTC()
	p, err := start(w.argv)
	if err != nil {
		attempt.ExitCode, attempt.FinishedAt = -1, attempt.StartedAt
		attempt.Problems = append(attempt.Problems, "The test could not be started: "+err.Error()+".")
		w.logf("%v", err)
		return startCode(err), false
	}
	end := p.supervise(w.timeout, w.grace, w.signals)
	// Use the monotonic clock, so that clock changes do not distort the duration.
	attempt.FinishedAt = started.Add(time.Since(started)).UTC().Round(0)
	attempt.Usage = usage(cgroups, before)
	attempt.ExitCode, attempt.TimedOut = exitCode(end.status), end.timedOut
	if end.status.Signaled() {
		attempt.Signal = unix.SignalName(end.status.Signal())
	}
	code = attempt.ExitCode
	if end.timedOut {
		w.logf("the test reached its time limit of %s and was terminated", text.Duration(w.timeout))
		if code == 0 {
			code = exitTimedOut
		}
	}
	return code, end.stopped
}

// exitCode returns a process's exit code as a shell reports it.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// errStopped means that the container was stopped before the test could start.
var errStopped = errors.New("the container is being stopped")

// await waits until the test may start. If it may not, await returns the exit code and an error.
func (w *wrapper) await() (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	allowed := make(chan error, 1)
	go func() { allowed <- w.askToStart(ctx) }()
	for {
		select {
		case sig := <-w.signals:
			if ends(sig) {
				return 128 + int(sig.(syscall.Signal)), errStopped
			}
		case err := <-allowed:
			return exitWrapper, err
		}
	}
}

// readyWait is how long the agent may hold one request for permission, readyLimit when the wrapper gives up on it.
const (
	readyWait  = 30 * time.Second
	readyLimit = readyWait + 10*time.Second
)

// askToStart asks the agent until the test may start. Only time without a response counts against the limit.
func (w *wrapper) askToStart(ctx context.Context) error {
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
			return fmt.Errorf("the stack's agent did not answer for %s: %w", text.Duration(w.wait), err)
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

// untilStopped returns a context that ends one grace period after the container was asked to stop.
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
