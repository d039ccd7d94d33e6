package wrapper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/agent"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// maxJUnit bounds the JUnit files of an attempt, in bytes of their archive.
const maxJUnit = 64 << 20

// Pauses between two tries.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// patience is how long the wrapper tries without any progress once the test is over: its container's exit waits for it.
const patience = 20 * time.Second

// busyTime is how long an agent is waited for that answers, and has other uploads first: those of a suite's other shards.
const busyTime = 10 * time.Minute

// maxFailures bounds the tries of one request that gets on and fails all the same.
const maxFailures = 3

// errSilent is when the agent was not reached in time.
var errSilent = errors.New("the stack's agent did not answer")

// sleep waits for a time or the context's end.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// deliver hands over what the test left: JUnit and how it ended first, since the run's result waits for them.
func (w *wrapper) deliver(ctx context.Context, p *place, attempt *evidence.Attempt) {
	c := &courier{patience: patience}
	var names []string
	if attempt.ExitCode >= 0 {
		found, problems := p.find(ctx, "JUnit files", w.junit)
		if w.guess && len(found) == 0 {
			problems = nil
		}
		names = note(attempt)(found, problems)
		if old := p.stale(names, attempt.StartedAt); old != "" {
			attempt.Problems = append(attempt.Problems, old+" is older than this test: it may tell of another one.")
		}
		attempt.JUnit = c.upload(ctx, attempt, "JUnit files", archive{p, names, maxJUnit}, w.agent.PutJUnit)
	}
	_ = c.try(ctx, func(ctx context.Context, _ func()) error { return w.agent.End(ctx, *attempt) })
	if attempt.ExitCode >= 0 {
		names = note(attempt)(p.find(ctx, "artifacts", w.artifacts))
		attempt.Artifacts = c.upload(ctx, attempt, "artifacts", archive{p, names, w.artifactsLimit}, w.agent.PutArtifacts)
	}
	_ = c.try(ctx, func(ctx context.Context, _ func()) error { return w.agent.Complete(ctx, *attempt) })
	if c.failure != nil {
		w.say("not all that is known of this test could be handed over: %v", c.failure)
	}
}

// note takes the problems of a result into an attempt.
func note(attempt *evidence.Attempt) func(files, problems []string) []string {
	return func(files, problems []string) []string {
		attempt.Problems = append(attempt.Problems, problems...)
		return files
	}
}

// courier brings things to the agent until it has not got on for as long as its patience lasts; from then on it brings nothing.
type courier struct {
	patience time.Duration
	// gone says that the patience is used up, failure is the last error that was not overcome.
	gone    bool
	failure error
}

// try sends something until that succeeds, is refused, or the patience is used up. The function says when it gets on.
func (c *courier) try(ctx context.Context, send func(ctx context.Context, progress func()) error) error {
	if c.gone {
		return errSilent
	}
	begun, pause := time.Now(), firstPause
	// last is when it got on, since it began: a request may still read its body when it has failed.
	var last atomic.Int64
	for failures := 0; ; {
		before := last.Load()
		request, cancel := context.WithCancel(ctx)
		stalled := time.AfterFunc(c.patience, cancel)
		err := send(request, func() { last.Store(int64(time.Since(begun))); stalled.Reset(c.patience) })
		stalled.Stop()
		cancel()
		busy := errors.Is(err, agent.ErrBusy) && time.Since(begun) < busyTime
		if last.Load() != before && !busy {
			failures++
		}
		switch {
		case err == nil:
			return nil
		case busy:
			last.Store(int64(time.Since(begun)))
		case errors.Is(err, agent.ErrRefused), failures == maxFailures:
			c.failure = err
			return err
		case ctx.Err() != nil, time.Since(begun)-time.Duration(last.Load()) >= c.patience:
			c.gone, c.failure = true, err
			return err
		}
		sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

// upload sends an archive and returns what was in it; what went wrong becomes problems of the attempt. No files are no archive.
func (c *courier) upload(ctx context.Context, attempt *evidence.Attempt, what string, a archive, put func(context.Context, evidence.AttemptKey, io.Reader) error) []evidence.File {
	if len(a.names) == 0 {
		return nil
	}
	var sent archived
	err := c.try(ctx, func(ctx context.Context, progress func()) error {
		r, w := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			var err error
			sent, err = a.write(w)
			w.CloseWithError(err)
		}()
		// The request must not end before it has failed: its context reaches the reader.
		stop := context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
		err := put(ctx, attempt.AttemptKey, &gauge{r, progress})
		stop()
		r.CloseWithError(io.ErrClosedPipe)
		<-done
		return err
	})
	attempt.Problems = append(attempt.Problems, sent.problems...)
	if err != nil {
		attempt.Problems = append(attempt.Problems, fmt.Sprintf("The %s could not be handed over: %v.", what, err))
		return nil
	}
	return sent.files
}

// gauge tells that a reader gets on.
type gauge struct {
	io.Reader
	progress func()
}

func (g *gauge) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	if n > 0 {
		g.progress()
	}
	return n, err
}
