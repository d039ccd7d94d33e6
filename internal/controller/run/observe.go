package run

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/stage"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// notifyObserver gives the observer what changed between two statuses.
func (r *Reconciler) notifyObserver(before, run *v1alpha1.Run) {
	if r.Observer == nil {
		return
	}
	if changes := transitions(&before.Status, &run.Status); len(changes) > 0 {
		r.Observer.Changed(v1alpha1.TraceOf(run), run, changes)
	}
}

// transitions are what changed, in the order of the stages.
func transitions(before, now *v1alpha1.RunStatus) []observe.Transition {
	var all []observe.Transition
	for _, st := range stage.Table {
		c := meta.FindStatusCondition(now.Conditions, st.Condition)
		was := meta.FindStatusCondition(before.Conditions, st.Condition)
		if c == nil || c.Status == metav1.ConditionUnknown || was != nil && was.Status == c.Status {
			continue
		}
		all = append(all, observe.Transition{Condition: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
	}
	if before.Outcome == "" && now.Outcome != "" {
		all = append(all, observe.Transition{Reason: string(now.Outcome), Message: now.Message})
	}
	return all
}

// Events writes Kubernetes Events about Runs: stages that failed, stacks that came up and went, outcomes. They are read with kubectl describe.
type Events struct {
	Recorder events.EventRecorder
}

// maxNote is how long the note of an Event may be, in bytes (validation of events.k8s.io/v1).
const maxNote = 1024

// outcomes are the reasons of the Events about outcomes.
var outcomes = map[v1alpha1.Outcome]string{
	v1alpha1.OutcomePassed: "Passed", v1alpha1.OutcomeFailed: "Failed", v1alpha1.OutcomeError: "Error", v1alpha1.OutcomeCanceled: "Canceled",
}

// Decided implements observe.Observer: a decision has no object whose Event it could be.
func (e Events) Decided(observe.Decision) {}

// Changed implements observe.Observer.
func (e Events) Changed(_ string, run *v1alpha1.Run, changes []observe.Transition) {
	for _, c := range changes {
		kind, reason, action := corev1.EventTypeNormal, c.Condition, "Finish"
		st := stage.Of(c.Condition)
		switch {
		case c.Condition == "":
			if reason = outcomes[run.Status.Outcome]; run.Status.Outcome == v1alpha1.OutcomeError {
				kind = corev1.EventTypeWarning
			}
		case c.Condition == v1alpha1.ConditionStackKept && c.Status == metav1.ConditionFalse:
			reason, action = "StackDeleted", "Keep"
		case c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonSkipped && c.Reason != v1alpha1.ReasonCanceled && c.Reason != v1alpha1.ReasonTestsFailed:
			kind, reason, action = corev1.EventTypeWarning, c.Reason, st.Title
		case c.Condition == v1alpha1.ConditionStackReady && c.Status == metav1.ConditionTrue:
			action = st.Title
		default:
			continue
		}
		if action == "" {
			action = "Report"
		}
		e.Recorder.Eventf(run, nil, kind, reason, action, "%s", text.Truncate(c.Message, maxNote))
	}
}
