package run

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/observe"
)

func TestTransitionsAreWhatChangedForGood(t *testing.T) {
	s := newState()
	s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, "read")
	s.begin(v1alpha1.ConditionImagesBuilt, "Building")
	before := s.status().DeepCopy()
	s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, "read again")
	s.begin(v1alpha1.ConditionStackReady, "Starting")
	s.fail(v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonBuildFailed, "web could not be built")
	s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonSkipped, "web could not be built")
	const why = "web could not be built"
	var want []observe.Transition
	for _, st := range stages {
		switch {
		case st.Always || st.Condition == v1alpha1.ConditionCheckedOut: // Not ended by the failure, or ended before.
		case st.Condition == v1alpha1.ConditionImagesBuilt:
			want = append(want, observe.Transition{Condition: st.Condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBuildFailed, Message: why})
		default:
			want = append(want, observe.Transition{Condition: st.Condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSkipped, Message: "Not finished: " + why})
		}
	}
	want = append(want, observe.Transition{Reason: "error", Message: why})
	if diff := cmp.Diff(want, transitions(before, s.status())); diff != "" {
		t.Error(diff)
	}
	if again := transitions(s.status(), s.status()); len(again) != 0 {
		t.Errorf("nothing changed, and %+v", again)
	}
}

func TestEventsAreWorthReading(t *testing.T) {
	s := newState()
	recorder := events.NewFakeRecorder(16)
	e := Events{Recorder: recorder}
	step := func(change func()) []string {
		before := s.status().DeepCopy()
		change()
		e.Changed("guid-1", s.run, transitions(before, s.status()))
		var got []string
		for len(recorder.Events) > 0 {
			got = append(got, <-recorder.Events)
		}
		return got
	}
	for _, tc := range []struct {
		change func()
		want   []string
	}{
		{func() { s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, "read") }, nil},
		{func() { s.done(v1alpha1.ConditionStackReady, v1alpha1.ReasonDone, "5 services up") }, []string{"Normal StackReady 5 services up"}},
		{func() {
			s.fail(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonTestsFailed, "Failed: e2e")
			s.finish(v1alpha1.OutcomeFailed, v1alpha1.ReasonTestsFailed, "Failed: e2e")
		}, []string{"Normal Failed Failed: e2e"}},
		{func() { s.fail(v1alpha1.ConditionRecorded, v1alpha1.ReasonUnavailable, "The registry did not answer") }, []string{"Warning Unavailable The registry did not answer"}},
		{func() { s.fail(v1alpha1.ConditionStackKept, v1alpha1.ReasonExpired, strings.Repeat("x", 2*maxNote)) }, []string{"Normal StackDeleted " + strings.Repeat("x", maxNote-3) + "…"}},
	} {
		got := step(tc.change)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Error(diff)
		}
	}
}
