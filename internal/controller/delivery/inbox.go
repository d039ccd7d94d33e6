package delivery

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Inbox keeps deliveries as custom resources, in the namespace of the Reconciler.
type Inbox struct {
	Client client.Client
	// Live reads Deliveries from the API server: a cache may not know yet that one has failed.
	Live      client.Reader
	Namespace string
	Log       *slog.Logger
}

// Put stores a delivery durably before it returns. It succeeds if one of the same name exists. If that one failed, it is acted on again:
// GitHub delivers under the same GUID only what a person redelivers, who may have granted a permission that was missing.
func (i Inbox) Put(ctx context.Context, d *v1alpha1.Delivery) error {
	d.Namespace = i.Namespace
	err := i.Client.Create(ctx, d)
	if apierrors.IsAlreadyExists(err) {
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error { return i.reopen(ctx, d) })
	}
	if err != nil {
		return fmt.Errorf("keep the delivery: %w", err)
	}
	return nil
}

// reopen clears the outcome of a delivery that failed, once however many redeliveries arrive together. Its deadline starts again.
func (i Inbox) reopen(ctx context.Context, again *v1alpha1.Delivery) error {
	d := &v1alpha1.Delivery{}
	if err := i.Live.Get(ctx, client.ObjectKeyFromObject(again), d); err != nil {
		return err
	}
	if d.Status.ProcessedAt == nil || d.Status.Outcome != v1alpha1.DeliveryFailed {
		return nil
	}
	before := d.DeepCopy()
	if at := again.Annotations[v1alpha1.AnnotationReceivedAt]; at != "" {
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, v1alpha1.AnnotationReceivedAt, at)
	}
	if err := i.Client.Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	before = d.DeepCopy()
	d.Status = v1alpha1.DeliveryStatus{}
	if err := i.Client.Status().Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	i.Log.Info("acting again on a delivery that failed", "trace", d.Spec.GUID, "reason", before.Status.Reason)
	return nil
}
