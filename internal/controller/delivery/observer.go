package delivery

import (
	"log/slog"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

// Decision is one decision of the authority, allowed or denied, that was acted on.
type Decision struct {
	// Trace is the trace id of the request.
	Trace      string
	Repository v1alpha1.Repository
	Actor      v1alpha1.Actor
	Action     authority.Action
	// Trust is the trust of the code; empty if it was not needed to decide.
	Trust   v1alpha1.TrustLevel
	Allowed bool
	// Reason is a sentence: what asked for the action, or why it was denied.
	Reason string
}

// Observer receives decisions.
type Observer interface {
	// Decided is called once for each decision, after it was acted on and that is recorded. It must not block.
	Decided(d Decision)
}

// DecisionLog is an Observer that logs.
type DecisionLog struct{ Log *slog.Logger }

// Decided implements Observer.
func (l DecisionLog) Decided(d Decision) {
	l.Log.Info("decision", "trace", d.Trace, "repository", d.Repository.FullName(), "actor", d.Actor.Login, "action", d.Action,
		"trust", d.Trust, "allowed", d.Allowed, "reason", d.Reason)
}

func (r *Reconciler) observe(d Decision) {
	if r.Observer != nil {
		r.Observer.Decided(d)
	}
}
