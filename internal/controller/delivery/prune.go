package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// keepProcessed is how long a processed Delivery is kept: a day longer than the three days in which GitHub can redeliver it under the
// same GUID (docs.github.com, redelivering webhooks).
const keepProcessed = 4 * 24 * time.Hour

// Pruner deletes Deliveries that GitHub cannot redeliver any more.
type Pruner struct {
	Client    client.Client
	Namespace string
	Log       *slog.Logger
	Now       func() time.Time
}

// Start prunes every hour until the context ends. It runs on the leader only.
func (p *Pruner) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := p.Prune(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("could not delete all old deliveries", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Prune deletes old Deliveries once.
func (p *Pruner) Prune(ctx context.Context) error {
	var list v1alpha1.DeliveryList
	if err := p.Client.List(ctx, &list, client.InNamespace(p.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	for i := range list.Items {
		d := &list.Items[i]
		if at := d.Status.ProcessedAt; at != nil && p.Now().Sub(at.Time) > keepProcessed {
			old := &v1alpha1.Delivery{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace}} // d is the cache's own.
			// A Delivery that was redelivered meanwhile has another version and is acted on again.
			err := p.Client.Delete(ctx, old, client.Preconditions{UID: &d.UID, ResourceVersion: &d.ResourceVersion})
			if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
				return fmt.Errorf("delete delivery %s: %w", d.Name, err)
			}
		}
	}
	return nil
}

// Setup adds the controller of Deliveries, the poll and the pruning to a manager.
func Setup(mgr ctrl.Manager, r *Reconciler, p *Poller, prune *Pruner) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("delivery").For(&v1alpha1.Delivery{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).Complete(r)
	if err != nil {
		return fmt.Errorf("set up the delivery controller: %w", err)
	}
	if err := mgr.Add(p); err != nil {
		return fmt.Errorf("set up the poll: %w", err)
	}
	if err := mgr.Add(prune); err != nil {
		return fmt.Errorf("set up the pruning of deliveries: %w", err)
	}
	return nil
}
