package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/report"
	"github.com/w3evolutionsllc/conductor/internal/text"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

const (
	// reportPause is the least time between two reports of a Run that is under way: GitHub allows 80 writes of content a
	// minute (docs.github.com, rate limits for the REST API).
	reportPause = 3 * time.Second
	// suitesGrace is how long the first report waits for the suites to be known. Each has a check run of its own; one for the Run as a
	// whole is made only where they stay unknown.
	suitesGrace = 20 * time.Second
	// reportDeadline is how long the final report is tried; after that the Run says that it could not be told.
	reportDeadline = 24 * time.Hour
)

// Reporter tells GitHub how Runs stand: check runs on the commit, one comment on the issue. It walks beside the stages, so that
// no stage waits for GitHub, and it alone writes status.report, status.issue and status.issueSource.
type Reporter struct {
	Client client.Client
	GitHub GitHub
	// Shown is a Run with the texts that it has left to its record, and what its suites showed, as far as it is known.
	Shown func(ctx context.Context, run *v1alpha1.Run) (*v1alpha1.Run, []evidence.Suite, error)
	Log   *slog.Logger
	Now   func() time.Time

	last    lastTold
	written *written
}

// Reconcile brings GitHub to what the Run's status says.
func (r *Reporter) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.Run{}
	if err := r.Client.Get(ctx, req.NamespacedName, run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	run = r.written.newest(run)
	if run.DeletionTimestamp != nil || run.Status.StartedAt == nil {
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
	whole, results, err := r.shown(ctx, run)
	if err != nil && told(run) { // What is there says more than what could be told now.
		return ctrl.Result{}, fmt.Errorf("read again what run %s showed: %w", run.Name, err)
	}
	digest := report.Digest(run, names(results))
	if rep := run.Status.Report; rep != nil && rep.Digest == digest {
		return ctrl.Result{}, nil
	}
	over := run.Status.Outcome != ""
	if wait := r.last.wait(run.UID, r.now()); wait > 0 && !over {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	before := run.DeepCopy()
	if run.Status.Report == nil {
		run.Status.Report = &v1alpha1.ReportStatus{}
	}
	whole.Status.Report = run.Status.Report
	err = r.tell(ctx, run, whole, results)
	r.last.told(run.UID, r.now(), over)
	run.Status.Report.Message = ""
	if err == nil {
		run.Status.Report.Digest, run.Status.Report.Final = digest, over
	} else if f := failure.Of(err); f != nil {
		run.Status.Report.Message = text.Truncate(f.Sentence, 1024)
		r.giveUp(run, f, digest)
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

// next says when to come back after an error.
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

// tell brings the check runs, then the comment, to what the Run's status says; whole is the Run with the texts that it has left to its
// record. Both can fail by themselves.
func (r *Reporter) tell(ctx context.Context, run, whole *v1alpha1.Run, results []evidence.Suite) error {
	spec := run.Spec
	var errs []error
	if run.Status.IssueSource == "" {
		errs = append(errs, r.findIssue(ctx, run))
	}
	for _, c := range report.CheckRuns(whole, suiteNames(run), results) {
		id, err := r.GitHub.UpsertCheckRun(ctx, spec.InstallationID, spec.Repository, run.Status.Report.CheckRuns[c.ExternalID], c)
		if err != nil {
			errs = append(errs, fmt.Errorf("check run %s: %w", c.Name, err))
			continue
		}
		if run.Status.Report.CheckRuns == nil {
			run.Status.Report.CheckRuns = map[string]int64{}
		}
		run.Status.Report.CheckRuns[c.ExternalID] = id
	}
	if run.Status.Issue > 0 {
		id, err := r.GitHub.UpsertComment(ctx, spec.InstallationID, spec.Repository, run.Status.Issue, run.Status.Report.CommentID, report.Mark(run), report.Comment(whole, results, r.now()))
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

// findIssue finds the issue that the result goes to. Finding none is no failure: the check run tells all.
func (r *Reporter) findIssue(ctx context.Context, run *v1alpha1.Run) error {
	if run.Spec.Issue > 0 {
		run.Status.Issue, run.Status.IssueSource = run.Spec.Issue, "comment"
		if run.Status.Branch = branchOf(run.Spec.Ref, nil); run.Status.Branch != "" {
			return nil
		}
	}
	hints, err := r.GitHub.Hints(ctx, run.Spec.InstallationID, run.Spec.Repository, run.Spec.Object, run.Spec.SHA)
	if err != nil {
		return fmt.Errorf("look for the issue: %w", err)
	}
	run.Status.Branch = branchOf(run.Spec.Ref, hints.Branches)
	if run.Spec.Issue > 0 {
		return nil
	}
	run.Status.Issue, run.Status.IssueSource = trigger.Issue(run.Spec.Ref, hints)
	if run.Status.Issue == 0 {
		run.Status.IssueSource = "none"
	}
	return nil
}

// branchOf is the branch that a Run's results belong to: the one that its ref names, else the first whose head the commit is.
func branchOf(ref string, heads []string) string {
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return b
	}
	if len(heads) > 0 {
		return heads[0]
	}
	return ""
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
		r.written.keep(run)
	}
	return nil
}

func (r *Reporter) shown(ctx context.Context, run *v1alpha1.Run) (*v1alpha1.Run, []evidence.Suite, error) {
	if r.Shown == nil {
		return run, nil, nil
	}
	return r.Shown(ctx, run)
}

// endedSuites are the suites whose results there should be, and names those of results that are there.
func endedSuites(run *v1alpha1.Run) []string {
	var ended []string
	for _, st := range run.Status.Suites {
		if st.Outcome != "" && compact.HasAttempts(&st) {
			ended = append(ended, st.Name)
		}
	}
	return ended
}

func names(results []evidence.Suite) []string {
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
