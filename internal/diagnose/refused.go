package diagnose

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Deployment explains why a Deployment gets no pods; nil if unknown.
func Deployment(d *appsv1.Deployment, now time.Time) *Finding {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return refused(c.Message, c.LastTransitionTime.Time, now)
		}
	}
	return nil
}

// Creation explains why a Job or another controller created no pod, from its newest FailedCreate event, since a Job has no condition for
// it; nil without such an event.
func Creation(events []corev1.Event, now time.Time) *Finding {
	if e := newest(events, "FailedCreate"); e != nil {
		return refused(e.Message, e.FirstTimestamp.Time, now)
	}
	return nil
}

// Job explains how a Job failed by itself; nil if it did not.
func Job(j *batchv1.Job) *Finding {
	for _, c := range j.Status.Conditions {
		if c.Type != batchv1.JobFailed || c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Reason == batchv1.JobReasonDeadlineExceeded {
			return &Finding{Reason: v1alpha1.ReasonTimeout, Sentence: withMessage("it timed out", c.Message)}
		}
		return &Finding{Reason: v1alpha1.ReasonCrashed, Sentence: withMessage("its Job failed", c.Message)}
	}
	return nil
}

// refused explains why the API server refused to create a pod. Controllers keep only the message. It begins with the object and
// "is forbidden: " (NewForbidden of k8s.io/apimachinery); the rest is the admission plugin's.
func refused(message string, since, now time.Time) *Finding {
	_, why, ok := strings.Cut(message, " is forbidden: ")
	if !ok {
		why = message
	}
	f := &Finding{Reason: v1alpha1.ReasonRefused, Sentence: withMessage("its pod was refused", why), After: TimeLeft(since, startGrace, now)}
	switch {
	case strings.HasPrefix(why, "exceeded quota: "):
		return exceeded(why, TimeLeft(since, scheduleGrace, now))
	case strings.HasPrefix(why, "violates PodSecurity "):
		f.Advice = "Stacks must meet Pod Security's baseline. Remove the fields that the message names."
	case strings.Contains(why, " usage per Container is "), strings.Contains(why, " usage per Pod is "):
		f.Reason, f.Advice = v1alpha1.ReasonQuotaExceeded, "A limit range bounds each container. Lower its resources (deploy.resources in a compose file), or ask the operator to raise the limit (stacks.cpu, stacks.memory)."
	case strings.HasPrefix(why, "failed quota: "):
		f.Reason, f.Advice = v1alpha1.ReasonQuotaExceeded, "The namespace's quota requires every container to set requests. Ask the operator to add a limit range."
	case strings.HasPrefix(message, "admission webhook "), strings.HasPrefix(message, "ValidatingAdmissionPolicy "), strings.HasPrefix(why, "ValidatingAdmissionPolicy "):
		f.Advice = "An admission policy of this cluster forbids it. Change what the message names, or ask the operator."
	}
	return f
}

// ceilings maps the resources of a stack's quota to the operator's settings.
var ceilings = map[string]string{"pods": "stacks.pods", "requests.cpu": "stacks.cpu", "requests.memory": "stacks.memory"}

// exceeded explains a message "exceeded quota: NAME, requested: A=1,B=2, used: A=3,B=4, limited: A=3,B=5", the format of
// apiserver/pkg/admission/plugin/resourcequota.
func exceeded(why string, after time.Duration) *Finding {
	f := &Finding{Reason: v1alpha1.ReasonQuotaExceeded, Sentence: withMessage("its pod was refused", why), After: after}
	_, limited, ok := strings.Cut(why, ", limited: ")
	if !ok {
		return f
	}
	var names []string
	for _, l := range strings.Split(limited, ",") {
		name, amount, _ := strings.Cut(l, "=")
		if setting := ceilings[name]; setting != "" {
			names = append(names, setting+" ("+amount+")")
		}
	}
	f.Advice = "The quota of the namespace is exhausted. Run less in it, or ask the operator to raise it."
	if len(names) > 0 {
		f.Advice = "The stack needs more than the operator allows. Lower its resources, or ask the operator to raise " + strings.Join(names, ", ") + "."
	}
	return f
}
