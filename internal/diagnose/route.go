package diagnose

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// routeGrace is how long the controller of a Gateway may take until it says anything of a new route.
const routeGrace = 30 * time.Second

// routeStatus is the status of an HTTPRoute, as far as it is read: https://gateway-api.sigs.k8s.io/reference/spec/#routestatus
type routeStatus struct {
	Parents []struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"parents"`
}

// routeAdvice is what can be done about the reasons that have one cause; they are the Gateway API's own.
var routeAdvice = map[string]string{
	"NotAllowedByListeners":      "The operator has to let a listener of the Gateway take routes of the stacks' namespaces (allowedRoutes).",
	"NoMatchingListenerHostname": "The operator has to give the Gateway a listener for the host names of stacks.host.",
}

// Route explains why the one Gateway of an HTTPRoute does not serve it, in the words of the Gateway's controller; nil when it does.
func Route(route *unstructured.Unstructured, gateway string, now time.Time) *Finding {
	var st routeStatus
	if raw, ok := route.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &st); err != nil {
			return &Finding{Reason: v1alpha1.ReasonUnavailable, Sentence: said("its status cannot be read", err.Error())}
		}
	}
	var refused *metav1.Condition
	for _, p := range st.Parents { // More than one controller may have a word on the same Gateway.
		if c := refusal(p.Conditions); c != nil {
			refused = c
		} else if meta.IsStatusConditionTrue(p.Conditions, "Accepted") {
			return nil
		}
	}
	if refused == nil {
		return &Finding{
			Reason: v1alpha1.ReasonUnavailable, Sentence: "nothing serves the HTTPRoute " + route.GetName(),
			Advice: "The operator has to look whether there is a Gateway " + gateway + " (stacks.gateway), and a controller for it.",
			After:  TimeLeft(route.GetCreationTimestamp().Time, routeGrace, now),
		}
	}
	what := "the Gateway " + gateway + " does not take it"
	if refused.Type == "ResolvedRefs" {
		what = "the Gateway " + gateway + " cannot reach the service"
	}
	if refused.Reason != "" {
		what += " (" + refused.Reason + ")"
	}
	advice := routeAdvice[refused.Reason]
	if advice == "" {
		advice = "The operator has to look at the Gateway."
	}
	return &Finding{Reason: v1alpha1.ReasonRefused, Sentence: said(what, strings.TrimSpace(refused.Message)), Advice: advice}
}

// refusal is the condition that says that a route is not served, if there is one.
func refusal(conditions []metav1.Condition) *metav1.Condition {
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return c
		}
	}
	return nil
}
