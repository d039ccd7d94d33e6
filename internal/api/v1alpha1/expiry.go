package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Forever is the RunStatus.Keep of a stack that does not expire.
const Forever = "forever"

// Expiry returns when the stack of a finished Run is to be deleted, in whole seconds, or nil for never: after Keep, or earlier if it is
// idle, but not before the end of its extension. It depends only on what people asked for and on what is stored.
func (r *Run) Expiry() *metav1.Time {
	e := r.Spec.Extension
	if r.Status.FinishedAt == nil || e != nil && e.Until == nil {
		return nil
	}
	at := r.planned()
	if at != nil && e != nil && at.Before(e.Until) {
		at = e.Until
	}
	if at == nil {
		return nil
	}
	return &metav1.Time{Time: at.Truncate(time.Second)}
}

// planned is the expiry without an extension.
func (r *Run) planned() *metav1.Time {
	var at *metav1.Time
	if r.Status.Keep != Forever {
		keep, err := time.ParseDuration(r.Status.Keep)
		if err != nil { // The Run ended before it had a plan.
			keep = r.Spec.Ceilings.Keep.Duration
		}
		at = &metav1.Time{Time: r.Status.FinishedAt.Add(keep)}
	}
	if r.Status.Idle == nil {
		return at
	}
	used := r.Status.FinishedAt.Time
	if a := r.Spec.ActiveAt; a != nil && a.After(used) {
		used = a.Time
	}
	if idle := (metav1.Time{Time: used.Add(r.Status.Idle.Duration)}); at == nil || idle.Before(at) {
		return &idle
	}
	return at
}

// IsKept reports whether a Run is over and its stack is to stay.
func (r *Run) IsKept(now time.Time) bool {
	expiry := r.Expiry()
	return r.Status.Outcome != "" && r.Status.Namespace != "" && r.Spec.Cancel == nil && (expiry == nil || now.Before(expiry.Time)) &&
		!meta.IsStatusConditionFalse(r.Status.Conditions, ConditionStackKept)
}
