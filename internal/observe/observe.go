// Package observe is the one place that metrics, traces, audit and Events attach to: an Observer is notified of every decision about who may do
// what, and of every transition of a Run. Both carry the trace id of the request, from its delivery on.
package observe

import (
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Decision is one decision of the authority table, allowed or denied, that was acted on.
type Decision struct {
	// Trace is the trace id of the request.
	Trace      string
	Repository v1alpha1.Repository
	Actor      v1alpha1.Actor
	// Action is one of package authority's actions.
	Action string
	// Trust is the trust of the code; empty if it was not needed to decide.
	Trust   v1alpha1.TrustLevel
	Allowed bool
	// Reason is a sentence: what asked for the action, or why it was denied.
	Reason string
}

// Transition is a change of a Run that the API server has stored: a condition that became True or False, or the outcome.
type Transition struct {
	// Condition is empty for the outcome.
	Condition string
	Status    metav1.ConditionStatus
	// Reason and Message are the condition's; of the outcome, the outcome itself and the Run's message.
	Reason, Message string
}

// Observer is notified once of each event, after it is stored. A process that ends in between loses the notification. Methods must not block.
type Observer interface {
	// Decided is called for each decision.
	Decided(d Decision)
	// Changed is called with the transitions of a Run that were stored together, in the order of the stages.
	Changed(trace string, run *v1alpha1.Run, changes []Transition)
}

// All notifies several observers in order.
type All []Observer

// Decided implements Observer.
func (a All) Decided(d Decision) {
	for _, o := range a {
		o.Decided(d)
	}
}

// Changed implements Observer.
func (a All) Changed(trace string, run *v1alpha1.Run, changes []Transition) {
	for _, o := range a {
		o.Changed(trace, run, changes)
	}
}

// Log is an Observer that logs.
type Log struct{ Logger *slog.Logger }

// Decided implements Observer.
func (l Log) Decided(d Decision) {
	l.Logger.Info("decision", "trace", d.Trace, "repository", d.Repository.FullName(), "actor", d.Actor.Login, "action", d.Action,
		"trust", d.Trust, "allowed", d.Allowed, "reason", d.Reason)
}

// Changed implements Observer. Messages are left out: they may hold what a repository's programs printed.
func (l Log) Changed(trace string, run *v1alpha1.Run, changes []Transition) {
	for _, c := range changes {
		if c.Condition == "" {
			l.Logger.Info("run ended", "trace", trace, "run", run.Name, "outcome", c.Reason)
			continue
		}
		l.Logger.Info("stage ended", "trace", trace, "run", run.Name, "condition", c.Condition, "status", c.Status, "reason", c.Reason)
	}
}
