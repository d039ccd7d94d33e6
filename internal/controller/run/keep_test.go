package run

import (
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// The look that finds the outcome may be at an old state of the Run. What it decides is not yet true, so it ends nothing.
func TestNothingIsEndedBeforeTheOutcomeStands(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", UID: "1"}}
	run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomeError, &metav1.MicroTime{Time: noon}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: jobs.StackName(run), Labels: jobs.Labels(run, jobs.StageStack)}}
	kube := fake.NewClientset(ns)
	r := &Reconciler{Kube: kube, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	s := &state{run: run, now: noon}
	if err := r.reconcileKeep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n := len(kube.Actions()); n > 0 {
		t.Errorf("%d calls before the outcome stands: %v", n, kube.Actions())
	}
	c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackKept)
	if c == nil || c.Status != metav1.ConditionUnknown {
		t.Errorf("StackKept = %+v, want Unknown, so that its change brings the next look", c)
	}
}
