package diagnose

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Events have whole seconds: the newest one does not depend on the order in which they are listed.
func TestTheNewestOfEventsOfOneSecond(t *testing.T) {
	at := metav1.Unix(1_790_000_000, 0)
	event := func(name, reason string) corev1.Event {
		return corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name}, Reason: reason, LastTimestamp: at}
	}
	events := []corev1.Event{event("web.17f2", "Unhealthy"), event("web.17f3", "Unhealthy"), event("web.17f9", "Pulled")}
	for range 2 {
		slices.Reverse(events)
		if e := newest(events, "Unhealthy"); e == nil || e.Name != "web.17f3" {
			t.Errorf("newest = %+v", e)
		}
	}
}
