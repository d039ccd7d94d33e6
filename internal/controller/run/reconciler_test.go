package run

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

// watcher keeps what changed of Runs.
type watcher struct{ changes []observe.Transition }

func (w *watcher) Decided(observe.Decision) {}

func (w *watcher) Changed(_ string, _ *v1alpha1.Run, changes []observe.Transition) {
	w.changes = append(w.changes, changes...)
}

// A Run is held by the finalizer before anything is made for it. Each reconcile then stores what the stages did, once, and observers
// learn of it when it is stored.
func TestARunIsReconciledOnceItIsHeld(t *testing.T) {
	w := newRig(t, nil)
	seen, calls := &watcher{}, 0
	w.Observer = seen
	onlyStages(t, stageRunner{*stage.Of(v1alpha1.ConditionCheckedOut), func(_ *Reconciler, _ context.Context, s *state) error {
		if calls++; calls == 1 {
			return failure.Waitingf(v1alpha1.ReasonPending, time.Second, "Reading the files")
		}
		s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, "read")
		return nil
	}})
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.run)}
	for i, step := range []struct {
		calls   int
		status  metav1.ConditionStatus
		requeue time.Duration
		changes int
	}{{0, "", 0, 0}, {1, metav1.ConditionUnknown, time.Second, 0}, {2, metav1.ConditionTrue, 0, 1}, {3, metav1.ConditionTrue, 0, 1}} {
		next, err := w.Reconcile(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		run := &v1alpha1.Run{}
		if err := w.Client.Get(t.Context(), request.NamespacedName, run); err != nil {
			t.Fatal(err)
		}
		s := &state{run: run}
		c := condition(s, v1alpha1.ConditionCheckedOut)
		if calls != step.calls || c.Status != step.status || next.RequeueAfter != step.requeue || len(seen.changes) != step.changes {
			t.Errorf("reconcile %d: %d calls, %+v, next %+v, changes %v", i, calls, c, next, seen.changes)
		}
		if !controllerutil.ContainsFinalizer(run, v1alpha1.Finalizer) {
			t.Errorf("reconcile %d: the run is not held", i)
		}
	}
}

func TestARunThatIsGoneIsNotReconciled(t *testing.T) {
	w := newRig(t, nil)
	gone := client.ObjectKey{Namespace: "conductor", Name: "gone"}
	if next, err := w.Reconcile(t.Context(), ctrl.Request{NamespacedName: gone}); err != nil || next.RequeueAfter != 0 {
		t.Errorf("%+v, %v", next, err)
	}
}

// A deleted Run goes through no stage, and takes its stack with it.
func TestADeletedRunGoesThroughNoStage(t *testing.T) {
	w := newRig(t, nil)
	w.begin()
	onlyStages(t, stageRunner{*stage.Of(v1alpha1.ConditionCheckedOut), func(*Reconciler, context.Context, *state) error {
		t.Error("a stage is reconciled")
		return nil
	}})
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.run)}
	if _, err := w.Reconcile(t.Context(), request); err != nil { // It is held.
		t.Fatal(err)
	}
	if err := w.Client.Delete(t.Context(), w.run); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Client.Get(t.Context(), request.NamespacedName, &v1alpha1.Run{}); !apierrors.IsNotFound(err) || w.hasStack() {
		t.Errorf("the run: %v; its stack is there: %t", err, w.hasStack())
	}
}
