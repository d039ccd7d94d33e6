package diagnose

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Terminating explains, from the namespace's conditions, why it is not deleted; nil if they do not.
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
		Reason: v1alpha1.ReasonStuck, Sentence: "the namespace " + ns.Name + " is stuck in Terminating: " + strings.Join(all, "; "),
		Advice: "Ask the operator to find out which controller should remove the finalizers, or which API is unavailable.",
	}
}

// Claim explains why a volume claim is not bound; nil if it is bound, or if nothing is known yet.
func Claim(c *corev1.PersistentVolumeClaim, events []corev1.Event) *Finding {
	switch c.Status.Phase {
	case corev1.ClaimBound:
		return nil
	case corev1.ClaimLost:
		return &Finding{
			Reason: v1alpha1.ReasonUnschedulable, Sentence: "the volume of the claim " + c.Name + " is lost",
			Advice: "Its data is lost. Ask the operator to check the cluster's storage.",
		}
	}
	e := newest(events, "ProvisioningFailed", "FailedBinding")
	if e == nil {
		return nil
	}
	return &Finding{
		Reason: v1alpha1.ReasonUnschedulable, Sentence: withMessage("the claim "+c.Name+" did not get a volume", e.Message),
		Advice: "Ask the operator for a storage class that works.",
	}
}
