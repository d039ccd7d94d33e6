package v1alpha1

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpiry(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	after := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: noon.Add(d)} }
	until := func(at *metav1.Time) *Extension { return &Extension{By: "ada", Until: at} }
	hours := func(n time.Duration) *metav1.Duration { return &metav1.Duration{Duration: n * time.Hour} }
	for _, tc := range []struct {
		name      string
		keep      string
		idle      *metav1.Duration
		active    *metav1.Time
		extension *Extension
		want      *metav1.Time
	}{
		{"a duration", "4h0m0s", nil, nil, nil, after(4 * time.Hour)},
		{"without a plan", "", nil, nil, nil, after(24 * time.Hour)},
		{"forever", Forever, nil, nil, nil, nil},
		{"never used", "4h0m0s", hours(1), nil, nil, after(time.Hour)},
		{"used", "4h0m0s", hours(1), after(2 * time.Hour), nil, after(3 * time.Hour)},
		{"used while it was tested", "4h0m0s", hours(1), after(-time.Minute), nil, after(time.Hour)},
		{"used to the end", "4h0m0s", hours(1), after(4 * time.Hour), nil, after(4 * time.Hour)},
		{"forever, but idle", Forever, hours(1), after(time.Hour), nil, after(2 * time.Hour)},
		{"extended", "4h0m0s", nil, nil, until(after(6 * time.Hour)), after(6 * time.Hour)},
		{"extended by less than it has", "4h0m0s", nil, nil, until(after(3 * time.Hour)), after(4 * time.Hour)},
		{"extended although it is idle", "4h0m0s", hours(1), nil, until(after(3 * time.Hour)), after(3 * time.Hour)},
		{"extended forever", "4h0m0s", hours(1), nil, until(nil), nil},
		{"forever, and extended", Forever, nil, nil, until(after(time.Hour)), nil},
	} {
		run := &Run{Spec: RunSpec{ActiveAt: tc.active, Extension: tc.extension, Ceilings: Ceilings{Keep: *hours(24)}}}
		if got := run.Expiry(); got != nil {
			t.Errorf("%s: expires at %s before it has finished", tc.name, got)
		}
		run.Status = RunStatus{Keep: tc.keep, Idle: tc.idle, FinishedAt: &metav1.MicroTime{Time: noon.Add(time.Millisecond)}}
		if got := run.Expiry(); !got.Equal(tc.want) {
			t.Errorf("%s: expires at %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(*Run){
		"in progress":   func(r *Run) { r.Status.Outcome = "" },
		"without stack": func(r *Run) { r.Status.Namespace = "" },
		"taken down":    func(r *Run) { r.Spec.Cancel = &Cancel{} },
		"expired":       func(r *Run) { r.Status.Keep = "1h0m0s" },
		"deleted": func(r *Run) {
			r.Status.Conditions = []metav1.Condition{{Type: ConditionStackKept, Status: metav1.ConditionFalse}}
		},
	} {
		run := &Run{Status: RunStatus{Outcome: OutcomeFailed, Namespace: "stack", Keep: "1h0m1s", FinishedAt: &metav1.MicroTime{Time: noon.Add(-time.Hour)}}}
		if !run.IsKept(noon) {
			t.Fatal("a finished run's stack is not kept")
		}
		if change(run); run.IsKept(noon) {
			t.Errorf("%s: kept", name)
		}
	}
}
