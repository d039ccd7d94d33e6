package diagnose

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Terminating says in the namespace's own words what keeps it from going; nil when its conditions do not say.
func Terminating(ns *corev1.Namespace) *Finding {
	var all []string
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue && c.Message != "" {
			all = append(all, words(c.Message))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &Finding{
		Reason: v1alpha1.ReasonStuck, Sentence: "the namespace " + ns.Name + " does not go: " + strings.Join(all, "; "),
		Advice: "The operator has to find out who should take the finalizers off, or which API does not answer.",
	}
}

// Claim explains why a volume's claim is not bound; nil for one that is, or of which nothing is known yet.
func Claim(c *corev1.PersistentVolumeClaim, events []corev1.Event) *Finding {
	switch c.Status.Phase {
	case corev1.ClaimBound:
		return nil
	case corev1.ClaimLost:
		return &Finding{
			Reason: v1alpha1.ReasonUnschedulable, Sentence: "the volume of the claim " + c.Name + " is lost",
			Advice: "What was in it is gone: the operator has to look at the cluster's storage.",
		}
	}
	e := newest(events, "ProvisioningFailed", "FailedBinding")
	if e == nil {
		return nil
	}
	return &Finding{
		Reason: v1alpha1.ReasonUnschedulable, Sentence: said("the claim "+c.Name+" gets no volume", e.Message),
		Advice: "The operator has to give the cluster a storage class that works.",
	}
}
