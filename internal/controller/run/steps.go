package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// maxSteps is how many steps are taken at a time, stepPause the time after which a Run that found no place is reconciled again.
	maxSteps = 16
	// maxReadings is how many Runs are read for their reports at a time.
	maxReadings = 4
	stepPause   = 500 * time.Millisecond
	// runningPause is the time after which a Run whose step is being taken is reconciled at the latest; the end of the step wakes it.
	runningPause = time.Minute
	// firstRetry is the pause after which a step is taken again that failed; it doubles with each failure in a row, up to maxRetry.
	firstRetry = 50 * time.Millisecond
	maxRetry   = 10 * time.Second
)

// errRunning is in the chain of an error while a step of the Run is being taken, or waits to be taken again: the stage neither works nor
// fails.
var errRunning = errors.New("a step is being taken")

// steps takes the steps of Runs beside the reconcile workers, each of which they would keep busy for minutes. A Run has one at a time.
type steps struct {
	*sessions
	wake func(*v1alpha1.Run)
	// slot is where a session has its step, and most how many are taken at a time.
	slot func(*session) **step
	most int
	// running are the steps that have not ended, and count how many those are.
	running sync.WaitGroup
	count   int
}

func newSteps(l *sessions, wake func(*v1alpha1.Run)) *steps {
	return &steps{sessions: l, wake: wake, most: maxSteps, slot: func(s *session) **step { return &s.step }}
}

// newReadings takes the steps of the reporter, which have a session's other slot.
func newReadings(l *sessions, wake func(*v1alpha1.Run)) *steps {
	return &steps{sessions: l, wake: wake, most: maxReadings, slot: func(s *session) **step { return &s.reading }}
}

// find is a Run's step; nil where it has none. The lock is held.
func (k *steps) find(uid types.UID) *step { return *k.slot(k.sessions.find(uid)) }

// clear forgets a Run's step. The lock is held.
func (k *steps) clear(uid types.UID) { k.drop(uid, func(s *session) { *k.slot(s) = nil }) }

// step is a step that has begun. It is known until the status that it is noted in is stored, and one that failed until it is taken again.
type step struct {
	name         string
	stop         context.CancelFunc
	ended, noted bool
	taken        taken
	// fails counts how often it failed in a row, and why is the sentence of the last failure.
	fails int
	why   string
	// failedAt is when a failure was stored, and pause how long after that the step is taken again.
	failedAt time.Time
	pause    time.Duration
	// after is called when the step has ended, of a Run that is forgotten meanwhile; nil as long as it is not.
	after func()
}

// taken is what a step has brought.
type taken struct {
	err error
	// note brings it into the status, also of a step with an error. It is called once more where that status could not be stored.
	note func(*state) error
	// value is for who takes the step, where that is not a stage.
	value any
	// drop gives back what it holds where it is never noted.
	drop func()
}

// has reports whether a Run's step of this name has begun, and what it brought is not stored.
func (k *steps) has(uid types.UID, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.find(uid)
	return st != nil && st.name == name && st.failedAt.IsZero()
}

// take begins a step, or returns what it has brought. Until then its error is a wait.
func (k *steps) take(s *state, name string, do func(context.Context, *v1alpha1.Run) taken) (taken, error) {
	return k.takeAt(s.run, s.now, name, do)
}

func (k *steps) takeAt(run *v1alpha1.Run, now time.Time, name string, do func(context.Context, *v1alpha1.Run) taken) (taken, error) {
	drop := func() {}
	defer func() { drop() }()
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.find(run.UID)
	if st != nil && st.name != name { // The Run has ended, for example, and its record is kept now.
		if st.stop(); st.ended {
			drop, st = k.discard(run.UID, st), nil
		}
	}
	next := &step{name: name, why: capitalize(name)}
	if st != nil && !st.failedAt.IsZero() {
		if since := now.Sub(st.failedAt); since >= 0 && since < st.pause { // Less than none is a clock that was set back.
			return taken{}, st.wait(st.pause - since)
		}
		next.fails, next.why, st = st.fails, st.why, nil
	}
	switch {
	case st == nil && k.count >= k.most:
		return taken{}, waitForOthersf(stepPause, "Waiting for %s: Conductor is doing the same for %d other runs", name, k.count)
	case st == nil:
		st = next
		k.begin(run.DeepCopy(), st, do)
	case st.ended:
		st.noted = true
		return st.taken, nil
	}
	return taken{}, st.wait(runningPause)
}

// wait is the error until a step has ended or is taken again. Its sentence is why it failed before, if it did.
func (st *step) wait(after time.Duration) error {
	return errors.Join(failure.Waitingf(v1alpha1.ReasonPending, after, "%s", st.why), errRunning)
}

// begin starts a step. The lock is held.
func (k *steps) begin(run *v1alpha1.Run, st *step, do func(context.Context, *v1alpha1.Run) taken) {
	ctx, stop := context.WithCancel(context.Background())
	st.stop = stop
	*k.slot(k.of(run.UID)) = st
	k.count++
	k.running.Add(1)
	go func() {
		defer k.running.Done()
		defer stop()
		k.end(run, st, do(ctx, run.DeepCopy()))
	}()
}

// end keeps what a step has brought and wakes the Run.
func (k *steps) end(run *v1alpha1.Run, st *step, t taken) {
	k.mu.Lock()
	k.count--
	st.ended, st.taken = true, t
	after, drop := st.after, func() {}
	if after != nil {
		drop = k.discard(run.UID, st)
	}
	k.mu.Unlock()
	if drop(); after != nil {
		after()
	}
	k.wake(run)
}

// discard forgets a step that has ended and returns what gives back what it holds. The lock is held.
func (k *steps) discard(uid types.UID, st *step) func() {
	k.clear(uid)
	if st.noted || st.taken.drop == nil {
		return func() {}
	}
	return st.taken.drop
}

// stored forgets a step that is noted in a status which the API server now has. One that failed is taken again after a pause.
func (k *steps) stored(uid types.UID, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.find(uid)
	switch {
	case st == nil || !st.noted || !st.failedAt.IsZero():
		return
	case st.taken.err == nil || errors.Is(st.taken.err, errOtherRuns) || failure.IsTerminal(st.taken.err):
		k.clear(uid)
		return
	}
	f := failure.Of(st.taken.err)
	st.why, st.failedAt, st.pause = f.Sentence, now, min(firstRetry<<min(st.fails, 16), maxRetry)
	if f.Kind == failure.Waiting {
		st.pause = f.After
	}
	st.fails++
}

// forget stops a Run's step and then calls after, once nothing uses any more what the step works on.
func (k *steps) forget(uid types.UID, after func()) {
	k.mu.Lock()
	st := k.find(uid)
	if st != nil && !st.ended {
		st.stop()
		st.after = after
		k.mu.Unlock()
		return
	}
	drop := func() {}
	if st != nil {
		drop = k.discard(uid, st)
	}
	k.mu.Unlock()
	drop()
	after()
}

// close stops every step and waits for their ends.
func (k *steps) close() {
	k.mu.Lock()
	for _, s := range k.runs {
		if st := *k.slot(s); st != nil {
			st.stop()
		}
	}
	k.mu.Unlock()
	k.running.Wait()
}
