package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

// strict is an API server with the limits of the custom resource that these tests exceed.
var strict = interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	run := o.(*v1alpha1.Run)
	var all field.ErrorList
	if n := len(run.Status.Suites); n > 64 {
		all = append(all, field.TooMany(field.NewPath("status", "suites"), n, 64))
	}
	if rep := run.Status.Report; rep != nil && len(rep.CheckRuns) > 64 {
		all = append(all, field.TooMany(field.NewPath("status", "report", "checkRuns"), len(rep.CheckRuns), 64))
	}
	if len(all) > 0 {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("Run").GroupKind(), run.Name, all)
	}
	return c.SubResource(sub).Patch(ctx, o, p, opts...)
}}

// onlyStages replaces the stages of every Run.
func onlyStages(t *testing.T, these ...stageRunner) {
	t.Helper()
	all := stages
	t.Cleanup(func() { stages = all })
	stages = these
}

func manySuites(s *state) {
	for i := range 65 {
		suiteStatus(s.status(), fmt.Sprint("suite-", i))
	}
}

func TestAStatusThatIsRefusedEndsTheRunWithTheCause(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1", Finalizers: []string{v1alpha1.Finalizer}}}
	run.Spec.Ceilings.Keep = metav1.Duration{Duration: time.Hour}
	c := newCluster(t, strict, run, namespace("conductor-builds"), stackOf(run))
	walks := 0
	onlyStages(t, stageRunner{*stage.Of(v1alpha1.ConditionCheckedOut), func(_ *Reconciler, _ context.Context, s *state) error {
		if walks++; walks == 1 {
			s.begin(v1alpha1.ConditionCheckedOut, "Reading")
			s.status().Namespace, s.status().Keep = stackOf(s.run).Name, "1h"
			return nil
		}
		manySuites(s)
		return nil
	}}, stageRunner{*stage.Of(v1alpha1.ConditionStackKept), (*Reconciler).reconcileKeep})
	now := &v1alpha1.Run{}
	reconcile := func() {
		t.Helper()
		if _, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)}); err != nil {
			t.Errorf("it is tried again: %v", err)
		}
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(run), now); err != nil {
			t.Fatal(err)
		}
	}
	reconcile()
	if now.Status.Outcome != "" || now.Status.Namespace == "" {
		t.Fatalf("a status that is valid: %+v", now.Status)
	}
	reconcile()
	want := "Conductor could not store this run's status: status.suites: Too many: 65: must have at most 64 items. " +
		"Reduce what the repository declares of it, or ask the operator"
	if st := now.Status; st.Outcome != v1alpha1.OutcomeError || st.Message != want || st.Phase != v1alpha1.PhaseReporting || st.FinishedAt == nil {
		t.Errorf("outcome %q, phase %q, message %q", st.Outcome, st.Phase, st.Message)
	}
	if e := now.Status.ExpiresAt; e == nil || !e.Equal(&metav1.Time{Time: noon.Add(time.Hour)}) {
		t.Errorf("the stack expires at %s", e)
	}
	if cond := condition(&state{run: now}, v1alpha1.ConditionCheckedOut); cond.Status != metav1.ConditionFalse || !strings.HasSuffix(cond.Message, want) {
		t.Errorf("CheckedOut = %+v", cond)
	}
	if !strings.Contains(c.log.String(), "the API server refuses the status of a run") {
		t.Errorf("log: %q", c.log)
	}
	c.Now = func() time.Time { return noon.Add(time.Hour) }
	for range 5 {
		reconcile()
	}
	if cond := condition(&state{run: now}, v1alpha1.ConditionStackKept); walks != 2 || cond.Status != metav1.ConditionFalse || cond.Reason != v1alpha1.ReasonExpired {
		t.Errorf("%d walks, StackKept = %+v", walks, cond)
	}
}

// The first status of a Run may be the one that is refused; nothing is reported of a Run that has not begun.
func TestAFirstStatusThatIsRefusedIsReported(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1", Finalizers: []string{v1alpha1.Finalizer}}}
	c := newCluster(t, strict, run)
	onlyStages(t, stageRunner{*stage.Of(v1alpha1.ConditionCheckedOut), func(_ *Reconciler, _ context.Context, s *state) error {
		manySuites(s)
		return errors.New("one more thing went wrong")
	}})
	if _, err := c.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)}); err == nil {
		t.Error("the other error is lost")
	}
	now := &v1alpha1.Run{}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(run), now); err != nil || now.Status.StartedAt == nil || now.Status.Outcome != v1alpha1.OutcomeError {
		t.Errorf("status %+v, %v", now.Status, err)
	}
}

// What a stage adds after the outcome and the API server refuses keeps the Run from no end.
func TestARunThatIsOverGoesOnWithoutWhatIsRefused(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	run.Status = v1alpha1.RunStatus{Outcome: v1alpha1.OutcomePassed, Message: "All tests passed", FinishedAt: &metav1.MicroTime{Time: noon}}
	c := newCluster(t, strict, run)
	s := &state{run: run.DeepCopy(), now: noon}
	manySuites(s)
	s.done(v1alpha1.ConditionRecorded, v1alpha1.ReasonDone, "kept")
	if err := c.patchStatus(t.Context(), run, s); err != nil {
		t.Fatal(err)
	}
	now := &v1alpha1.Run{}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(run), now); err != nil {
		t.Fatal(err)
	}
	if st := now.Status; st.Outcome != v1alpha1.OutcomePassed || st.Message != "All tests passed" || len(st.Suites) > 0 || len(st.Conditions) != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestARefusedReportIsNotMadeAgain(t *testing.T) {
	for _, outcome := range []v1alpha1.Outcome{"", v1alpha1.OutcomePassed} {
		run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
		run.Status.Outcome = outcome
		c := newCluster(t, strict, run)
		rep := &Reporter{Client: c.Client, Log: c.Log, sessions: c.sessions}
		before := run.DeepCopy()
		run.Status.Report = &v1alpha1.ReportStatus{CommentID: 9, CheckRuns: map[string]int64{}}
		for i := range 65 {
			run.Status.Report.CheckRuns[fmt.Sprint(i)] = 1
		}
		if err := rep.patch(t.Context(), before, run, "abc"); err != nil {
			t.Fatal(err)
		}
		now := &v1alpha1.Run{}
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(run), now); err != nil || now.Status.Report == nil {
			t.Fatalf("report %+v, %v", now.Status.Report, err)
		}
		if got := now.Status.Report; got.CommentID != 9 || got.Digest != "abc" || got.Final != (outcome != "") || !strings.Contains(got.Message, "checkRuns: Too many: 65") {
			t.Errorf("outcome %q: report %+v", outcome, got)
		}
	}
}

func TestOnlyWhatCanNeverBeStoredIsRefused(t *testing.T) {
	group := v1alpha1.GroupVersion.WithKind("Run").GroupKind()
	resource := v1alpha1.GroupVersion.WithResource("runs").GroupResource()
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{apierrors.NewInvalid(group, "r", nil), true},
		{fmt.Errorf("note it: %w", apierrors.NewInvalid(group, "r", nil)), true},
		{apierrors.NewRequestEntityTooLargeError("limit is 3145728"), true},
		{apierrors.NewInternalError(errors.New("etcdserver: request is too large")), true},
		{apierrors.NewConflict(resource, "r", errors.New("changed")), false},
		{apierrors.NewForbidden(resource, "r", errors.New("no RoleBinding")), false},
		{apierrors.NewServiceUnavailable("away"), false},
		{context.DeadlineExceeded, false},
	} {
		if got := isRefused(tc.err); got != tc.want {
			t.Errorf("isRefused(%v) = %t", tc.err, got)
		}
	}
	long := refusal(apierrors.NewInternalError(errors.New("etcdserver: request is too large: " + strings.Repeat("x\n", 5000))))
	if len(long) > 500 || !strings.Contains(long, "etcdserver: request is too large") || strings.Contains(long, "\n") {
		t.Errorf("%d bytes: %q", len(long), long)
	}
}
