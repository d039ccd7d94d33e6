package run

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// reported notes that the outcome was told; the reporter does the telling.
func (r *Reconciler) reported(_ context.Context, s *state) error {
	if !s.over() || !s.open(v1alpha1.ConditionReported) {
		return nil
	}
	s.begin(v1alpha1.ConditionReported, "Telling the outcome on GitHub")
	switch rep := s.status().Report; {
	case rep == nil || !rep.Final:
	case rep.Message != "":
		s.fail(v1alpha1.ConditionReported, v1alpha1.ReasonUnavailable, "The outcome could not be told on GitHub: "+rep.Message)
	default:
		s.done(v1alpha1.ConditionReported, v1alpha1.ReasonDone, "The outcome is on GitHub")
	}
	return nil
}

// keep ends what a Run no longer needs once its outcome is known, and takes the stack down when its time is up. A canceled
// Run keeps nothing; one that is canceled after its outcome keeps the outcome and loses the stack.
func (r *Reconciler) keep(ctx context.Context, s *state) error {
	if !s.over() || !s.open(v1alpha1.ConditionStackKept) && !s.is(v1alpha1.ConditionStackKept) {
		return nil
	}
	r.release(s.run)
	if s.open(v1alpha1.ConditionStackKept) {
		if err := r.deleteBuilds(ctx, s.run); err != nil {
			return err
		}
	}
	if s.run.Spec.Cancel != nil {
		return r.takeDown(ctx, s, v1alpha1.ReasonCanceled, "Nothing is kept of a canceled run")
	}
	if s.status().Namespace == "" {
		return r.takeDown(ctx, s, v1alpha1.ReasonNothingToDo, "There was no stack yet")
	}
	if meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionStackKept) == nil {
		err := r.apply(ctx, []client.Object{jobs.Wall(s.run, r.Settings.Stacks.IngressNamespaces)})
		if ignoreNotFound(err) != nil {
			return err
		}
		r.keepUntil(s)
	}
	if e := s.status().ExpiresAt; e != nil && !s.now.Before(e.Time) {
		return r.takeDown(ctx, s, v1alpha1.ReasonExpired, "The stack was kept for "+s.status().Keep+" and is deleted")
	} else if e != nil {
		s.lookAgain(e.Sub(s.now))
	}
	_, err := r.getNamespace(ctx, s.status().Namespace)
	if apierrors.IsNotFound(err) {
		s.status().ExpiresAt = nil
		s.fail(v1alpha1.ConditionStackKept, v1alpha1.ReasonDeleted, "Somebody deleted the stack's namespace")
		return nil
	}
	return err
}

// keepUntil sets the stack's expiry.
func (r *Reconciler) keepUntil(s *state) {
	if s.status().Keep == "forever" {
		s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonDone, "The stack is kept until the run is deleted")
		return
	}
	d, err := time.ParseDuration(s.status().Keep)
	if err != nil {
		d = s.run.Spec.Ceilings.Keep.Duration
	}
	e := metav1.NewTime(s.status().FinishedAt.Add(d))
	s.status().ExpiresAt = &e
	s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonDone, "The stack is kept for "+s.status().Keep)
}

// takeDown deletes the namespace and notes when it is gone.
func (r *Reconciler) takeDown(ctx context.Context, s *state, reason, message string) error {
	gone, err := r.deleteNamespace(ctx, s.run)
	if err != nil {
		return err
	}
	if !gone {
		s.set(v1alpha1.ConditionStackKept, metav1.ConditionUnknown, v1alpha1.ReasonInProgress, "The stack is being deleted")
		s.lookAgain(2 * time.Second)
		return nil
	}
	s.status().ExpiresAt = nil
	s.fail(v1alpha1.ConditionStackKept, reason, message)
	return nil
}

// deleteNamespace deletes a Run's namespace, if it is that Run's, and says whether it is gone.
func (r *Reconciler) deleteNamespace(ctx context.Context, run *v1alpha1.Run) (gone bool, err error) {
	ns, err := r.getNamespace(ctx, jobs.StackName(run))
	if apierrors.IsNotFound(err) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if ns.Labels[v1alpha1.LabelManaged] != v1alpha1.ManagedValue || ns.Labels[v1alpha1.LabelRunUID] != string(run.UID) {
		return true, nil
	}
	if ns.DeletionTimestamp != nil {
		return false, nil
	}
	err = r.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns.Name}}, client.Preconditions{UID: &ns.UID})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete namespace %s: %w", ns.Name, err)
	}
	return false, nil
}

// release forgets what a Run needed while it was under way.
func (r *Reconciler) release(run *v1alpha1.Run) {
	r.plans.drop(run.UID)
	r.stacks.forget(run.UID)
}
