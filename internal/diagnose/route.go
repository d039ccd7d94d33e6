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

// routeGrace is how long the controller of a Gateway may take to report the status of a new route.
const routeGrace = 30 * time.Second

// routeStatus is the part of an HTTPRoute's status that is read: https://gateway-api.sigs.k8s.io/reference/spec/#routestatus
type routeStatus struct {
	Parents []struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"parents"`
}

// routeAdvice is for the Gateway API's reasons that have a single cause.
var routeAdvice = map[string]string{
	"NotAllowedByListeners":      "Ask the operator to allow routes from the stacks' namespaces on a listener of the Gateway (allowedRoutes).",
	"NoMatchingListenerHostname": "Ask the operator to add a listener for the host names of stacks.host to the Gateway.",
}

// Route explains why the Gateway of an HTTPRoute does not serve it, quoting the Gateway's controller; nil if it does.
func Route(route *unstructured.Unstructured, gateway string, now time.Time) *Finding {
	var st routeStatus
	if raw, ok := route.Object["status"].(map[string]any); ok {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &st); err != nil {
			return &Finding{Reason: v1alpha1.ReasonUnavailable, Sentence: withMessage("its status cannot be read", err.Error())}
		}
	}
	var refused *metav1.Condition
	for _, p := range st.Parents { // More than one controller may report on the same Gateway.
		if c := refusal(p.Conditions); c != nil {
			refused = c
		} else if meta.IsStatusConditionTrue(p.Conditions, "Accepted") {
			return nil
		}
	}
	if refused == nil {
		return &Finding{
			Reason: v1alpha1.ReasonUnavailable, Sentence: "the HTTPRoute " + route.GetName() + " is not served",
			Advice: "Ask the operator to check that the Gateway " + gateway + " (stacks.gateway) exists and has a controller.",
			After:  TimeLeft(route.GetCreationTimestamp().Time, routeGrace, now),
		}
	}
	what := "the Gateway " + gateway + " rejected it"
	if refused.Type == "ResolvedRefs" {
		what = "the Gateway " + gateway + " cannot reach the service"
	}
	if refused.Reason != "" {
		what += " (" + refused.Reason + ")"
	}
	advice := routeAdvice[refused.Reason]
	if advice == "" {
		advice = "Ask the operator to check the Gateway."
	}
	return &Finding{Reason: v1alpha1.ReasonRefused, Sentence: withMessage(what, strings.TrimSpace(refused.Message)), Advice: advice}
}

// refusal returns the condition that explains why a route is not served; nil if there is none.
func refusal(conditions []metav1.Condition) *metav1.Condition {
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return c
		}
	}
	return nil
}
