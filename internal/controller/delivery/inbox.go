package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
)

// Inbox keeps deliveries as custom resources, in the namespace of the Reconciler.
type Inbox struct {
	Client client.Client
	// Live reads Deliveries from the API server: a cache may not know yet that one has failed.
	Live client.Reader
	// Indexed means that Client reads from a cache with the indexes that Setup adds. Without it, open deliveries have no limit.
	Indexed   bool
	Namespace string
	Log       *slog.Logger
}

// maxOpen is how many Deliveries of one repository may wait to be processed.
const maxOpen = 1000

// Put stores a delivery durably before it returns. It succeeds if one of the same name exists. If that one failed, it is acted on again:
// GitHub delivers under the same GUID only what a person redelivers, who may have granted a permission that was missing.
//
// An error is terminal if the API server can never accept the delivery. It is transient if the repository has too many deliveries that
// wait, or the API server is unavailable.
func (i Inbox) Put(ctx context.Context, d *v1alpha1.Delivery) error {
	d.Namespace = i.Namespace
	if err := i.checkOpen(ctx, d); err != nil {
		return err
	}
	err := i.Client.Create(ctx, d)
	if err == nil {
		faults.At(faults.Stored)
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		err = retry.RetryOnConflict(retry.DefaultRetry, func() error { return i.reopen(ctx, d) })
	case apierrors.IsInvalid(err):
		return failure.Terminalf(v1alpha1.ReasonRefused, err, "The delivery does not have the form of a Delivery")
	}
	if err != nil {
		return fmt.Errorf("keep the delivery: %w", err)
	}
	return nil
}

// checkOpen refuses a new delivery of a repository that has too many that were not processed yet.
func (i Inbox) checkOpen(ctx context.Context, d *v1alpha1.Delivery) error {
	if !i.Indexed {
		return nil
	}
	open, err := indexed(ctx, i.Client, i.Namespace, openField, strconv.FormatInt(d.Spec.Event.Repository.ID, 10))
	if err != nil || len(open) < maxOpen || slices.ContainsFunc(open, func(o v1alpha1.Delivery) bool { return o.Name == d.Name }) {
		return err
	}
	return failure.Transientf(v1alpha1.ReasonPending, nil, "%d deliveries of %s wait to be processed", len(open), d.Spec.Event.Repository.FullName())
}

// IsWriter reports whether an earlier comment of the sender was acted on: then they had write permission.
func (i Inbox) IsWriter(ctx context.Context, e v1alpha1.Event) bool {
	if !i.Indexed {
		return false
	}
	known, err := indexed(ctx, i.Client, i.Namespace, writerField, writerKey(e))
	return err == nil && len(known) > 0
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
