package diagnose

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Unready explains why a pod that is not blocked is not ready, from its events: what could not be mounted, or the last failed probe. It
// returns nil if the events do not explain it.
func Unready(p *corev1.Pod, events []corev1.Event) *Finding {
	if !created(p) {
		if e := newest(events, "FailedMount", "FailedAttachVolume"); e != nil {
			return &Finding{
				Reason: v1alpha1.ReasonUnhealthy, Sentence: withMessage("one of its volumes cannot be mounted", e.Message),
				Advice: "Check that what the message names exists.",
			}
		}
		return nil
	}
	if e := newest(events, "Unhealthy"); e != nil {
		return &Finding{Reason: v1alpha1.ReasonUnhealthy, Sentence: withMessage("its health check fails", e.Message)}
	}
	return nil
}

// created reports whether a container of the pod was ever created.
func created(p *corev1.Pod) bool {
	for _, c := range statuses(p) {
		if c.ContainerID != "" || c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
			return true
		}
	}
	return false
}

// newest returns the last event with one of the reasons; nil for none. Event times may be in whole seconds, so ties are broken by name:
// client-go's recorder ends names with the time in nanoseconds.
func newest(events []corev1.Event, reasons ...string) *corev1.Event {
	var found *corev1.Event
	for i := range events {
		e := &events[i]
		if slices.Contains(reasons, e.Reason) && (found == nil || cmp.Or(at(e).Compare(at(found)), cmp.Compare(e.Name, found.Name)) >= 0) {
			found = e
		}
	}
	return found
}

// at is when an event was last seen.
func at(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
