package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// closed ends the Runs and the stacks of an issue or pull request that was closed.
func (r *Reconciler) closed(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) (result, error) {
	if err := r.awaitStarted(ctx, d); err != nil {
		return result{}, err
	}
	e := d.Spec.Event
	names, err := r.Runs.CloseEach(ctx, e.Repository.ID, runs.Cancellation{
		By: authority.Commenter(e.Sender, ""), Reason: decision.Reason, AskedAt: receivedAt(d).Time, Trace: d.Spec.GUID,
	}, func(run *v1alpha1.Run) bool { return endsWith(run, decision.Ends) })
	res := result{outcome: v1alpha1.DeliveryIgnored, reason: decision.Reason + "; it has neither a run in progress nor a stack"}
	if len(names) > 0 {
		res = result{outcome: v1alpha1.DeliveryCanceled, runs: names, reason: decision.Reason + "; ended " + strings.Join(names, ", ")}
	}
	return r.decided(d, e.Sender, authority.Close, decision.Reason, res, err)
}

// startedLately is longer than a cache is behind.
const startedLately = time.Minute

// awaitStarted waits for the Runs that earlier comments of the issue have just started: the cache may not have them yet.
func (r *Reconciler) awaitStarted(ctx context.Context, d *v1alpha1.Delivery) error {
	others, err := r.ofIssue(ctx, d)
	if err != nil {
		return err
	}
	list, err := r.Runs.List(ctx, d.Spec.Event.Repository.ID)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	for _, o := range others {
		isNew := o.Status.Outcome == v1alpha1.DeliveryStarted && isBefore(o, d) && r.now().Sub(o.Status.ProcessedAt.Time) < startedLately
		if isNew && !slices.ContainsFunc(list, func(run v1alpha1.Run) bool { return run.Name == o.Status.Run }) {
			return failure.Waitingf(v1alpha1.ReasonPending, time.Second, "Waiting for run %s to be listed", o.Status.Run)
		}
	}
	return nil
}

// endsWith reports whether a Run ends with an issue: it was asked for there, or its commit led there. But GitHub closes an issue itself when a
// commit that fixes it gets to the default branch, and a tag on that commit still has to be tested.
func endsWith(run *v1alpha1.Run, issue int) bool {
	return run.Spec.Issue == issue || run.Status.Issue == issue && run.Status.Branch != run.Spec.Repository.DefaultBranch
}
