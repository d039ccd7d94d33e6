package agent

import (
	"context"
	"time"
)

// reading is the way through one container's log, over broken streams and the container's restarts.
type reading struct {
	f    *follower
	c    *container
	seen *seen
	at   position
	// pause is before the next try after an error.
	pause time.Duration
}

// follow reads a container's log until it does not run again, or the context ends.
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
			r.turn(ctx, st)
		}
		switch {
		case !r.at.Done:
			r.read(ctx, st)
		case st.over:
			if c.leave(st) {
				c.file.setEnded(true)
				f.changes.bump()
				return
			}
		default:
			c.wait(ctx, 0)
		}
	}
}

// caughtUp reports whether the log is at the run of the container that the status tells of.
func (r *reading) caughtUp(st status) bool {
	return r.at.Pod == st.pod && r.at.Restarts == st.restarts
}

// turn goes on to another run of the container: it reads what is left of the one before, and says what is lost.
func (r *reading) turn(ctx context.Context, st status) {
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
		r.c.file.note(r.at, "the pod was made anew")
	}
	if missed > 1 {
		r.c.file.note(r.at, "the container has run %d times more, whose logs are gone", missed-1)
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
	}
}

// begin is at the start of one run's log.
func (r *reading) begin(at position) {
	r.at, r.seen, r.pause = at, &seen{}, firstPause
}

// previous reads the log of the run before the present one. It is there until the next restart, so that it is not waited for.
func (r *reading) previous(ctx context.Context) {
	for range 3 {
		err := r.stream(ctx, true, false)
		if err == nil {
			return
		}
		if absent(err) || ctx.Err() != nil {
			break
		}
		r.rest(ctx)
	}
	if ctx.Err() == nil {
		r.c.file.note(r.at, "the end of the log before this restart is gone")
	}
}

// read reads the present run's log as far as it goes. It is at its end when the container had ended before the stream was opened.
func (r *reading) read(ctx context.Context, st status) {
	err := r.stream(ctx, false, st.running)
	switch {
	case ctx.Err() != nil:
	case err == nil && !st.running, err != nil && absent(err) && st.over:
		r.at.Done = true
		r.c.file.note(r.at, "")
	case err == nil:
		r.c.wait(ctx, settle)
	default:
		r.f.log.Warn("the stream of a log broke", "pod", r.c.key.pod, "container", r.c.key.container, "error", err)
		r.rest(ctx)
	}
}

// rest pauses after an error, longer each time.
func (r *reading) rest(ctx context.Context) {
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
			// The kubelet reads the newest file only when it is asked again, and the last line that was read is not in it.
			r.c.file.note(r.at, "the log was rotated while its stream was broken; lines may be missing here")
		}
		resumed = false
		r.at.Last, r.at.Same = r.seen.last, r.seen.same
		r.pause = firstPause
		r.c.file.add(text, r.at)
	})
}
