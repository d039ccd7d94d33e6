package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/report"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// reportPause is the least time between two reports of a Run that is under way: GitHub allows 80 writes of content a
	// minute (docs.github.com, rate limits for the REST API).
	reportPause = 3 * time.Second
	// suitesGrace is how long the first report waits for the suites to be known. Each has a check run of its own; one for the Run as a
	// whole is made only where they stay unknown.
	suitesGrace = 20 * time.Second
	// reportDeadline is how long the final report is tried; after that the Run has the failure in its status.
	reportDeadline = 24 * time.Hour
)

// Reporter reports Runs to GitHub: check runs on the commit, one comment on the issue. It works beside the stages, so that
// no stage waits for GitHub, and it alone writes status.report, status.issue and status.issueSource.
type Reporter struct {
	Client client.Client
	GitHub GitHub
	Log    *slog.Logger
	Now    func() time.Time

	sessions *sessions
	// runs has what Runs showed, as far as it is known; readings read the rest beside the workers, and wake the Run.
	runs     *Reconciler
	readings *steps
	wake     chan event.TypedGenericEvent[*v1alpha1.Run]
}

// open connects the Reporter with the Reconciler of the same Runs. Setup calls it.
func (r *Reporter) open(runs *Reconciler) {
	r.runs, r.sessions, r.wake = runs, runs.sessions, make(chan event.TypedGenericEvent[*v1alpha1.Run], 1024)
	r.readings = newReadings(r.sessions, func(run *v1alpha1.Run) {
		select {
		case r.wake <- event.TypedGenericEvent[*v1alpha1.Run]{Object: run}:
		default: // It is requeued in any case.
		}
	})
}

// reconcileReport is the stage: it reads in the status what the Reporter wrote there.
func (r *Reconciler) reconcileReport(_ context.Context, s *state) error {
	if !s.hasOutcome() || !s.isOpen(v1alpha1.ConditionReported) {
		return nil
	}
	s.begin(v1alpha1.ConditionReported, "Posting the result to GitHub")
	switch rep := s.status().Report; {
	case rep == nil || !rep.Final:
	case rep.Message != "":
		s.fail(v1alpha1.ConditionReported, v1alpha1.ReasonUnavailable, "The result could not be posted to GitHub: "+rep.Message)
	default:
		s.done(v1alpha1.ConditionReported, v1alpha1.ReasonDone, "The result is on GitHub")
	}
	return nil
}

// Reconcile brings GitHub up to date with the Run's status.
func (r *Reporter) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.Run{}
	if err := r.Client.Get(ctx, req.NamespacedName, run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	run = r.sessions.newest(run)
	if run.DeletionTimestamp != nil {
		r.readings.forget(run.UID, func() {})
		r.sessions.forgetPosted(run.UID)
		return ctrl.Result{}, nil
	}
	if run.Status.StartedAt == nil {
		return ctrl.Result{}, nil
	}
	if rep := run.Status.Report; rep != nil && rep.Digest == report.Digest(run, endedSuites(run)) {
		return ctrl.Result{}, nil
	}
	if len(run.Status.Suites) == 0 && run.Status.Outcome == "" {
		if wait := diagnose.TimeLeft(run.Status.StartedAt.Time, suitesGrace, r.now()); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
		if noted, err := r.noteRunCheck(ctx, run); noted || err != nil {
			return ctrl.Result{RequeueAfter: time.Millisecond}, err
		}
	}
	known, wait := r.shown(run)
	if wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if known.err != nil && isReported(run) { // The report that is there has more in it than one of now would.
		return ctrl.Result{}, fmt.Errorf("read again what run %s showed: %w", run.Name, known.err)
	}
	whole, results := known.restore(run), known.suites
	digest := report.Digest(run, resultNames(results))
	if rep := run.Status.Report; rep != nil && rep.Digest == digest {
		return ctrl.Result{}, nil
	}
	over := run.Status.Outcome != ""
	if wait := r.sessions.reportPauseLeft(run.UID, r.now()); wait > 0 && !over {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	before := run.DeepCopy()
	if run.Status.Report == nil {
		run.Status.Report = &v1alpha1.ReportStatus{}
	}
	r.expect(ctx, run)
	whole.Status.Report = run.Status.Report
	if !over {
		ctx = v1alpha1.WithProgress(ctx)
	}
	err := r.post(ctx, run, whole, results)
	r.sessions.noteReport(run.UID, r.now(), over)
	run.Status.Report.Message = ""
	if err == nil {
		run.Status.Report.Digest, run.Status.Report.Final = digest, over
	} else if f := failure.Of(err); f != nil {
		run.Status.Report.Message = text.Truncate(f.Sentence, 1024)
		r.giveUp(run, f, digest)
	}
	if err == nil || run.Status.Report.Final {
		r.sessions.forgetPosted(run.UID)
	}
	faults.Between(&before.Status, &run.Status)
	if perr := r.patch(ctx, before, run, digest); perr != nil {
		return ctrl.Result{}, errors.Join(err, perr)
	}
	return r.next(run, err)
}

// noteRunCheck notes the check run of the Run as a whole before it is made, and reports whether it was not noted yet. Once suites are
// known, only one that is noted is kept up to date: made and not noted, it would stay in progress for ever.
func (r *Reporter) noteRunCheck(ctx context.Context, run *v1alpha1.Run) (bool, error) {
	before := run.DeepCopy()
	if run.Status.Report == nil {
		run.Status.Report = &v1alpha1.ReportStatus{}
	}
	if _, ok := run.Status.Report.CheckRuns[run.Name]; ok {
		return false, nil
	}
	if run.Status.Report.CheckRuns == nil {
		run.Status.Report.CheckRuns = map[string]int64{}
	}
	run.Status.Report.CheckRuns[run.Name] = 0
	return true, r.write(ctx, before, run)
}

// giveUp makes a report final that cannot be brought to GitHub: because only a person can mend it, or after a day.
func (r *Reporter) giveUp(run *v1alpha1.Run, f *failure.Error, digest string) {
	done := run.Status.FinishedAt
	if done == nil {
		return
	}
	if f.Kind == failure.Terminal || r.now().Sub(done.Time) > reportDeadline {
		run.Status.Report.Final, run.Status.Report.Digest = true, digest
	}
}

// next decides when to retry after an error.
func (r *Reporter) next(run *v1alpha1.Run, err error) (ctrl.Result, error) {
	f := failure.Of(err)
	if f == nil || run.Status.Report.Final {
		return ctrl.Result{}, nil
	}
	switch f.Kind {
	case failure.Waiting:
		return ctrl.Result{RequeueAfter: f.After}, nil
	case failure.Terminal:
		r.Log.Error("a report cannot be brought to GitHub", "run", run.Name, "error", err)
		return ctrl.Result{RequeueAfter: time.Minute}, nil
	}
	return ctrl.Result{}, fmt.Errorf("report run %s: %w", run.Name, err)
}

// post brings the check runs, then the comment, up to date; whole is the Run with the texts that it left to its record. Both can fail by themselves.
func (r *Reporter) post(ctx context.Context, run, whole *v1alpha1.Run, results []evidence.Suite) error {
	spec := run.Spec
	var errs []error
	if run.Status.IssueSource == "" {
		f, err := findIssue(ctx, r.GitHub, run) // The Run ended before its checkout found it.
		f.note(&run.Status)
		errs = append(errs, err)
	}
	left := report.TimeLeft(whole, r.now())
	for _, c := range report.CheckRuns(whole, suiteNames(run), results, left) {
		known := run.Status.Report.CheckRuns[c.ExternalID]
		if known != 0 && r.sessions.isPosted(run.UID, c) {
			continue
		}
		id, err := r.GitHub.UpsertCheckRun(ctx, spec.InstallationID, spec.Repository, known, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("check run %s: %w", c.Name, err))
			continue
		}
		if run.Status.Report.CheckRuns == nil {
			run.Status.Report.CheckRuns = map[string]int64{}
		}
		run.Status.Report.CheckRuns[c.ExternalID] = id
		r.sessions.notePosted(run.UID, c)
	}
	if run.Status.Issue > 0 {
		id, err := r.GitHub.UpsertComment(ctx, spec.InstallationID, spec.Repository, run.Status.Issue, run.Status.Report.CommentID, report.Mark(run), report.Comment(whole, results, left, r.now()))
		if err != nil {
			errs = append(errs, fmt.Errorf("comment on #%d: %w", run.Status.Issue, err))
		} else {
			run.Status.Report.CommentID = id
		}
	}
	// What only a person can mend must not keep the rest from being tried again.
	for _, err := range errs {
		if err != nil && !failure.IsTerminal(err) {
			return err
		}
	}
	return errors.Join(errs...)
}

// patch writes the reporter's part of the status and nothing else, so that it never undoes what a stage wrote meanwhile. What the API
// server refuses for what is in it is replaced by a part that reports this; digest is what need not be reported again.
func (r *Reporter) patch(ctx context.Context, before, run *v1alpha1.Run, digest string) error {
	err := r.write(ctx, before, run)
	if !isRefused(err) {
		return err
	}
	r.Log.Error("the API server refuses the report of a run", "run", run.Name, "error", err)
	short := before.DeepCopy()
	short.Status.Report = &v1alpha1.ReportStatus{
		CommentID: run.Status.Report.CommentID, Digest: digest, Final: run.Status.Outcome != "", Message: text.Truncate(refusal(err), 1024),
	}
	if before.Status.Report != nil {
		short.Status.Report.CheckRuns = before.Status.Report.CheckRuns
	}
	return r.write(ctx, before, short)
}

func (r *Reporter) write(ctx context.Context, before, run *v1alpha1.Run) error {
	if equality.Semantic.DeepEqual(before.Status, run.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, run, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("note the report of %s: %w", run.Name, err)
	} else if err == nil {
		r.sessions.keepWritten(run)
	}
	return nil
}

// shown is what a Run showed. What is not in memory is read beside the worker: until then there is a time to wait, and the end of the
// reading wakes the Run.
func (r *Reporter) shown(run *v1alpha1.Run) (shown, time.Duration) {
	if known, ok := r.runs.shownInMemory(run); ok {
		return known, 0
	}
	got, err := r.readings.takeAt(run, r.now(), "reading what the run showed", func(ctx context.Context, run *v1alpha1.Run) taken {
		return taken{value: r.runs.readShown(ctx, run)}
	})
	if f := failure.Of(err); f != nil {
		return shown{}, max(f.After, time.Millisecond)
	}
	r.readings.forget(run.UID, func() {})
	return got.value.(shown), 0
}

// endedSuites are the suites whose results there should be, and resultNames those of results that are there.
func endedSuites(run *v1alpha1.Run) []string {
	var ended []string
	for _, st := range run.Status.Suites {
		if st.Outcome != "" && compact.HasAttempts(&st) {
			ended = append(ended, st.Name)
		}
	}
	return ended
}

func resultNames(results []evidence.Suite) []string {
	list := make([]string, 0, len(results))
	for _, s := range results {
		list = append(list, s.Name)
	}
	return list
}

func (r *Reporter) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// suiteNames are the suites that the Run is known to have.
func suiteNames(run *v1alpha1.Run) []string {
	names := make([]string, 0, len(run.Status.Suites))
	for _, s := range run.Status.Suites {
		names = append(names, s.Name)
	}
	return names
}
