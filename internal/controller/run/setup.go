package run

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Setup adds the controllers of Runs to a manager.
func Setup(mgr ctrl.Manager, r *Reconciler, rep *Reporter) error {
	r.open()
	rep.open(r)
	toRun := func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.GetLabels()[v1alpha1.LabelRun]
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Settings.Namespace, Name: name}}}
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("run").
		For(&v1alpha1.Run{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(toRun)).
		WatchesRawSource(source.Channel(r.stacks.wake, &handler.TypedEnqueueRequestForObject[*v1alpha1.Run]{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16, RateLimiter: backoff()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the run controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("report").
		For(&v1alpha1.Run{}).
		WatchesRawSource(source.Channel(rep.wake, &handler.TypedEnqueueRequestForObject[*v1alpha1.Run]{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, RateLimiter: backoff()}).
		Complete(rep)
	if err != nil {
		return fmt.Errorf("set up the report controller: %w", err)
	}
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		rep.readings.close()
		r.close()
		return nil
	})); err != nil {
		return fmt.Errorf("set up the end of the watches: %w", err)
	}
	if err := mgr.Add(&Sweeper{Reconciler: r, Every: time.Minute}); err != nil {
		return fmt.Errorf("set up the sweeper: %w", err)
	}
	return nil
}

// listRuns are all Runs as the cache has them. They are not copies, and are for reading only.
func (r *Reconciler) listRuns(ctx context.Context) ([]v1alpha1.Run, error) {
	var list v1alpha1.RunList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.Settings.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return list.Items, nil
}

// backoff is how errors are tried again: at once, then with doubled pauses of up to half a minute.
func backoff() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second)
}
