package diagnose

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Crashes is how often a container of a restarting pod ended, the maximum of all its containers.
func Crashes(p *corev1.Pod) int {
	n, _ := crashes(p)
	return n
}

func crashes(p *corev1.Pod) (most int, of corev1.ContainerStatus) {
	for i, c := range statuses(p) {
		if end := c.State.Terminated; i < len(p.Status.InitContainerStatuses) && end != nil && end.ExitCode == 0 {
			continue // The init container is done, however many attempts it took.
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

// Crashing explains how a container that should keep running ended; nil if none did.
func Crashing(p *corev1.Pod, about Subject) *Finding {
	n, c := crashes(p)
	if n == 0 {
		return nil
	}
	t := end(c)
	if t.ExitCode == 0 {
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: fmt.Sprintf("%s ended %s with exit code 0, but a service has to keep running", it(p, c.Name), times(n)),
			Advice: "If it is meant to end, let other services depend on it with the condition service_completed_successfully.",
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
