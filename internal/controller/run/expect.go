package run

import (
	"context"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/result"
)

const (
	// expectTime is how long the first report may wait for the histories of the suites.
	expectTime = 2 * time.Second
	// maxExpected is the most suites of a Run whose histories are read.
	maxExpected = 16
)

// expect finds out once how long a Run usually takes. A history that cannot be read is not known: the report does without it.
func (r *Reporter) expect(ctx context.Context, run *v1alpha1.Run) {
	st := &run.Status
	if st.Report.Expected != nil || st.Outcome != "" || len(st.Suites) == 0 {
		return
	}
	st.Report.Expected = &v1alpha1.ExpectedTimes{}
	if st.Branch == "" || len(st.Suites) > maxExpected {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, expectTime)
	defer cancel()
	usual := map[string]int32{}
	for _, s := range st.Suites {
		suite, setup, err := r.runs.usual(ctx, run, s.Name)
		if err != nil {
			r.Log.Warn("the history of a suite could not be read", "run", run.Name, "suite", s.Name, "branch", st.Branch, "error", err)
			return
		}
		if suite == 0 {
			return
		}
		usual[s.Name] = int32(suite / time.Second)
		st.Report.Expected.Setup = max(st.Report.Expected.Setup, int32(setup/time.Second))
	}
	st.Report.Expected.Suites = usual
}

// usual returns how long a suite usually takes on the Run's branch. Histories are in memory one at a time.
func (r *Reconciler) usual(ctx context.Context, run *v1alpha1.Run, suite string) (took, setup time.Duration, err error) {
	select {
	case r.results.comparing <- struct{}{}:
		defer func() { <-r.results.comparing }()
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	history, err := r.Registry.History(ctx, run.Spec.Repository, run.Status.Branch, suite)
	if err != nil {
		return 0, 0, err
	}
	took, setup = result.Usual(history)
	return took, setup, nil
}

// setupTime is how long a Run took from the end of its checkout to its first suite, in seconds; 0 if it has not come that far.
func setupTime(run *v1alpha1.Run) float64 {
	var from, to time.Time
	for _, t := range run.Status.Stages {
		switch {
		case t.StartedAt == nil:
		case t.Name == "secrets":
			from = t.StartedAt.Time
		case t.Name == "tests":
			to = t.StartedAt.Time
		}
	}
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(0, to.Sub(from).Seconds())
}
