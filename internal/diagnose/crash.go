package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Completed reports whether all containers of a pod ended by themselves with exit code 0, and all may. The kubelet restarts those of a
// Deployment nevertheless, so there the last end counts.
func Completed(p *corev1.Pod) bool {
	all := p.Status.ContainerStatuses
	return len(all) > 0 && len(all) >= len(p.Spec.Containers) && p.Status.Phase != corev1.PodFailed && disrupted(p) == nil &&
		!slices.ContainsFunc(all, func(c corev1.ContainerStatus) bool { return !HasEnded(p, c) })
}

// HasEnded reports whether a container ended by itself with exit code 0, and may: because its pod restarts failed containers only, or because
// its service is not restarted under compose.
func HasEnded(p *corev1.Pod, c corev1.ContainerStatus) bool {
	t := end(c)
	return t != nil && t.ExitCode == 0 && !Deleted(p, t) && (RestartsFailuresOnly(p) || slices.Contains(strings.Split(p.Annotations[v1alpha1.AnnotationMayEnd], ","), c.Name))
}

// RestartsFailuresOnly reports whether the kubelet leaves a container of a pod alone that ended with exit code 0: the pod is a Job's.
func RestartsFailuresOnly(p *corev1.Pod) bool {
	return p.Spec.RestartPolicy == corev1.RestartPolicyOnFailure || p.Spec.RestartPolicy == corev1.RestartPolicyNever
}

// Crashes is how often a container of a restarting pod ended, the maximum of all its containers. One that ended and may is not counted.
func Crashes(p *corev1.Pod) int {
	n, _ := crashes(p)
	return n
}

func crashes(p *corev1.Pod) (most int, of corev1.ContainerStatus) {
	for i, c := range statuses(p) {
		if end := c.State.Terminated; i < len(p.Status.InitContainerStatuses) && end != nil && end.ExitCode == 0 {
			continue // The init container is done, however many attempts it took.
		}
		if HasEnded(p, c) {
			continue
		}
		n := int(c.RestartCount)
		if c.State.Terminated != nil || c.State.Waiting != nil && c.LastTerminationState.Terminated != nil && c.State.Waiting.Reason == "CrashLoopBackOff" {
			n++
		}
		if n > most && end(c) != nil {
			most, of = n, c
		}
	}
	return most, of
}

// end is how a container last ended.
func end(c corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if c.State.Terminated != nil {
		return c.State.Terminated
	}
	return c.LastTerminationState.Terminated
}

// LastEnd explains how the container that crashed most often ended the last time; nil if none did.
func LastEnd(p *corev1.Pod, about Subject) *Finding {
	n, c := crashes(p)
	if n == 0 {
		return nil
	}
	return exit(p, c.Name, end(c), about)
}

// Crashing explains how a container that should not have ended did; nil if none did.
func Crashing(p *corev1.Pod, about Subject) *Finding {
	n, c := crashes(p)
	if n == 0 {
		return nil
	}
	t := end(c)
	if t.ExitCode == 0 {
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: fmt.Sprintf("%s ended %s with exit code 0, but a service has to keep running", it(p, c.Name), times(n)),
			Advice: "If it is meant to end, set its restart policy in the compose file to no or on-failure.",
		}
	}
	f := exit(p, c.Name, t, about)
	f.Sentence = it(p, c.Name) + " crashed " + times(n) + ", the last time: " + f.Sentence
	return f
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(n) + " times"
}
