package run

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// checkPage is the check runs of a commit, by their external ids.
type checkPage struct {
	GitHub
	checks map[string]v1alpha1.CheckRun
}

func (p *checkPage) Hints(context.Context, int64, v1alpha1.Repository, string, string) (v1alpha1.CommitHints, error) {
	return v1alpha1.CommitHints{}, nil
}

func (p *checkPage) UpsertCheckRun(_ context.Context, _ int64, _ v1alpha1.Repository, _ int64, check v1alpha1.CheckRun) (int64, error) {
	p.checks[check.ExternalID] = check
	return int64(len(p.checks)), nil
}

// A process may end, or the API server be away, after any check run was made and before its id is stored.
func TestNoCheckRunIsForgottenWhenItsIDIsNotStored(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	run.Status.StartedAt = &metav1.MicroTime{Time: noon}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lost, page := false, &checkPage{checks: map[string]v1alpha1.CheckRun{}}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(run).WithObjects(run).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if !lost && len(page.checks) > 0 {
				lost = true
				return context.DeadlineExceeded
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	now := noon.Add(suitesGrace)
	reconcile := func() {
		// Each time by a process that remembers nothing.
		r := &Reporter{Client: kube, GitHub: page, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
		r.open(opened(&Reconciler{}))
		for tries := 0; tries == 0 || !lost && tries < 5; tries++ {
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)}); err != nil && !lost {
				t.Fatal(err)
			}
		}
	}
	reconcile()
	if c := page.checks["shop-1"]; !lost || c.Status != "in_progress" {
		t.Fatalf("no write was lost: %t; check run of the whole run: %+v", lost, c)
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
		t.Fatal(err)
	}
	at := metav1.NewMicroTime(now)
	run.Status.Suites = []v1alpha1.SuiteStatus{{Name: "e2e", Outcome: v1alpha1.OutcomePassed, FinishedAt: &at}}
	run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomePassed, &at
	if err := kube.Status().Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	reconcile()
	for _, id := range []string{"shop-1", "shop-1/e2e"} {
		if c := page.checks[id]; c.Conclusion != "success" {
			t.Errorf("check run %s: status %q, conclusion %q", id, c.Status, c.Conclusion)
		}
	}
}

// The stage reads what the reporter has written: it is done, or has failed for good, when that is final.
func TestTheStageEndsWithTheLastReport(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report *v1alpha1.ReportStatus
		status metav1.ConditionStatus
		want   string
	}{
		{"nothing is posted", nil, metav1.ConditionUnknown, "Posting"},
		{"the last report is not posted", &v1alpha1.ReportStatus{Message: "rate limit"}, metav1.ConditionUnknown, "Posting"},
		{"it is posted", &v1alpha1.ReportStatus{Final: true}, metav1.ConditionTrue, "on GitHub"},
		{"it was given up", &v1alpha1.ReportStatus{Final: true, Message: "the App was removed"}, metav1.ConditionFalse, "the App was removed"},
	} {
		s := newState()
		if err := (&Reconciler{}).reconcileReport(t.Context(), s); err != nil || condition(s, v1alpha1.ConditionReported).Type != "" {
			t.Errorf("%s: before the outcome is known: %v, %+v", tc.name, err, condition(s, v1alpha1.ConditionReported))
		}
		s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "All tests passed")
		s.status().Report = tc.report
		for range 2 {
			if err := (&Reconciler{}).reconcileReport(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if c := condition(s, v1alpha1.ConditionReported); c.Status != tc.status || !strings.Contains(c.Message, tc.want) {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}

// A report that only a person can make possible is tried at intervals until the outcome is known, and one that fails otherwise for a day.
func TestAReportIsGivenUpInTheEnd(t *testing.T) {
	terminal := failure.Terminalf(v1alpha1.ReasonRefused, nil, "The App was removed")
	transient := failure.Transientf(v1alpha1.ReasonUnavailable, nil, "GitHub did not answer")
	for _, tc := range []struct {
		name    string
		err     *failure.Error
		over    time.Duration // since the outcome is known; less than 0 before that
		final   bool
		requeue time.Duration
		fails   bool
	}{
		{"a run under way", terminal, -1, false, time.Minute, false},
		{"a run under way, and GitHub is away", transient, -1, false, 0, true},
		{"a rate limit", failure.Waitingf(v1alpha1.ReasonPending, 7*time.Second, "rate limit"), 0, false, 7 * time.Second, false},
		{"the outcome", terminal, 0, true, 0, false},
		{"the outcome, and GitHub is away", transient, reportDeadline, false, 0, true},
		{"the outcome, and GitHub was away for a day", transient, reportDeadline + time.Second, true, 0, false},
	} {
		run := &v1alpha1.Run{Status: v1alpha1.RunStatus{Report: &v1alpha1.ReportStatus{}}}
		if tc.over >= 0 {
			run.Status.FinishedAt = new(metav1.NewMicroTime(noon.Add(-tc.over)))
		}
		r := &Reporter{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
		r.giveUp(run, tc.err, "digest")
		if run.Status.Report.Final != tc.final || (run.Status.Report.Digest == "digest") != tc.final {
			t.Errorf("%s: %+v", tc.name, run.Status.Report)
		}
		next, err := r.next(run, tc.err)
		if next.RequeueAfter != tc.requeue || (err != nil) != tc.fails {
			t.Errorf("%s: next %+v, %v", tc.name, next, err)
		}
	}
}

// fullPage has no room for comments until a time, and counts what is written.
type fullPage struct {
	checkPage
	now      func() time.Time
	room     time.Time
	writes   map[string]int
	comments int
	progress []bool
}

func (p *fullPage) UpsertCheckRun(ctx context.Context, i int64, repo v1alpha1.Repository, id int64, check v1alpha1.CheckRun) (int64, error) {
	p.writes[check.ExternalID]++
	return p.checkPage.UpsertCheckRun(ctx, i, repo, id, check)
}

func (p *fullPage) UpsertComment(ctx context.Context, _ int64, _ v1alpha1.Repository, _ int, _ int64, _, _ string) (int64, error) {
	p.progress = append(p.progress, v1alpha1.IsProgress(ctx))
	if wait := p.room.Sub(p.now()); wait > 0 {
		return 0, failure.Waitingf(v1alpha1.ReasonUnavailable, wait, "GitHub rate limit reached")
	}
	p.comments++
	return 1, nil
}

// A result whose comment has to wait is stored, its conclusion is written once, and the comment follows when there is room.
func TestAResultOutlivesALimit(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	at := metav1.NewMicroTime(noon)
	run.Status.StartedAt, run.Status.Issue, run.Status.IssueSource = &at, 7, "comment"
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(run).WithObjects(run).Build()
	now := noon.Add(suitesGrace)
	clock := func() time.Time { return now }
	page := &fullPage{checkPage: checkPage{checks: map[string]v1alpha1.CheckRun{}}, now: clock, room: now.Add(10 * time.Minute), writes: map[string]int{}}
	r := &Reporter{Client: kube, GitHub: page, Log: slog.New(slog.DiscardHandler), Now: clock}
	r.open(opened(&Reconciler{}))
	reconcile := func() time.Duration {
		t.Helper()
		res, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)})
		if err != nil {
			t.Fatal(err)
		}
		if err := kube.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
			t.Fatal(err)
		}
		return res.RequeueAfter
	}
	reconcile() // It notes the check run.
	if wait := reconcile(); wait != 10*time.Minute || len(page.progress) != 1 || !page.progress[0] {
		t.Errorf("a run in progress is reported again after %s; progress: %v", wait, page.progress)
	}
	run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomePassed, &at
	if err := kube.Status().Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	clear(page.writes)
	page.progress = nil
	for range 5 {
		now = now.Add(time.Minute)
		if wait := reconcile(); wait != page.room.Sub(now) {
			t.Errorf("the result is reported again after %s", wait)
		}
	}
	if n := page.writes["shop-1"]; n != 1 || page.checks["shop-1"].Conclusion != "success" {
		t.Errorf("the conclusion %q was written %d times", page.checks["shop-1"].Conclusion, n)
	}
	if rep := run.Status.Report; rep.Final || rep.Message == "" || page.comments != 0 || page.progress[0] {
		t.Errorf("report %+v, %d comments, progress %v", rep, page.comments, page.progress)
	}
	now = page.room
	reconcile()
	if rep := run.Status.Report; !rep.Final || rep.Message != "" || page.comments != 1 || page.writes["shop-1"] != 1 {
		t.Errorf("report %+v, %d comments, %d conclusions", rep, page.comments, page.writes["shop-1"])
	}
	if r.sessions.find(run.UID).posted != nil {
		t.Error("the session remembers a report that has ended")
	}
}
