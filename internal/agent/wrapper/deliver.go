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

// maxJUnit limits the archive of an attempt's test reports, in bytes.
const maxJUnit = 64 << 20

// Pauses between two attempts.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// stallTimeout is how long the wrapper keeps trying without progress after the test. Its container does not exit before.
const stallTimeout = 20 * time.Second

// busyTimeout is how long the wrapper waits for an agent that is busy with the uploads of other shards.
const busyTimeout = 10 * time.Minute

// maxFailures is how often one request may make progress and fail all the same.
const maxFailures = 3

// errUnreachable means that the agent could not be reached in time.
var errUnreachable = errors.New("the stack's agent did not answer")

// sleep waits until d has passed or the context ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// deliver hands over the results of the test. Test reports and the exit status go first, because the run's result needs them.
func (w *wrapper) deliver(ctx context.Context, p *place, attempt *evidence.Attempt) {
	c := &courier{stallTimeout: stallTimeout}
	var files []match
	if attempt.ExitCode >= 0 {
		found, problems := p.find(ctx, "test reports", w.junit)
		if w.guess && len(found) == 0 {
			problems = nil
		}
		files = note(attempt)(found, problems)
		if old := stale(files, attempt.StartedAt); old != "" {
			attempt.Problems = append(attempt.Problems, old+" is older than this test: it may come from an earlier one.")
		}
		attempt.JUnit = c.upload(ctx, attempt, "test reports", archive{files, maxJUnit}, w.agent.PutJUnit)
	}
	_ = c.try(ctx, func(ctx context.Context, _ func()) error { return w.agent.End(ctx, *attempt) })
	if attempt.ExitCode >= 0 {
		files = note(attempt)(p.find(ctx, "artifacts", w.artifacts))
		attempt.Artifacts = c.upload(ctx, attempt, "artifacts", archive{files, w.artifactsLimit}, w.agent.PutArtifacts)
	}
	_ = c.try(ctx, func(ctx context.Context, _ func()) error { return w.agent.Complete(ctx, *attempt) })
	if c.failure != nil {
		w.logf("some results of this test could not be sent to the stack's agent: %v", c.failure)
	}
}

// note returns a function that adds problems to an attempt and returns the files.
func note(attempt *evidence.Attempt) func(files []match, problems []string) []match {
	return func(files []match, problems []string) []match {
		attempt.Problems = append(attempt.Problems, problems...)
		return files
	}
}

// courier sends data to the agent. It stops for good after a period of stallTimeout without progress.
type courier struct {
	stallTimeout time.Duration
	// gone means that the timeout has expired. failure is the last error that a retry did not resolve.
	gone    bool
	failure error
}

// try calls send until it succeeds, is refused, or times out. send calls progress whenever it makes progress.
func (c *courier) try(ctx context.Context, send func(ctx context.Context, progress func()) error) error {
	if c.gone {
		return errUnreachable
	}
	begun, pause := time.Now(), firstPause
	// last is the time of the last progress since begun. It is atomic because a failed request may still read its body.
	var last atomic.Int64
	for failures := 0; ; {
		before := last.Load()
		request, cancel := context.WithCancel(ctx)
		stalled := time.AfterFunc(c.stallTimeout, cancel)
		err := send(request, func() { last.Store(int64(time.Since(begun))); stalled.Reset(c.stallTimeout) })
		stalled.Stop()
		cancel()
		busy := errors.Is(err, agent.ErrBusy) && time.Since(begun) < busyTimeout
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
		case ctx.Err() != nil, time.Since(begun)-time.Duration(last.Load()) >= c.stallTimeout:
			c.gone, c.failure = true, err
			return err
		}
		sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

// upload sends an archive and returns the files in it. It adds a problem to the attempt for everything that failed. Without files it
// sends nothing.
func (c *courier) upload(ctx context.Context, attempt *evidence.Attempt, what string, a archive, put func(context.Context, evidence.AttemptKey, io.Reader) error) []evidence.File {
	if len(a.files) == 0 {
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
		// Close the pipe when the context ends, so that the request fails instead of waiting for more data.
		stop := context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
		err := put(ctx, attempt.AttemptKey, &gauge{r, progress})
		stop()
		r.CloseWithError(io.ErrClosedPipe)
		<-done
		return err
	})
	attempt.Problems = append(attempt.Problems, sent.problems...)
	if err != nil {
		attempt.Problems = append(attempt.Problems, fmt.Sprintf("The %s could not be sent to the stack's agent: %v.", what, err))
		return nil
	}
	return sent.files
}

// gauge reports progress on each read.
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
