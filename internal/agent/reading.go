package agent

import (
	"context"
	"errors"
	"time"
)

// reading reads one container's log across broken streams and container restarts.
type reading struct {
	f    *follower
	c    *container
	seen *seen
	at   position
	// pause is the time before the next attempt after an error.
	pause time.Duration
}

// follow reads a container's log until the container will not run again or the context ends.
func (f *follower) follow(ctx context.Context, c *container) {
	at := c.file.place()
	r := &reading{f: f, c: c, at: at, seen: resumed(at), pause: firstPause}
	if c.file.state().Ended {
		c.file.setEnded(false)
		f.changes.bump()
	}
	for ctx.Err() == nil {
		st := c.now()
		if !r.caughtUp(st) {
			r.advance(ctx, st)
		}
		switch {
		case !r.at.Done:
			r.read(ctx, st)
		case st.over:
			if c.release(st) {
				c.file.setEnded(true)
				f.changes.bump()
				return
			}
		default:
			c.wait(ctx, 0)
		}
	}
}

// caughtUp reports whether the log has reached the container run that the status describes.
func (r *reading) caughtUp(st status) bool {
	return r.at.Pod == st.pod && r.at.Restarts == st.restarts
}

// advance moves on to another run of the container: it reads the rest of the previous run's log and notes what is lost.
func (r *reading) advance(ctx context.Context, st status) {
	was, first := r.at, r.at.Pod == ""
	same := was.Pod == st.pod
	missed := st.restarts - was.Restarts - 1
	if first || !same {
		missed = st.restarts
	}
	if same && missed == 0 && !was.Done {
		r.previous(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	r.begin(position{Pod: st.pod, Restarts: st.restarts - 1})
	if !first && !same {
		r.c.file.note(r.at, "the pod was recreated")
	}
	if missed > 1 {
		r.c.file.note(r.at, "logs of earlier runs of this container are lost; runs: %d", missed-1)
	}
	if missed > 0 {
		r.previous(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	r.begin(position{Pod: st.pod, Restarts: st.restarts})
	if st.restarts > 0 {
		r.c.file.note(r.at, "the container was restarted; restarts so far: %d", st.restarts)
		r.f.changes.bump()
	}
}

// begin resets the position to the start of one run's log.
func (r *reading) begin(at position) {
	r.at, r.seen, r.pause = at, &seen{}, firstPause
}

// previous reads the log of the previous run. The kubelet keeps that log until the next restart only, so previous gives up after three
// attempts.
func (r *reading) previous(ctx context.Context) {
	for range 3 {
		err := r.stream(ctx, true, false)
		if err == nil {
			return
		}
		if absent(err) || ctx.Err() != nil {
			break
		}
		r.backOff(ctx)
	}
	if ctx.Err() == nil {
		r.c.file.note(r.at, "the end of the log before this restart is lost")
	}
}

// read reads the current run's log. The log is complete if the container had terminated before the stream was opened.
func (r *reading) read(ctx context.Context, st status) {
	err := r.stream(ctx, false, st.running)
	switch {
	case ctx.Err() != nil:
	case err == nil && !st.running, err != nil && absent(err) && st.over:
		r.at.Done = true
		r.c.file.note(r.at, "")
		r.f.changes.bump()
	case errors.Is(err, errNoLog) && st.over:
		r.at.Done = true
		r.c.file.note(r.at, "the log is lost: %v", err)
		r.f.changes.bump()
	case err == nil:
		r.c.wait(ctx, settle)
	default:
		r.f.log.Warn("the stream of a log broke", "pod", r.c.key.pod, "container", r.c.key.container, "error", err)
		r.backOff(ctx)
	}
}

// backOff pauses after an error, longer each time.
func (r *reading) backOff(ctx context.Context) {
	timer := time.NewTimer(r.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	r.pause = min(2*r.pause, longestPause)
}

// stream reads one stream to its end.
func (r *reading) stream(ctx context.Context, previous, follow bool) error {
	since := r.seen.since()
	in, err := r.f.source.open(ctx, logRequest{Pod: r.c.key.pod, Container: r.c.key.container, Since: since, Previous: previous, Follow: follow})
	if err != nil {
		return err
	}
	defer in.Close()
	resumed := !since.IsZero()
	return copyLines(in, r.seen, func(text []byte, got tally) {
		if resumed && got.firstFresh {
			// After a rotation the kubelet returns only the newest file, which does not contain the last line that was read.
			r.c.file.note(r.at, "the log was rotated while its stream was broken; lines may be missing here")
		}
		resumed = false
		r.at.Last, r.at.Same = r.seen.last, r.seen.same
		r.pause = firstPause
		r.c.file.add(text, r.at)
	})
}
