package run

import (
	"cmp"
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// isRefused reports whether the API server will never store a status, however often it is sent: it has more or other values than the
// schema allows, or it is too large for the API server (413) or for etcd, which answers with a sentence and no code of its own.
func isRefused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) ||
		err != nil && strings.Contains(err.Error(), "etcdserver: request is too large")
}

// refusal is the sentence about a status that is refused: the first causes that the API server names, with its numbers.
func refusal(err error) string {
	const most, length = 3, 300
	var causes []string
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, c := range status.Status().Details.Causes[:min(most, len(status.Status().Details.Causes))] {
			causes = append(causes, text.Truncate(strings.TrimPrefix(c.Field+": "+c.Message, ": "), length))
		}
	}
	cause := strings.Join(strings.Fields(cmp.Or(strings.Join(causes, "; "), text.Truncate(err.Error(), length))), " ")
	return "Conductor could not store this run's status: " + strings.TrimSuffix(cause, ".") + ". Reduce what the repository declares of it, or ask the operator"
}

// storeRefusal ends a Run whose status the API server refuses. What it stored last becomes a status that reports this: with the outcome, so
// that the Run is reported, and with an expiry, so that its stack goes. Once a Run is over, only what moves it to its end is stored.
func (r *Reconciler) storeRefusal(ctx context.Context, before *v1alpha1.Run, refused *state, cause error) error {
	r.Log.Error("the API server refuses the status of a run", "run", before.Name, "error", cause)
	s := &state{run: before.DeepCopy(), now: refused.now, clock: refused.clock}
	st := s.status()
	if s.hasOutcome() {
		last := refused.status()
		st.Conditions, st.Stages, st.Record, st.ExpiresAt, st.Phase = last.Conditions, last.Stages, last.Record, last.ExpiresAt, last.Phase
		st.Step, st.Source = last.Step, last.Source // Without its step the record would be awaited for ever.
	} else {
		if st.StartedAt == nil { // Without it nothing is reported.
			st.StartedAt = s.timestamp()
		}
		s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonRefused, refusal(cause))
		st.Phase, st.ObservedGeneration = s.phase(), s.run.Generation
	}
	return r.writeStatus(ctx, before, s)
}
