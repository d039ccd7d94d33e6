package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/stackns"
)

// sourceDeadline is how long it waits for a registry that does not delete its source artifact. It is shorter than what helm uninstall has.
const sourceDeadline = time.Minute

// finalize removes everything that a deleted Run made, then releases the Run. What cannot be removed holds the Run until the deadline
// and no longer, whatever it is: the sweep finds the rest.
func (r *Reconciler) finalize(ctx context.Context, run *v1alpha1.Run) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(run, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	r.release(run)
	late := r.now().Sub(run.DeletionTimestamp.Time) >= r.Settings.Deadlines.Finalize.Duration
	ns, err := r.namespaces().Delete(ctx, jobs.StackName(run), stackns.OfRun(run))
	err = errors.Join(r.deleteBuilds(ctx, run), err)
	switch {
	case err != nil && !late:
		return ctrl.Result{}, err
	case ns != nil && !late:
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case err != nil || ns != nil:
		r.Log.Error("a deleted run is released although what it made did not go away", "run", run.Name, "after", r.Settings.Deadlines.Finalize.Duration, "why", whyStuck(ns, err))
	}
	if err := r.deleteSource(ctx, run); err != nil && r.now().Sub(run.DeletionTimestamp.Time) < sourceDeadline {
		return ctrl.Result{}, err
	} else if err != nil {
		r.Log.Error("a deleted run leaves its source artifact behind", "run", run.Name, "after", sourceDeadline, "error", err)
	}
	before := run.DeepCopy()
	controllerutil.RemoveFinalizer(run, v1alpha1.Finalizer)
	err = r.Client.Patch(ctx, run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("remove the finalizer of %s: %w", run.Name, err)
	}
	return ctrl.Result{}, nil
}

// whyStuck is what keeps a Run's builds or its namespace from going, in the API server's own words.
func whyStuck(ns *corev1.Namespace, err error) string {
	if err != nil {
		return err.Error()
	}
	if f := diagnose.Terminating(ns); f != nil {
		return f.String()
	}
	return "no reason is given"
}
