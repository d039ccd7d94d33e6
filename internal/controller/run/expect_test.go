package run

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

func TestTheUsualTimesAreReadOnce(t *testing.T) {
	took := func(setup float64, seconds ...float64) *evidence.History {
		h := &evidence.History{}
		for _, s := range seconds {
			h.Runs = append(h.Runs, evidence.Entry{Seconds: s, Setup: setup})
		}
		return h
	}
	full := map[string]*evidence.History{"main/unit": took(30, 10, 12, 900), "main/e2e": took(40, 60)}
	for _, tc := range []struct {
		name    string
		history map[string]*evidence.History
		edit    func(*v1alpha1.Run)
		err     error
		want    *v1alpha1.ExpectedTimes
	}{
		{name: "known", history: full, want: &v1alpha1.ExpectedTimes{Setup: 40, Suites: map[string]int32{"unit": 12, "e2e": 60}}},
		{name: "a new suite", history: map[string]*evidence.History{"main/unit": took(30, 10)}, want: &v1alpha1.ExpectedTimes{Setup: 30}},
		{name: "no branch", history: full, edit: func(r *v1alpha1.Run) { r.Status.Branch = "" }, want: &v1alpha1.ExpectedTimes{}},
		{name: "no registry", history: full, err: errors.New("down"), want: &v1alpha1.ExpectedTimes{}},
		{name: "no suites yet", history: full, edit: func(r *v1alpha1.Run) { r.Status.Suites = nil }},
		{name: "ended", history: full, edit: func(r *v1alpha1.Run) { r.Status.Outcome = v1alpha1.OutcomePassed }},
		{
			name: "read before", history: full, edit: func(r *v1alpha1.Run) { r.Status.Report.Expected = &v1alpha1.ExpectedTimes{Setup: 1} },
			want: &v1alpha1.ExpectedTimes{Setup: 1},
		},
	} {
		run := &v1alpha1.Run{}
		run.Status.Branch, run.Status.Report = "main", &v1alpha1.ReportStatus{}
		run.Status.Suites = []v1alpha1.SuiteStatus{{Name: "unit"}, {Name: "e2e"}}
		if tc.edit != nil {
			tc.edit(run)
		}
		r := &Reporter{Log: slog.New(slog.DiscardHandler)}
		r.open(opened(&Reconciler{Registry: &rigRegistry{history: tc.history, fails: map[string]error{"History": tc.err}}, Log: r.Log}))
		r.expect(t.Context(), run)
		if diff := cmp.Diff(tc.want, run.Status.Report.Expected); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.name, diff)
		}
	}
}

func TestTheSetupTimeIsThatBetweenCheckoutAndTests(t *testing.T) {
	at := func(seconds int) *metav1.MicroTime {
		return new(metav1.NewMicroTime(noon.Add(time.Duration(seconds) * time.Second)))
	}
	run := &v1alpha1.Run{}
	run.Status.Stages = []v1alpha1.StageTime{{Name: "checkout", StartedAt: at(0)}, {Name: "secrets", StartedAt: at(2)}}
	if got := setupTime(run); got != 0 {
		t.Errorf("%v seconds before the tests", got)
	}
	run.Status.Stages = append(run.Status.Stages, v1alpha1.StageTime{Name: "tests", StartedAt: at(50)})
	if got := setupTime(run); got != 48 {
		t.Errorf("%v seconds, want 48", got)
	}
}
