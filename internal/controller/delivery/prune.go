package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const (
	// keepProcessed is how long a processed Delivery is kept: a day longer than the three days in which GitHub can redeliver it under the
	// same GUID (docs.github.com, redelivering webhooks).
	keepProcessed = 4 * 24 * time.Hour
	// keepRefused is how long a refused Delivery is kept. One that was answered in words is kept for a day, as the record of that.
	keepRefused = time.Hour
	// maxRefused is how many refused Deliveries of one repository are kept, the newest ones.
	maxRefused = 200
	pruneEvery = time.Minute
)

// Pruner deletes Deliveries that GitHub cannot redeliver any more, and refused ones much earlier: anyone can make those.
type Pruner struct {
	Client    client.Client
	Namespace string
	Log       *slog.Logger
	Now       func() time.Time
}

// Start prunes every minute until the context ends. It runs on the leader only.
func (p *Pruner) Start(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
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
	refused := map[int64][]*v1alpha1.Delivery{}
	for i := range list.Items {
		d := &list.Items[i]
		if at := d.Status.ProcessedAt; at != nil && p.Now().Sub(at.Time) > lifetime(d) {
			if err := p.delete(ctx, d); err != nil {
				return err
			}
		} else if d.Status.Outcome == v1alpha1.DeliveryRefused && !d.Status.Answered {
			id := d.Spec.Event.Repository.ID
			refused[id] = append(refused[id], d)
		}
	}
	for _, all := range refused {
		slices.SortFunc(all, func(a, b *v1alpha1.Delivery) int { return b.Status.ProcessedAt.Compare(a.Status.ProcessedAt.Time) })
		for _, d := range all[min(len(all), maxRefused):] {
			if err := p.delete(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifetime returns how long a Delivery is kept after it was processed.
func lifetime(d *v1alpha1.Delivery) time.Duration {
	switch {
	case d.Status.Outcome != v1alpha1.DeliveryRefused:
		return keepProcessed
	case d.Status.Answered:
		return answerEvery
	}
	return keepRefused
}

// delete deletes a Delivery, which is the cache's own. One that was redelivered meanwhile has another version and is acted on again.
func (p *Pruner) delete(ctx context.Context, d *v1alpha1.Delivery) error {
	old := &v1alpha1.Delivery{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace}}
	err := p.Client.Delete(ctx, old, client.Preconditions{UID: &d.UID, ResourceVersion: &d.ResourceVersion})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete delivery %s: %w", d.Name, err)
	}
	return nil
}

// Setup adds the controller of Deliveries, the poll, the pruning and reading GitHub's log to a manager. Without a CatchUp, only the webhook
// receives deliveries.
func Setup(mgr ctrl.Manager, r *Reconciler, p *Poller, prune *Pruner, c *CatchUp) error {
	if err := index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
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
	if c == nil {
		return nil
	}
	r.Ready = c.Ready
	if err := mgr.Add(c); err != nil {
		return fmt.Errorf("set up reading GitHub's delivery log: %w", err)
	}
	return nil
}
