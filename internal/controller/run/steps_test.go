package run

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// stair is a Reconciler whose steps end when the test lets them.
type stair struct {
	*Reconciler
	run *v1alpha1.Run
	// let ends a step, woken gets a value when one has ended.
	let, woken chan struct{}
	// noted, dropped and ended count what became of steps.
	noted, dropped, ended atomic.Int64
}

func newStair(t *testing.T) *stair {
	h := &stair{Reconciler: opened(&Reconciler{}), run: testRun("r", "u"), let: make(chan struct{}), woken: make(chan struct{}, maxSteps)}
	h.steps.wake = func(*v1alpha1.Run) { h.woken <- struct{}{} }
	if err := h.guard.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// take is one reconcile that takes a step of a Run whose status has it.
func (h *stair) take(run *v1alpha1.Run, name string) (*state, error) {
	run = run.DeepCopy()
	run.Status.Step = &v1alpha1.StepStatus{Name: name}
	s := &state{run: run, noted: run.Status.Step.DeepCopy(), now: noon}
	return s, h.takeStep(s, name, h.do)
}

func (h *stair) do(ctx context.Context, _ *v1alpha1.Run) taken {
	var err error
	select {
	case <-h.let:
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.ended.Add(1)
	return taken{
		err:  err,
		note: func(s *state) error { s.status().Message = fmt.Sprint("noted ", h.noted.Add(1)); return nil },
		drop: func() { h.dropped.Add(1) },
	}
}

// A reconcile does not wait for a step, whose time its stage does not count as failing.
func TestAReconcileDoesNotWaitForAStep(t *testing.T) {
	h := newStair(t)
	for range 3 {
		s, err := h.take(h.run, stepRecord)
		if f := failure.Of(err); !errors.Is(err, errRunning) || f == nil || f.Kind != failure.Waiting || s.status().Step == nil {
			t.Fatalf("while it is taken: %v, step %+v", err, s.status().Step)
		}
		since := s.timestamp()
		s.stageTime(stages[0].Condition).FailingSince = since
		if err := s.handleError(stages[0], err); err != nil || s.stageTime(stages[0].Condition).FailingSince != since || s.requeue != runningPause {
			t.Errorf("its stage: %v, %+v, again in %s", err, s.stageTime(stages[0].Condition), s.requeue)
		}
	}
	h.let <- struct{}{}
	<-h.woken
	for i := 1; i <= 2; i++ { // The API server refuses the first status, and it is noted again.
		s, err := h.take(h.run, stepRecord)
		if err != nil || s.status().Message != fmt.Sprint("noted ", i) || s.status().Step != nil {
			t.Errorf("%v: %q, step %+v", err, s.status().Message, s.status().Step)
		}
	}
	h.steps.stored(h.run.UID, noon)
	if h.steps.has(h.run.UID, stepRecord) || h.ended.Load() != 1 || h.dropped.Load() != 0 {
		t.Errorf("there: %t, taken %d times, dropped %d times", h.steps.has(h.run.UID, stepRecord), h.ended.Load(), h.dropped.Load())
	}
}

// What a step needs is away: it is taken again after pauses that grow, during which no other Run waits for it.
func TestAStepThatFailsIsTakenAgainAfterAPause(t *testing.T) {
	h := newStair(t)
	away := failure.Transientf(v1alpha1.ReasonUnavailable, nil, "GitHub did not answer")
	take := func(now time.Time) (*state, error) {
		run := h.run.DeepCopy()
		run.Status.Step = &v1alpha1.StepStatus{Name: stepCheckout}
		s := &state{run: run, noted: run.Status.Step.DeepCopy(), now: now}
		return s, h.takeStep(s, stepCheckout, func(context.Context, *v1alpha1.Run) taken { h.ended.Add(1); return taken{err: away} })
	}
	now := noon
	for i, pause := range []time.Duration{firstRetry, 2 * firstRetry, 4 * firstRetry} {
		if _, err := take(now); !errors.Is(err, errRunning) {
			t.Fatalf("attempt %d: %v", i, err)
		}
		<-h.woken
		if s, err := take(now); !errors.Is(err, away) || s.status().Step == nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
		h.steps.stored(h.run.UID, now)
		_, err := take(now.Add(pause - time.Millisecond))
		if f := failure.Of(err); !errors.Is(err, errRunning) || f.After != time.Millisecond || f.Sentence != away.Sentence {
			t.Errorf("in the pause after attempt %d: %v", i, err)
		}
		if !h.guard.enter("other", true) {
			t.Error("another Run waits for a step that waits itself")
		}
		h.guard.leave("other")
		now = now.Add(pause)
	}
	if h.ended.Load() != 3 {
		t.Errorf("taken %d times", h.ended.Load())
	}
}

// What a step works on goes when it has ended, and what it brought goes, too, where no one notes it.
func TestAStepOfAForgottenRunIsStopped(t *testing.T) {
	h := newStair(t)
	after := make(chan int64, 2)
	if _, err := h.take(h.run, stepCheckout); !errors.Is(err, errRunning) {
		t.Fatal(err)
	}
	h.steps.forget(h.run.UID, func() { after <- h.ended.Load() })
	if ended := <-after; ended != 1 {
		t.Error("what the step works on went before its end")
	}
	<-h.woken
	if h.noted.Load() != 0 || h.dropped.Load() != 1 || h.steps.has(h.run.UID, stepCheckout) {
		t.Errorf("noted %d times, dropped %d times", h.noted.Load(), h.dropped.Load())
	}
	h.steps.forget(h.run.UID, func() { after <- 0 })
	<-after
}

// A Run is canceled while its results are read: the step is stopped, and that of the record follows.
func TestALaterStepStopsAnEarlierOne(t *testing.T) {
	h := newStair(t)
	for _, name := range []string{stepResults("e2e"), stepRecord, stepRecord} {
		if _, err := h.take(h.run, name); !errors.Is(err, errRunning) {
			t.Fatal(err)
		}
		if name == stepRecord && h.dropped.Load() == 0 {
			<-h.woken
		}
	}
	h.let <- struct{}{}
	<-h.woken
	if _, err := h.take(h.run, stepRecord); err != nil || h.dropped.Load() != 1 || h.noted.Load() != 1 {
		t.Errorf("%v; dropped %d times, noted %d times", err, h.dropped.Load(), h.noted.Load())
	}
}

func TestStepsAreBounded(t *testing.T) {
	h := newStair(t)
	for i := range maxSteps {
		if _, err := h.take(testRun(fmt.Sprint("r", i), types.UID(fmt.Sprint("u", i))), stepCheckout); !errors.Is(err, errRunning) {
			t.Fatal(err)
		}
	}
	if _, err := h.take(h.run, stepCheckout); !errors.Is(err, errOtherRuns) || errors.Is(err, errRunning) {
		t.Errorf("one more: %v", err)
	}
	h.let <- struct{}{}
	<-h.woken
	if _, err := h.take(h.run, stepCheckout); !errors.Is(err, errRunning) {
		t.Errorf("when one has ended: %v", err)
	}
	h.steps.close()
	if h.steps.count != 0 {
		t.Errorf("%d steps are left", h.steps.count)
	}
}
