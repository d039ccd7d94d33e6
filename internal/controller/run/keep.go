package run

import (
	"context"
	"errors"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/stackns"
)

// reconcileKeep ends what a Run no longer needs once its outcome is known, and takes the stack down when its time is up. A canceled
// Run keeps nothing; one that is canceled after its outcome keeps the outcome and loses the stack.
//
// What it deletes is gone, so it deletes nothing before the outcome is stored. The reconcile that sets the outcome may be of an old state of
// the Run, and its status be refused with a conflict; the next one would find the builds or the namespace gone and take that for the cause.
func (r *Reconciler) reconcileKeep(ctx context.Context, s *state) error {
	kept := meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionStackKept)
	if !s.hasOutcome() {
		return nil
	}
	if kept != nil && kept.Status == metav1.ConditionFalse {
		r.dropSource(ctx, s)
		return nil
	}
	if kept == nil {
		s.begin(v1alpha1.ConditionStackKept, "Cleaning up")
		return nil
	}
	if recording(s) || s.recorded {
		return r.restrictIngress(ctx, s) // The record is made of what is there, and made again if this status is not stored.
	}
	r.release(s.run)
	var builds error
	if s.isOpen(v1alpha1.ConditionStackKept) {
		builds = r.deleteBuilds(ctx, s.run)
	}
	s.expire()
	if why := r.reasonToDelete(s); why != nil { // A stack whose time is up waits for nothing.
		return errors.Join(builds, r.deleteStack(ctx, s, why.reason, why.message))
	}
	if builds != nil {
		return builds
	}
	ns, err := r.namespaces().Get(ctx, s.status().Namespace)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err != nil || ns.DeletionTimestamp != nil {
		return r.deleteStack(ctx, s, v1alpha1.ReasonDeleted, "The stack's namespace was deleted")
	}
	if s.isOpen(v1alpha1.ConditionStackKept) {
		if err := r.restrictIngress(ctx, s); err != nil {
			return err
		}
	}
	s.markKept()
	return r.checkHealth(ctx, s)
}

// deletion is why a stack goes.
type deletion struct{ reason, message string }

// reasonToDelete explains why a stack is not to be kept; nil when it is.
func (r *Reconciler) reasonToDelete(s *state) *deletion {
	e := s.status().ExpiresAt
	switch {
	case s.run.Spec.Cancel != nil && s.status().Outcome == v1alpha1.OutcomeCanceled:
		return &deletion{v1alpha1.ReasonCanceled, "The run was canceled, and its stack is deleted"}
	case s.run.Spec.Cancel != nil:
		return &deletion{v1alpha1.ReasonCanceled, strings.TrimSuffix("Taken down by "+s.run.Spec.Cancel.By+": "+s.run.Spec.Cancel.Reason, ": ")}
	case s.status().Namespace == "":
		return &deletion{v1alpha1.ReasonNothingToDo, "There was no stack yet"}
	case e != nil && !s.now.Before(e.Time) && s.isIdle():
		return &deletion{v1alpha1.ReasonIdle, "The stack was not used for " + s.status().Idle.Duration.String() + " and is deleted"}
	case e != nil && !s.now.Before(e.Time):
		return &deletion{v1alpha1.ReasonExpired, "The stack was kept for " + s.keptFor() + " and is deleted"}
	}
	return nil
}

// recording reports whether what the Run showed is still being gathered.
func recording(s *state) bool {
	c := meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionRecorded)
	return c != nil && c.Status == metav1.ConditionUnknown
}

// restrictIngress keeps others out of the stack, now that no new pod is expected. A namespace that is going needs no wall.
func (r *Reconciler) restrictIngress(ctx context.Context, s *state) error {
	if s.status().Namespace == "" || s.run.Spec.Cancel != nil {
		return nil
	}
	return r.namespaces().ApplyPolicies(ctx, jobs.IngressPolicies(s.run, r.Settings.Stacks.IngressNamespaces))
}

// isIdle reports whether the stack would stay longer if it were used.
func (s *state) isIdle() bool {
	used := *s.run
	used.Status.Idle = nil
	return !used.Expiry().Equal(s.run.Expiry())
}

// keptFor is what the time of a stack was made of.
func (s *state) keptFor() string {
	if e := s.run.Spec.Extension; e != nil {
		return s.status().Keep + ", extended by " + e.By + ","
	}
	return s.status().Keep
}

// reminders are how long before its end a stack's report is updated, the last one first.
var reminders = []struct {
	before time.Duration
	words  string
}{{15 * time.Minute, "a quarter of an hour"}, {time.Hour, "an hour"}}

// markKept notes how long the stack stays, or that it goes soon.
func (s *state) markKept() {
	e := s.status().ExpiresAt
	if e == nil {
		s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonDone, "The stack is kept until the run is deleted")
		return
	}
	for _, reminder := range reminders {
		at := e.Add(-reminder.before)
		if !at.After(s.status().FinishedAt.Time) {
			break // It was not kept for longer than that.
		}
		if !s.now.Before(at) {
			s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonExpiring, "The stack will be deleted in less than "+reminder.words)
			return
		}
		s.requeueAfter(at.Sub(s.now))
	}
	s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonDone, "The stack is kept for "+strings.TrimSuffix(s.keptFor(), ","))
}

// stuckAfter is how long the deletion of a namespace may take before its conditions are reported.
const stuckAfter = time.Minute

// deleteStack deletes the namespace and notes when it is gone.
func (r *Reconciler) deleteStack(ctx context.Context, s *state, reason, message string) error {
	ns, err := r.namespaces().Delete(ctx, jobs.StackName(s.run), stackns.OfRun(s.run))
	if err != nil {
		return err
	}
	if ns == nil {
		s.status().ExpiresAt = nil
		s.fail(v1alpha1.ConditionStackKept, reason, message)
		r.dropSource(ctx, s)
		return nil
	}
	s.set(v1alpha1.ConditionStackKept, metav1.ConditionUnknown, v1alpha1.ReasonInProgress, "The stack is being deleted")
	s.requeueAfter(2 * time.Second)
	if ns.DeletionTimestamp == nil || s.now.Sub(ns.DeletionTimestamp.Time) < stuckAfter {
		return nil
	}
	if f := diagnose.Terminating(ns); f != nil {
		s.set(v1alpha1.ConditionStackKept, metav1.ConditionUnknown, f.Reason, f.About("The stack is being deleted"))
		s.requeueAfter(30 * time.Second)
	}
	return nil
}

// dropSource deletes the source artifact of a Run whose stack is gone. A registry that does not answer is asked again later: nothing else
// waits for it.
func (r *Reconciler) dropSource(ctx context.Context, s *state) {
	if s.status().Source == nil {
		return
	}
	if err := r.deleteSource(ctx, s.run); err != nil {
		r.Log.Warn("a run's source artifact could not be deleted yet", "run", s.run.Name, "error", err)
		s.requeueAfter(sourceAgain)
		return
	}
	s.status().Source = nil
}

// sourceAgain is when a source artifact that could not be deleted is tried again.
const sourceAgain = 5 * time.Minute

// deleteSource deletes the source artifact of a Run. A registry that lets nothing be deleted is logged once, and is not an error.
func (r *Reconciler) deleteSource(ctx context.Context, run *v1alpha1.Run) error {
	err := r.Registry.DeleteSource(ctx, run.Spec.Repository, run.Name)
	if failure.IsTerminal(err) {
		r.undeleted.Do(func() {
			r.Log.Warn("source artifacts cannot be deleted; this is not logged again", "run", run.Name, "error", err)
		})
		return nil
	}
	return err
}
