package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// errEnded represents the end of the process in a step.
var errEnded = errors.New("the process ended")

// house is a Conductor with some Runs whose processes end: what their statuses hold outlives them.
type house struct {
	t    *testing.T
	runs []*v1alpha1.Run
	r    *Reconciler
	// poison ends the process in its step, done are the Runs that have taken theirs.
	poison types.UID
	done   map[types.UID]bool
	ends   int
	// ended gets a value when a step has ended.
	ended chan struct{}
}

// take takes a step to its end, as two reconciles do.
func (h *house) take(s *state, name string, do func() error) error {
	h.t.Helper()
	for {
		err := h.r.takeStep(s, name, func(context.Context, *v1alpha1.Run) taken { return taken{err: do()} })
		if !errors.Is(err, errRunning) {
			h.r.steps.stored(s.run.UID, s.now)
			return err
		}
		<-h.ended
	}
}

func newHouse(t *testing.T, runs int) *house {
	h := &house{t: t, done: map[types.UID]bool{}, ended: make(chan struct{}, 1)}
	for i := range runs {
		h.runs = append(h.runs, testRun(fmt.Sprint("r", i), types.UID(fmt.Sprint("u", i))))
	}
	h.start(false)
	return h
}

// start begins a process after one that stopped or that ended.
func (h *house) start(unclean bool) {
	h.r = opened(&Reconciler{Now: func() time.Time { return noon }, guard: &guard{unclean: func() bool { return unclean }, list: func(context.Context) ([]v1alpha1.Run, error) {
		var all []v1alpha1.Run
		for _, run := range h.runs {
			all = append(all, *run.DeepCopy())
		}
		return all, nil
	}}})
	h.r.steps.wake = func(*v1alpha1.Run) { h.ended <- struct{}{} }
}

// reconcile is one reconcile of a Run; what it notes is kept unless the process ended. It returns false then.
func (h *house) reconcile(i int, during func()) bool {
	h.t.Helper()
	if err := h.r.guard.prepare(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	run := h.runs[i].DeepCopy()
	h.r.guard.judge(run)
	s := &state{run: run, noted: h.runs[i].Status.Step, now: noon}
	h.r.enforceGuard(s)
	if !s.hasOutcome() && !h.done[run.UID] {
		err := h.take(s, stepCheckout, func() error {
			if during != nil {
				during()
			}
			if run.UID == h.poison {
				return errEnded
			}
			h.done[run.UID] = true
			return nil
		})
		if errors.Is(err, errEnded) {
			h.ends++
			return false
		}
		if f := failure.Of(err); f != nil && f.Kind != failure.Waiting {
			h.t.Fatal(err)
		}
	}
	h.runs[i] = run
	h.r.guard.confirm(run.UID)
	return true
}

// TestOnlyTheRunThatEndsTheProcessIsEnded: nineteen normal Runs beside a poison one, all in their steps when it strikes.
func TestOnlyTheRunThatEndsTheProcessIsEnded(t *testing.T) {
	h := newHouse(t, 20)
	h.poison = "u7"
	for i := range h.runs {
		h.reconcile(i, nil) // Each step is noted, and none is begun.
	}
	for rounds := 0; len(h.done) < 19 || h.runs[7].Status.Outcome == ""; rounds++ {
		if rounds > 100 {
			t.Fatalf("after %d rounds %d runs are done, and the process ended %d times", rounds, len(h.done), h.ends)
		}
		for i := range h.runs {
			if !h.reconcile((i+7)%20, nil) {
				h.start(true)
				break
			}
		}
	}
	if h.ends != maxProcessEnds+1 {
		t.Errorf("the process ended %d times", h.ends)
	}
	for i, run := range h.runs {
		if (run.Status.Outcome != "") != (i == 7) {
			t.Errorf("run %d: outcome %q: %s", i, run.Status.Outcome, run.Status.Message)
		}
		if i != 7 && run.Status.Step != nil {
			t.Errorf("run %d is left in the step %+v", i, run.Status.Step)
		}
	}
	if c := h.runs[7].Status; c.Step != nil || reasonOf(&c, v1alpha1.ConditionRecorded) != v1alpha1.ReasonProcessEnded {
		t.Errorf("the poison run: %+v, recorded %q", c.Step, reasonOf(&c, v1alpha1.ConditionRecorded))
	}
}

func reasonOf(st *v1alpha1.RunStatus, condition string) string {
	for _, c := range st.Conditions {
		if c.Type == condition {
			return c.Reason
		}
	}
	return ""
}

// TestACleanStopCountsNothing: a rollout in the middle of a step suspects no Run, however often.
func TestACleanStopCountsNothing(t *testing.T) {
	h := newHouse(t, 2)
	h.poison = "u0"
	h.reconcile(0, nil)
	h.reconcile(1, nil)
	for range 10 {
		if h.reconcile(0, nil) {
			t.Fatal("the step was not begun")
		}
		h.start(false)
	}
	if h.poison = ""; !h.reconcile(0, nil) || !h.done["u0"] || h.runs[0].Status.Outcome != "" {
		t.Errorf("done %v, status %+v", h.done, h.runs[0].Status)
	}
}

// TestSuspectsTakeTheirStepsAlone: no other Run is in a step while a suspect is, and others wait for all suspects.
func TestSuspectsTakeTheirStepsAlone(t *testing.T) {
	h := newHouse(t, 3)
	h.reconcile(0, nil)
	h.reconcile(1, nil)
	h.start(true)
	h.reconcile(2, nil) // It is new, and waits.
	h.reconcile(2, nil)
	if h.done["u2"] {
		t.Fatal("a run took a step while others were suspects")
	}
	for i := range 2 {
		for range 2 { // Suspicion is noted, then that it is alone.
			h.reconcile(i, nil)
		}
		h.reconcile(i, func() {
			for _, other := range []int{1 - i, 2} {
				if h.reconcile(other, nil); h.done[h.runs[other].UID] && other != 0 {
					t.Errorf("run %d took its step beside run %d", other, i)
				}
			}
			if step := h.runs[i].Status.Step; step == nil || !step.Suspect || !step.Alone {
				t.Errorf("while run %d is in its step its status has %+v", i, step)
			}
		})
	}
	if h.reconcile(2, nil); len(h.done) != 3 {
		t.Errorf("done: %v", h.done)
	}
}

// TestAStepThatFailsIsNotSuspected: it has not ended the process, and others need not wait for it.
func TestAStepThatFailsIsNotSuspected(t *testing.T) {
	h := newHouse(t, 2)
	h.reconcile(0, nil)
	h.start(true)
	h.reconcile(0, nil)
	h.reconcile(0, nil)
	s := &state{run: h.runs[0], noted: h.runs[0].Status.Step.DeepCopy(), now: noon}
	away := errors.New("GitHub is away")
	if err := h.take(s, stepCheckout, func() error { return away }); !errors.Is(err, away) || s.status().Step == nil || s.status().Step.Suspect {
		t.Errorf("%v, step %+v", err, s.status().Step)
	}
	h.reconcile(1, nil)
	if h.reconcile(1, nil); !h.done["u1"] {
		t.Error("another run waits for one that failed")
	}
}

// TestARunThatEndsTheProcessInALaterStepIsEnded: each process repeats the steps before that, and they clear the Run of nothing.
func TestARunThatEndsTheProcessInALaterStepIsEnded(t *testing.T) {
	h, later, checkedOut := newHouse(t, 1), stepResults("unit"), false
	for rounds := 0; h.runs[0].Status.Outcome == ""; rounds++ {
		if rounds > 50 {
			t.Fatalf("the process ended %d times: %+v", h.ends, h.runs[0].Status.Step)
		}
		if err := h.r.guard.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		run := h.runs[0].DeepCopy()
		h.r.guard.judge(run)
		s := &state{run: run, noted: h.runs[0].Status.Step, now: noon}
		h.r.enforceGuard(s)
		var err error
		if !s.hasOutcome() && !checkedOut {
			err = h.take(s, stepCheckout, func() error { checkedOut = true; return nil })
		}
		if !s.hasOutcome() && checkedOut {
			err = h.take(s, later, func() error { return errEnded })
		}
		if errors.Is(err, errEnded) {
			h.ends++
			checkedOut = false
			h.start(true)
			continue
		}
		h.runs[0] = run
		h.r.guard.confirm(run.UID)
	}
	if st := h.runs[0].Status; h.ends != maxProcessEnds+1 || !strings.Contains(st.Message, later) {
		t.Errorf("the process ended %d times: %s", h.ends, st.Message)
	}
}

// TestASuspectThatWaitsHoldsNoOne: what it waits for may be what the others give back at their end.
func TestASuspectThatWaitsHoldsNoOne(t *testing.T) {
	h := newHouse(t, 2)
	h.reconcile(0, nil)
	h.start(true)
	h.reconcile(0, nil)
	h.reconcile(0, nil)
	s := &state{run: h.runs[0], noted: h.runs[0].Status.Step.DeepCopy(), now: noon}
	err := h.take(s, stepCheckout, func() error { return waitForOthersf(roomPause, "There is no room") })
	if step := s.status().Step; !errors.Is(err, errOtherRuns) || step == nil || !step.Suspect || step.Alone {
		t.Errorf("%v, step %+v", err, step)
	}
	h.reconcile(1, nil)
	if h.reconcile(1, nil); !h.done["u1"] {
		t.Error("another run waits for one that waits itself")
	}
}

// TestARecordThatIsGivenUpHoldsNoOne: its step is not taken any more.
func TestARecordThatIsGivenUpHoldsNoOne(t *testing.T) {
	h := newHouse(t, 2)
	h.runs[0].Status = v1alpha1.RunStatus{
		Outcome: v1alpha1.OutcomePassed, Step: &v1alpha1.StepStatus{Name: stepRecord},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionRecorded, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonTimeout}},
	}
	h.start(true)
	h.reconcile(0, nil)
	h.reconcile(1, nil)
	if h.reconcile(1, nil); !h.done["u1"] || h.runs[0].Status.Step != nil {
		t.Errorf("done %v, step %+v", h.done, h.runs[0].Status.Step)
	}
}

// TestWhatIsNotStoredIsJudgedAgain: the API server may refuse the first status that a process writes, since another one came first.
func TestWhatIsNotStoredIsJudgedAgain(t *testing.T) {
	h := newHouse(t, 1)
	h.runs[0].Status.Step = &v1alpha1.StepStatus{Name: stepCheckout, Suspect: true, Alone: true}
	h.start(true)
	if err := h.r.guard.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run := h.runs[0].DeepCopy()
		h.r.guard.judge(run)
		if step := run.Status.Step; step.Deaths != 1 || step.Alone || !step.Suspect {
			t.Errorf("step %+v", step)
		}
	}
}
