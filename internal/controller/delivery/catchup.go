package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
)

const (
	// CatchUpEvery is the interval of CatchUp if the webhook receives deliveries itself.
	CatchUpEvery = time.Minute
	// firstWindow is how far back the log is read if there is no point yet.
	firstWindow = time.Hour
	// overlap is how much of the log before the point is read again: an attempt is listed when it has ended, after up to 30 s.
	overlap = time.Minute
	// logWindow is how long GitHub keeps its log.
	logWindow = 3 * 24 * time.Hour
	// giveUp is how long a payload is retried that GitHub does not return, while it returns others.
	giveUp = 30 * time.Minute
	// saveEvery is how many events are processed before the point is stored.
	saveEvery = 25
	// readAtEvery is how often it is stored that the log was read and had nothing new.
	readAtEvery = 10 * time.Minute
	maxBackoff  = 5 * time.Minute
)

// CatchUp reads GitHub's log of deliveries and takes those that the webhook did not receive: GitHub does not retry them. It reads back to a
// stored point, which it moves only past what is stored or needs no action. With Pull it takes all deliveries, so that Conductor needs no
// address that GitHub can reach.
type CatchUp struct {
	GitHub DeliveryLog
	Intake Intake
	Client client.Client
	// Live reads the stored point from the API server, not from a cache.
	Live      client.Reader
	Namespace string
	// Every is the interval at which the log is read.
	Every time.Duration
	// Pull means that no webhook receives deliveries.
	Pull bool
	// Metrics may be nil.
	Metrics *CatchUpMetrics
	Log     *slog.Logger
	Now     func() time.Time

	// examined are the events near the point that needed no Delivery, failing are those whose payload could not be read since a time.
	examined map[string]time.Time
	failing  map[string]time.Time
	// readAt is when a payload was last read.
	readAt time.Time
	usage  usage
	done   atomic.Bool
	init   sync.Once
}

// Start reads the log until the context ends. It runs on the leader only.
func (c *CatchUp) Start(ctx context.Context) error {
	c.Log.Info("reading GitHub's delivery log", "every", c.Every.String(), "callsPerHour", int(time.Hour/c.Every), "pull", c.Pull)
	failed := 0
	for {
		wait := c.Every
		if err := c.Pass(ctx); err != nil && ctx.Err() == nil {
			failed++
			wait = backoff(c.Every, failed, err)
			c.Log.Warn("could not read GitHub's delivery log to its end", "error", err, "retryIn", wait.String())
		} else {
			failed = 0
		}
		c.done.Store(true)
		c.usage.report(c.Log, c.Now())
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// backoff returns the wait after a number of passes that failed: longer each time, or as long as GitHub requires.
func backoff(every time.Duration, failed int, err error) time.Duration {
	if f := failure.Of(err); f.Kind == failure.Waiting {
		return max(every, f.After)
	}
	return max(every, min(maxBackoff, every<<min(failed, 10)))
}

// Ready reports whether the log was read since this process became the leader. Until then, comments that arrive may be newer than others
// of their issue that are only in the log.
func (c *CatchUp) Ready() bool { return c.done.Load() }

// Pass reads the log once. After an error the next pass continues behind what was processed.
func (c *CatchUp) Pass(ctx context.Context) error {
	c.init.Do(func() { c.examined, c.failing = map[string]time.Time{}, map[string]time.Time{} })
	s, err := readState(ctx, c.Live, c.Namespace)
	if err != nil {
		return err
	}
	if s.point.IsZero() { // Store it at once: the window must not move as long as the log cannot be read.
		s.point, s.readAt = c.Now().Add(-firstWindow).UTC().Truncate(time.Second), c.Now()
		if err := c.save(ctx, &s); err != nil {
			return err
		}
	}
	gap := c.Now().Sub(s.readAt)
	c.Metrics.behind(gap)
	if gap > logWindow {
		c.Log.Error("GitHub's delivery log does not reach back far enough: what failed before its beginning is lost", "gap", gap.String())
	}
	found, err := readLog(ctx, c.GitHub, s.point.Add(-overlap), s.replay)
	c.count(found.requests)
	if err != nil {
		return err
	}
	if err := c.process(ctx, found.events, &s); err != nil {
		return err
	}
	if err := c.finish(ctx, found, &s); err != nil {
		return err
	}
	c.Metrics.behind(0)
	return nil
}

// finish stores that the log was read to its end.
func (c *CatchUp) finish(ctx context.Context, found hookLog, s *state) error {
	if found.newest.After(s.point) {
		s.point = found.newest
	}
	c.forget(s.point)
	if now := c.Now(); !s.point.Equal(s.stored) || now.Sub(s.readAt) > readAtEvery {
		s.readAt = now
		if err := c.save(ctx, s); err != nil {
			return err
		}
	}
	if len(s.replay) == 0 {
		return nil
	}
	c.reportReplay(s.replay, found.events)
	return dropReplay(ctx, c.Client, c.Namespace, *s)
}

// process takes the events in their order. It moves the point past those that were processed, and stores it at intervals. One event whose
// payload GitHub does not return keeps the point back, and not the others from being taken; a second one ends the pass.
func (c *CatchUp) process(ctx context.Context, events []*logged, s *state) error {
	var held error
	unsaved := 0
	for _, e := range events {
		err := c.one(ctx, e)
		if errors.Is(err, errPayload) && held == nil {
			held = err
			continue
		}
		if err == nil && held == nil {
			unsaved++
			if e.at.After(s.point) {
				s.point = e.at.Truncate(time.Second)
			}
		}
		if err != nil && unsaved > 0 || unsaved == saveEvery {
			err = errors.Join(err, c.save(ctx, s))
			unsaved = 0
		}
		if err != nil {
			return err
		}
	}
	if held != nil && unsaved > 0 {
		return errors.Join(held, c.save(ctx, s))
	}
	return held
}

// save stores the point.
func (c *CatchUp) save(ctx context.Context, s *state) error {
	err := applyState(ctx, c.Client, c.Namespace, "conductor", map[string]string{
		keyPoint: s.point.UTC().Format(time.RFC3339), keyReadAt: s.readAt.UTC().Format(time.RFC3339),
	})
	if err == nil {
		s.stored = s.point
	}
	return err
}

// one takes an event unless Conductor has received it.
func (c *CatchUp) one(ctx context.Context, e *logged) error {
	if !e.isWanted && (e.isReceived && !c.Pull || !c.examined[e.guid].IsZero()) {
		return nil
	}
	isStored, err := c.isStored(ctx, e)
	if err != nil || isStored && !e.isWanted {
		return err
	}
	body, err := c.payload(ctx, e)
	if err != nil || body == nil { // Without an error, the event is settled.
		return err
	}
	word, err := c.Intake.Take(ctx, e.guid, e.event, e.at, body)
	if err != nil {
		return fmt.Errorf("take delivery %s: %w", e.guid, err)
	}
	faults.At(faults.Taken)
	c.settled(e, word)
	c.usage.taken(c.Now().Sub(e.at))
	return nil
}

// settled notes what became of an event.
func (c *CatchUp) settled(e *logged, word string) {
	c.examined[e.guid] = e.last
	delete(c.failing, e.guid)
	c.Metrics.missed(e.event, word)
	c.Log.Info("found a delivery in GitHub's log", "trace", e.guid, "event", e.event, "result", word, "deliveredAt", e.at,
		"latency", c.Now().Sub(e.at).String())
}

// isStored reports whether there is a Delivery of the event. One that failed is taken again if a person has redelivered it since.
func (c *CatchUp) isStored(ctx context.Context, e *logged) (bool, error) {
	d := &v1alpha1.Delivery{}
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: e.guid}, d)
	if apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("get delivery %s: %w", e.guid, err)
	}
	isAgain := e.isRedelivered && d.Status.Outcome == v1alpha1.DeliveryFailed && d.Status.ProcessedAt != nil && e.last.After(d.Status.ProcessedAt.Time)
	return !isAgain, nil
}

// errPayload means that GitHub did not return one payload. Other requests may succeed.
var errPayload = errors.New("the payload could not be read")

// payload returns the payload of an event; nil if it is settled without one. A payload that is too large to be read is redelivered once,
// if there is a webhook.
func (c *CatchUp) payload(ctx context.Context, e *logged) ([]byte, error) {
	c.count(1)
	body, err := c.GitHub.HookPayload(ctx, e.id)
	if err == nil {
		c.readAt = c.Now()
		return body, nil
	}
	f := failure.Of(err)
	isGone := f.Kind == failure.Terminal && (f.Reason == v1alpha1.ReasonNotFound || f.Reason == v1alpha1.ReasonSkipped)
	if isGone && f.Reason == v1alpha1.ReasonSkipped && !c.Pull && !e.isRedelivered {
		c.count(1)
		if err := c.GitHub.Redeliver(ctx, e.id); err != nil {
			return nil, fmt.Errorf("redeliver %s: %w", e.guid, err)
		}
		c.settled(e, "redelivered")
		return nil, nil
	}
	switch {
	case isGone || c.isHopeless(e, f):
		c.Log.Error("could not read a delivery from GitHub's log; skipping it", "trace", e.guid, "event", e.event, "id", e.id, "error", err)
		c.settled(e, "unavailable")
		return nil, nil
	case f.Kind == failure.Waiting:
		return nil, fmt.Errorf("read delivery %s: %w", e.guid, err)
	}
	return nil, fmt.Errorf("read delivery %s: %w: %w", e.guid, errPayload, err)
}

// isHopeless reports whether the payload of an event could not be read for long, while others could.
func (c *CatchUp) isHopeless(e *logged, f *failure.Error) bool {
	since, isKnown := c.failing[e.guid]
	if !isKnown {
		since = c.Now()
		c.failing[e.guid] = since
	}
	return f.Kind != failure.Waiting && c.Now().Sub(since) > giveUp && !c.readAt.Before(since)
}

// forget removes what is too old to be read again.
func (c *CatchUp) forget(point time.Time) {
	for _, m := range []map[string]time.Time{c.examined, c.failing} {
		for guid, at := range m {
			if point.Sub(at) > 2*overlap+giveUp {
				delete(m, guid)
			}
		}
	}
}

// reportReplay logs what an operator wanted and the log does not have.
func (c *CatchUp) reportReplay(wanted []string, events []*logged) {
	found := 0
	for _, e := range events {
		if e.isWanted {
			found++
		}
	}
	c.Log.Info("replayed deliveries", "wanted", wanted, "found", found)
}

// count counts requests to GitHub.
func (c *CatchUp) count(requests int) {
	c.usage.calls += requests
	c.Metrics.called(requests)
}
