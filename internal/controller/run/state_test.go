package run

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newState() *state {
	start := metav1.NewMicroTime(noon)
	return &state{now: noon, deadlines: settings.Default().Deadlines, run: &v1alpha1.Run{Status: v1alpha1.RunStatus{StartedAt: &start}}}
}

func condition(s *state, name string) metav1.Condition {
	if c := meta.FindStatusCondition(s.run.Status.Conditions, name); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func TestATerminalFailureEndsTheRunAndClosesWhatIsOpen(t *testing.T) {
	s := newState()
	s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, "read")
	err := s.handleError(stages[2], failure.Terminalf(v1alpha1.ReasonBuildFailed, errors.New("cause"), "The image backend could not be built"))
	if err != nil {
		t.Fatalf("a terminal failure is tried again: %v", err)
	}
	if s.run.Status.Outcome != v1alpha1.OutcomeError || s.run.Status.Message != "The image backend could not be built" {
		t.Errorf("outcome %q, message %q", s.run.Status.Outcome, s.run.Status.Message)
	}
	if c := condition(s, v1alpha1.ConditionImagesBuilt); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonBuildFailed {
		t.Errorf("ImagesBuilt = %+v", c)
	}
	if c := condition(s, v1alpha1.ConditionTestsPassed); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonSkipped {
		t.Errorf("TestsPassed = %+v", c)
	}
	if c := condition(s, v1alpha1.ConditionCheckedOut); c.Status != metav1.ConditionTrue {
		t.Errorf("CheckedOut was changed: %+v", c)
	}
	if c := condition(s, v1alpha1.ConditionReported); c.Type != "" {
		t.Errorf("the report was closed before it was made: %+v", c)
	}
}

func TestATransientErrorIsTriedUntilTheStagesDeadline(t *testing.T) {
	s, st := newState(), stages[0]
	cause := errors.New("connection refused")
	if err := s.handleError(st, cause); !errors.Is(err, cause) {
		t.Errorf("absorb = %v, want the cause for the queue", err)
	}
	if s.hasOutcome() {
		t.Fatal("one error that may pass ended the run")
	}
	if m := condition(s, st.Condition).Message; strings.Contains(m, "refused") {
		t.Errorf("the cause reached the user: %q", m)
	}
	s.now = noon.Add(s.deadlines.Stage.Duration + time.Second)
	if err := s.handleError(st, cause); err != nil || s.run.Status.Outcome != v1alpha1.OutcomeError {
		t.Errorf("after the deadline: %v, outcome %q", err, s.run.Status.Outcome)
	}
}

func TestTheDeadlineBeginsWithTheFirstFailureInARow(t *testing.T) {
	s, st := newState(), stages[0]
	cause, deadline := errors.New("connection refused"), s.deadlines.Stage.Duration
	s.begin(st.Condition, "Reading")
	for _, step := range []struct {
		after time.Duration
		err   error
		over  bool
	}{
		{2 * deadline, cause, false}, {deadline - time.Second, nil, false}, {2 * time.Second, cause, false}, {deadline, cause, false}, {time.Second, cause, true},
	} {
		s.now = s.now.Add(step.after)
		_ = s.handleError(st, step.err)
		if s.hasOutcome() != step.over {
			t.Fatalf("%s after the stage began, with %v: over %t, want %t", s.now.Sub(noon), step.err, s.hasOutcome(), step.over)
		}
	}
}

func TestAWaitIsLookedAtAgainAndTheShortestWins(t *testing.T) {
	s := newState()
	s.requeueAfter(time.Minute)
	if err := s.handleError(stages[1], failure.Waitingf(v1alpha1.ReasonPending, 5*time.Second, "waits")); err != nil {
		t.Fatal(err)
	}
	s.requeueAfter(0)
	if s.requeue != 5*time.Second {
		t.Errorf("again = %s, want 5s", s.requeue)
	}
}

func TestTheOutcomeIsSetOnce(t *testing.T) {
	s := newState()
	s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "All tests passed")
	s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonTimeout, "late")
	if s.run.Status.Outcome != v1alpha1.OutcomePassed || s.run.Status.Message != "All tests passed" {
		t.Errorf("outcome %q, message %q", s.run.Status.Outcome, s.run.Status.Message)
	}
}

func TestBoundEndsCanceledAndLateRuns(t *testing.T) {
	s := newState()
	s.run.Spec.Cancel = &v1alpha1.Cancel{By: "ada", Reason: "wrong tag"}
	(&Reconciler{}).enforceLimits(s)
	if s.run.Status.Outcome != v1alpha1.OutcomeCanceled || s.run.Status.Message != "Canceled by ada: wrong tag" {
		t.Errorf("canceled: %q, %q", s.run.Status.Outcome, s.run.Status.Message)
	}
	s = newState()
	s.run.Spec.Ceilings.RunTimeout.Duration = time.Hour
	(&Reconciler{}).enforceLimits(s)
	if s.hasOutcome() || s.requeue != time.Hour {
		t.Errorf("a run in time: over %t, again %s", s.hasOutcome(), s.requeue)
	}
	s.now = noon.Add(time.Hour)
	(&Reconciler{}).enforceLimits(s)
	if s.run.Status.Outcome != v1alpha1.OutcomeError || !strings.Contains(s.run.Status.Message, "stage checkout") {
		t.Errorf("late: %q, %q", s.run.Status.Outcome, s.run.Status.Message)
	}
	s = newState()
	s.run.Spec.Ceilings.RunTimeout.Duration = time.Hour
	s.begin(v1alpha1.ConditionCheckedOut, "GitHub did not answer")
	s.now = noon.Add(time.Hour)
	(&Reconciler{}).enforceLimits(s)
	if !strings.HasSuffix(s.run.Status.Message, "stage checkout: GitHub did not answer") {
		t.Errorf("it does not say what it waited for: %q", s.run.Status.Message)
	}
}

func TestThePhaseFollowsTheConditions(t *testing.T) {
	s := newState()
	want := func(p v1alpha1.RunPhase) {
		t.Helper()
		if got := s.phase(); got != p {
			t.Errorf("phase = %s, want %s", got, p)
		}
	}
	for _, st := range stages {
		if st.Always {
			break
		}
		want(st.Phase)
		s.done(st.Condition, v1alpha1.ReasonDone, "")
	}
	want(v1alpha1.PhaseTesting)
	s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "")
	want(v1alpha1.PhaseReporting)
	s.done(v1alpha1.ConditionReported, v1alpha1.ReasonDone, "")
	want(v1alpha1.PhaseFinished)
}

func TestCutAndLastKeepWholeCharacters(t *testing.T) {
	if got := text.Truncate("grüße", 4); got != "…" && got != "g…" {
		t.Errorf("cut = %q", got)
	}
	if got := text.Truncate("abc", 3); got != "abc" {
		t.Errorf("cut = %q", got)
	}
	if got := text.Tail("grüße", 4); got != "ße" {
		t.Errorf("last = %q", got)
	}
}
