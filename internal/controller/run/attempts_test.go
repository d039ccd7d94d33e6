package run

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// The times of an attempt come from the test's container, which may claim any.
func TestAnAttemptsTimesAreBetweenItsReleaseAndWhatConductorSaw(t *testing.T) {
	released, saw := noon, noon.Add(time.Minute)
	future, past := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	for _, tc := range []struct {
		name                string
		started, finished   time.Time
		noted               time.Time
		wantStart, wantEnd  time.Time
		unreleased, unknown bool
	}{
		{name: "honest", started: in(1), finished: in(50), wantStart: in(1), wantEnd: in(50)},
		{name: "of 2099", started: in(1), finished: future, wantStart: in(1), wantEnd: saw},
		{name: "of 2099 from first to last", started: future, finished: future, wantStart: saw, wantEnd: saw},
		{name: "of 1970", started: past, finished: past, wantStart: released, wantEnd: released},
		{name: "ended before it started", started: in(50), finished: in(40), wantStart: in(40), wantEnd: in(40)},
		{name: "noted before", started: in(1), finished: future, noted: in(30), wantStart: in(1), wantEnd: in(30)},
		{name: "times that are not known", wantStart: time.Time{}, wantEnd: time.Time{}},
		{name: "no release was noted", unreleased: true, started: past, finished: future, wantStart: past, wantEnd: saw},
	} {
		a := v1alpha1.AttemptStatus{StartedAt: &metav1.MicroTime{Time: released}}
		if tc.unreleased {
			a.StartedAt = nil
		}
		if !tc.noted.IsZero() {
			a.FinishedAt = &metav1.MicroTime{Time: tc.noted}
		}
		got := clamped(evidence.Attempt{StartedAt: tc.started, FinishedAt: tc.finished}, a, saw)
		if !got.StartedAt.Equal(tc.wantStart) || !got.FinishedAt.Equal(tc.wantEnd) {
			t.Errorf("%s: %s to %s, want %s to %s", tc.name, got.StartedAt, got.FinishedAt, tc.wantStart, tc.wantEnd)
		}
	}
}

// However an attempt is judged, its end is noted within these bounds: a suite's history and the report go by it.
func TestTheNotedEndOfAnAttemptIsNotTheContainers(t *testing.T) {
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, end := range map[string]func(s *state, a *v1alpha1.AttemptStatus){
		"its wrapper reports it": func(s *state, a *v1alpha1.AttemptStatus) {
			r := &Reconciler{Log: slog.New(slog.DiscardHandler)}
			r.settle(s, plan.Suite{Name: "api"}, a, evidence.Attempt{FinishedAt: future}, &corev1.Pod{})
		},
		"its container's exit code reports it": func(s *state, a *v1alpha1.AttemptStatus) {
			judgeAttempt(s, plan.Suite{Name: "api"}, a, evidence.Attempt{FinishedAt: future})
		},
		"no time is known": func(s *state, a *v1alpha1.AttemptStatus) {
			judgeAttempt(s, plan.Suite{Name: "api"}, a, evidence.Attempt{})
		},
	} {
		s := newState()
		s.now = noon.Add(time.Minute)
		a := v1alpha1.AttemptStatus{StartedAt: &metav1.MicroTime{Time: noon}}
		if end(s, &a); a.Outcome != v1alpha1.OutcomePassed || a.FinishedAt == nil || !a.FinishedAt.Time.Equal(s.now) {
			t.Errorf("%s: %s at %s, want %s", name, a.Outcome, a.FinishedAt, s.now)
		}
	}
}

// stateOnly is an agent that fails once it has given its state.
type stateOnly struct {
	Agent
	state evidence.AgentState
}

func (a stateOnly) State(context.Context, int64, time.Duration) (evidence.AgentState, error) {
	return a.state, errors.New("the connection broke off")
}

// What a wrapper reported is read again for the suite's result, which the history keeps.
func TestASuitesResultDoesNotHaveTheContainersTimes(t *testing.T) {
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	key := evidence.AttemptKey{Suite: "api", Number: 1}
	agent := stateOnly{state: evidence.AgentState{Attempts: []evidence.AttemptState{{Key: key, Ended: true, Attempt: &evidence.Attempt{AttemptKey: key, StartedAt: noon, FinishedAt: future}}}}}
	r := opened(&Reconciler{Now: func() time.Time { return noon.Add(time.Hour) }})
	st := &v1alpha1.SuiteStatus{Name: "api", Shards: 1, Attempts: []v1alpha1.AttemptStatus{{
		Number: 1, StartedAt: &metav1.MicroTime{Time: noon}, FinishedAt: &metav1.MicroTime{Time: noon.Add(time.Minute)},
	}}}
	kept, _ := r.gather(t.Context(), &v1alpha1.Run{}, st, agent)
	full := kept.Suite
	if full.FinishedAt == nil || !full.FinishedAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("the suite ended at %v", full.FinishedAt)
	}
}
