package delivery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

const (
	// orderPause is how often a delivery checks whether those before it were processed.
	orderPause = 250 * time.Millisecond
	// answerEvery is how often a refusal is answered in words on one issue.
	answerEvery = 24 * time.Hour
	// maxReactions is how many refusals on one issue get a reaction while they are kept.
	maxReactions = 10
)

// The indexes of a cache's Deliveries: the comments and the end of an issue, the deliveries of a repository that were not processed yet, and the
// comments of a sender on a repository that were not refused.
const (
	issueField  = "issue"
	openField   = "open"
	writerField = "writer"
)

// onlyForWriters are the outcomes of a comment that its author needs write permission for.
var onlyForWriters = []v1alpha1.DeliveryOutcome{v1alpha1.DeliveryStarted, v1alpha1.DeliveryCanceled, v1alpha1.DeliveryAnswered}

// indexes are the functions that make the keys of the indexes.
var indexes = map[string]client.IndexerFunc{
	issueField: func(o client.Object) []string {
		if d, ok := o.(*v1alpha1.Delivery); ok && issueOf(d.Spec.Event) > 0 {
			return []string{issueKey(d)}
		}
		return nil
	},
	openField: func(o client.Object) []string {
		if d, ok := o.(*v1alpha1.Delivery); ok && d.Status.ProcessedAt == nil {
			return []string{strconv.FormatInt(d.Spec.Event.Repository.ID, 10)}
		}
		return nil
	},
	writerField: func(o client.Object) []string {
		if d, ok := o.(*v1alpha1.Delivery); ok && d.Spec.Event.Comment != nil && slices.Contains(onlyForWriters, d.Status.Outcome) {
			return []string{writerKey(d.Spec.Event)}
		}
		return nil
	},
}

func writerKey(e v1alpha1.Event) string { return fmt.Sprintf("%d/%d", e.Repository.ID, e.Sender.ID) }

func issueKey(d *v1alpha1.Delivery) string {
	return fmt.Sprintf("%d/%d", d.Spec.Event.Repository.ID, issueOf(d.Spec.Event))
}

// issueOf returns the issue of an event; 0 if it is about none.
func issueOf(e v1alpha1.Event) int {
	switch {
	case e.Comment != nil:
		return e.Comment.Issue
	case e.Closed != nil:
		return e.Closed.Issue
	}
	return 0
}

// index adds the indexes to a cache.
func index(ctx context.Context, cache client.FieldIndexer) error {
	for field, keys := range indexes {
		if err := cache.IndexField(ctx, &v1alpha1.Delivery{}, field, keys); err != nil {
			return fmt.Errorf("index the deliveries by %s: %w", field, err)
		}
	}
	return nil
}

// indexed returns the Deliveries with a key in an index, without copying them.
func indexed(ctx context.Context, c client.Reader, namespace, field, key string) ([]v1alpha1.Delivery, error) {
	var list v1alpha1.DeliveryList
	err := c.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy,
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(field, key)})
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return list.Items, nil
}

// ofIssue returns the other Deliveries of the same issue. They are read-only.
func (r *Reconciler) ofIssue(ctx context.Context, d *v1alpha1.Delivery) ([]*v1alpha1.Delivery, error) {
	all, err := indexed(ctx, r.Client, d.Namespace, issueField, issueKey(d))
	if err != nil {
		return nil, err
	}
	var others []*v1alpha1.Delivery
	for i := range all {
		if all[i].Name != d.Name {
			others = append(others, &all[i])
		}
	}
	return others, nil
}

// isBefore orders deliveries by when they were received.
func isBefore(a, b *v1alpha1.Delivery) bool {
	at, other := receivedAt(a).Time, receivedAt(b).Time
	return at.Before(other) || at.Equal(other) && strings.Compare(a.Name, b.Name) < 0
}

// isNext reports whether no delivery of the same issue that was received before d, or may be found in GitHub's log yet, has to
// be processed first. Pushes have no order: their
// issue is not known yet.
func (r *Reconciler) isNext(ctx context.Context, d *v1alpha1.Delivery) (bool, error) {
	if issueOf(d.Spec.Event) == 0 {
		return true, nil
	}
	if r.Ready != nil && !r.Ready() {
		return false, nil
	}
	others, err := r.ofIssue(ctx, d)
	return !slices.ContainsFunc(others, func(o *v1alpha1.Delivery) bool {
		return o.Status.ProcessedAt == nil && o.DeletionTimestamp == nil && isBefore(o, d)
	}), err
}

// sameComment returns a delivery of the same comment that was processed and did not fail: two hooks have different GUIDs.
func sameComment(others []*v1alpha1.Delivery, d *v1alpha1.Delivery) *v1alpha1.Delivery {
	i := slices.IndexFunc(others, func(o *v1alpha1.Delivery) bool {
		return o.Spec.Event.Comment != nil && o.Spec.Event.Comment.ID == d.Spec.Event.Comment.ID && o.Status.ProcessedAt != nil && o.Status.Outcome != v1alpha1.DeliveryFailed
	})
	if i < 0 {
		return nil
	}
	return others[i]
}

// isAnswered reports whether a refusal was answered in words on the issue recently. Someone who has write permission, and was refused for
// another reason, gets that reason in words even if others did not.
func (r *Reconciler) isAnswered(by authority.Subject, others []*v1alpha1.Delivery) bool {
	isWriter := authority.Check(by, authority.Help, "") == nil
	return slices.ContainsFunc(others, func(o *v1alpha1.Delivery) bool {
		return o.Status.Outcome == v1alpha1.DeliveryRefused && o.Status.Answered && r.now().Sub(o.Status.ProcessedAt.Time) < answerEvery &&
			(!isWriter || o.Spec.Event.Sender.ID == by.Actor.ID)
	})
}

// countRefused returns how many deliveries of the issue were refused recently.
func (r *Reconciler) countRefused(others []*v1alpha1.Delivery) (n int) {
	for _, o := range others {
		if o.Status.Outcome == v1alpha1.DeliveryRefused && r.now().Sub(o.Status.ProcessedAt.Time) < keepRefused {
			n++
		}
	}
	return n
}
