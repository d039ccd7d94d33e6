package run

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/report"
)

// recordedRun has failed, is recorded, and has everything that the record holds, too.
func recordedRun() *v1alpha1.Run {
	s := newState()
	run := s.run
	run.Name, run.Namespace, run.UID = "shop-1", "conductor", "uid-1"
	run.Spec = v1alpha1.RunSpec{Repository: v1alpha1.Repository{ID: 1, Owner: "acme", Name: "shop"}, SHA: strings.Repeat("a", 40), Ref: "refs/heads/main", Issue: 12}
	run.Status.Issue, run.Status.IssueSource, run.Status.Branch, run.Status.Namespace, run.Status.Keep = 12, "comment", "main", "stack-shop-1", "24h0m0s"
	run.Status.Suites = []v1alpha1.SuiteStatus{{
		Name: "e2e", Outcome: v1alpha1.OutcomeFailed, ExitCode: new(int32(1)), Shards: 1, Log: "the last words of e2e", StartedAt: s.timestamp(), FinishedAt: s.timestamp(),
		Totals: &v1alpha1.TestTotals{Tests: 2, Passed: 1, Failed: 1}, Failures: []v1alpha1.TestFailure{{Name: "pays with a card", Message: "got 502"}},
		Attempts: []v1alpha1.AttemptStatus{{Number: 1, Outcome: v1alpha1.OutcomeFailed, ExitCode: new(int32(1))}},
	}}
	run.Status.Images = []v1alpha1.ImageStatus{{Name: "web", Repository: "registry.example.com/acme/shop/web", Digest: someDigest, StartedAt: s.timestamp(), FinishedAt: s.timestamp()}}
	run.Status.Services = []v1alpha1.ServiceStatus{{Name: "db", State: v1alpha1.ServiceStarting, Message: "It crashed 3 times\npanic: no disk"}}
	s.finish(v1alpha1.OutcomeFailed, v1alpha1.ReasonTestsFailed, "Failed: e2e")
	run.Status.Record = &v1alpha1.RecordStatus{Reference: "registry.example.com/records/acme/shop:shop-1", Digest: someDigest, Size: 1000}
	s.done(v1alpha1.ConditionRecorded, v1alpha1.ReasonDone, "The record is kept")
	run.Status.Report = &v1alpha1.ReportStatus{Final: true, CommentID: 7, Digest: report.Digest(run, []string{"e2e"})}
	return run
}

func TestTextsLeaveARunOnceTheyAreRecordedAndReported(t *testing.T) {
	fold := func(change func(*state)) bool {
		s := newState()
		s.run = recordedRun()
		change(s)
		s.leaveToRecord()
		return s.run.Status.Suites[0].Log == ""
	}
	for what, tc := range map[string]struct {
		change func(*state)
		want   bool
	}{
		"all is reported":                {func(*state) {}, true},
		"the outcome is not reported":    {func(s *state) { s.status().Report.Final = false }, false},
		"there was no report":            {func(s *state) { s.status().Report = nil }, false},
		"the record is not":              {func(s *state) { s.status().Report.Digest = "of an earlier state" }, false},
		"there is no record":             {func(s *state) { s.status().Record = nil }, false},
		"the record could not be ended":  {func(s *state) { s.fail(v1alpha1.ConditionRecorded, v1alpha1.ReasonUnavailable, "no answer") }, false},
		"the record is still being kept": {func(s *state) { s.begin(v1alpha1.ConditionRecorded, "Keeping the record") }, false},
	} {
		if got := fold(tc.change); got != tc.want {
			t.Errorf("%s: the texts have left the Run: %t, want %t", what, got, tc.want)
		}
	}
}

// What leaves the Run is nothing new to report, or each Run would be reported once more.
func TestWhatLeavesARunIsNoNews(t *testing.T) {
	run := recordedRun()
	before := report.Digest(run, []string{"e2e"})
	if !compact.Fold(&run.Status) {
		t.Fatal("nothing was folded")
	}
	if report.Digest(run, []string{"e2e"}) != before {
		t.Error("a Run has to be reported again because its texts are in the record")
	}
}

// recordShelf is a registry with one record.
type recordShelf struct {
	Registry
	result evidence.Result
	err    error
	asked  []v1alpha1.RecordStatus
}

func (r *recordShelf) OpenResult(_ context.Context, record v1alpha1.RecordStatus) (io.ReadCloser, error) {
	r.asked = append(r.asked, record)
	if r.err != nil {
		return nil, r.err
	}
	var text strings.Builder
	err := evidence.WriteResult(&text, r.result)
	return io.NopCloser(strings.NewReader(text.String())), err
}

// comments keeps the last comment and check run.
type comments struct {
	GitHub
	comment string
	check   v1alpha1.CheckRun
}

func (c *comments) UpsertComment(_ context.Context, _ int64, _ v1alpha1.Repository, _ int, id int64, _, body string) (int64, error) {
	c.comment = body
	return id, nil
}

func (c *comments) UpsertCheckRun(_ context.Context, _ int64, _ v1alpha1.Repository, _ int64, check v1alpha1.CheckRun) (int64, error) {
	c.check = check
	return 1, nil
}

// reportOf reports a Run whose stack has expired since it was folded; no memory of what it showed is left.
func reportOf(t *testing.T, shelf *recordShelf) (*comments, error) {
	t.Helper()
	run := recordedRun()
	shelf.result = resultOf(run, []evidence.Suite{{Name: "e2e", Outcome: "failed", Totals: &evidence.Totals{Tests: 2, Passed: 1, Failed: 1}, Cases: []evidence.Case{{Name: "pays with a card", Status: evidence.Failed, Message: "got 502"}}}})
	if shelf.err != nil {
		shelf.result = evidence.Result{}
	}
	compact.Fold(&run.Status)
	s := &state{run: run, now: noon.Add(25 * time.Hour)}
	s.fail(v1alpha1.ConditionStackKept, v1alpha1.ReasonExpired, "The stack was kept for 24h0m0s and is deleted")
	run.Status.Namespace = ""
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(run).WithObjects(run).Build()
	said := &comments{}
	log := slog.New(slog.DiscardHandler)
	rep := &Reporter{Client: kube, GitHub: said, Log: log, Now: func() time.Time { return s.now }}
	rep.open(opened(&Reconciler{Registry: shelf, Log: log}))
	req := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)}
	if res, err := rep.Reconcile(t.Context(), req); err != nil || res.RequeueAfter == 0 || said.comment != "" {
		t.Fatalf("%v, %v, and the comment %q before the record is read", res, err, said.comment)
	}
	<-rep.wake
	_, err := rep.Reconcile(t.Context(), req)
	left := &v1alpha1.Run{}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(run), left); err != nil {
		t.Fatal(err)
	}
	if !compact.IsFolded(&left.Status) || left.Status.Suites[0].Log != "" {
		t.Error("the report brought the texts back into the Run")
	}
	return said, err
}

func TestALaterReportHasTheTextsOfTheRecord(t *testing.T) {
	shelf := &recordShelf{}
	said, err := reportOf(t, shelf)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the last words of e2e", "pays with a card", "got 502", "panic: no disk", "It crashed 3 times"} {
		if !strings.Contains(said.comment, want) {
			t.Errorf("the comment has lost %q:\n%s", want, said.comment)
		}
	}
	if !strings.Contains(said.check.Text, "the last words of e2e") || strings.Contains(said.comment, "could not be read again") {
		t.Errorf("the check run: %s\nthe comment: %s", said.check.Text, said.comment)
	}
	if len(shelf.asked) != 1 || shelf.asked[0].Digest != someDigest {
		t.Errorf("the record was read as %+v, want once and by its digest", shelf.asked)
	}
}

func TestALaterReportNotesThatTheRecordIsGone(t *testing.T) {
	said, err := reportOf(t, &recordShelf{err: failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is no such record")})
	if err != nil || !strings.Contains(said.comment, "The record could not be read again") || !strings.Contains(said.comment, "1 of 2 tests failed") {
		t.Errorf("%v\n%s", err, said.comment)
	}
}

func TestALaterReportWaitsForARegistryThatIsAway(t *testing.T) {
	said, err := reportOf(t, &recordShelf{err: errors.New("connection refused")})
	if err == nil || said.comment != "" {
		t.Errorf("a report with less text than before was made, and the error is %v", err)
	}
}

func TestTheResultHasTheLogsOfAllSuitesThatEnded(t *testing.T) {
	at := newState().timestamp()
	got := withLogs([]v1alpha1.SuiteStatus{
		{Name: "known", Outcome: v1alpha1.OutcomePassed, Log: "log 1"}, {Name: "lost", Outcome: v1alpha1.OutcomeError, Message: "evicted", Log: "log 2", Shards: 2, FinishedAt: at}, {Name: "never"},
	}, []evidence.Suite{{Name: "known", Outcome: "passed", Totals: &evidence.Totals{Tests: 1}}})
	want := []evidence.Suite{
		{Name: "known", Outcome: "passed", Totals: &evidence.Totals{Tests: 1}, Log: "log 1"},
		{Name: "lost", Outcome: "error", Message: "evicted", Shards: 2, Log: "log 2", FinishedAt: instant(at)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
