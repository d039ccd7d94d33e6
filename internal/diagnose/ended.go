package diagnose

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Ended explains why a pod, or one of its containers, did not end with exit code 0; nil if all did. What was done to the pod comes
// first: the exit code of a process that was terminated from outside reveals nothing about the process.
func Ended(p *corev1.Pod, about Subject) *Finding {
	if f := disrupted(p); f != nil {
		return f
	}
	if f := podFailed(p, about); f != nil {
		return f
	}
	for _, c := range statuses(p) {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			if Deleted(p, t) {
				return &Finding{Reason: v1alpha1.ReasonDeleted, Sentence: "its pod was deleted while it was running"}
			}
			return exit(p, c.Name, t, about)
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		return &Finding{Reason: v1alpha1.ReasonCrashed, Sentence: withMessage(strings.TrimSpace("its pod failed "+p.Status.Reason), p.Status.Message)}
	}
	return nil
}

// Deleted reports whether a container ended because its pod was deleted. The API server sets the time of deletion to the request plus
// the grace (metav1.ObjectMeta.DeletionTimestamp); what ended before the request ended by itself.
func Deleted(p *corev1.Pod, t *corev1.ContainerStateTerminated) bool {
	if p.DeletionTimestamp == nil || t.FinishedAt.IsZero() {
		return false
	}
	asked := p.DeletionTimestamp.Time
	if g := p.DeletionGracePeriodSeconds; g != nil {
		asked = asked.Add(-seconds(*g))
	}
	return !t.FinishedAt.Time.Before(asked)
}

// statuses are those of a pod's containers, the init containers first.
func statuses(p *corev1.Pod) []corev1.ContainerStatus {
	return append(p.Status.InitContainerStatuses[:len(p.Status.InitContainerStatuses):len(p.Status.InitContainerStatuses)], p.Status.ContainerStatuses...)
}

// disrupted explains how the cluster disrupted a pod, from the condition that it sets:
// https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
func disrupted(p *corev1.Pod) *Finding {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Reason {
		case "DeletionByTaintManager":
			return nodeLost("its node "+p.Spec.NodeName+" became unreachable or was taken out of service", c.Message)
		case "DeletionByPodGC":
			return nodeLost("its node "+p.Spec.NodeName+" no longer exists", c.Message)
		case corev1.PodReasonTerminationByKubelet:
			return evicted(p)
		case corev1.PodReasonPreemptionByScheduler:
			return eviction("its pod was preempted to make room for a pod of higher priority", c.Message)
		case "EvictionByEvictionAPI":
			return eviction("its pod was evicted, for example because its node was drained", c.Message)
		}
		return eviction("its pod was evicted ("+c.Reason+")", c.Message)
	}
	return nil
}

const again = "Run it again. If it happens often, ask the operator to check the node."

func nodeLost(sentence, message string) *Finding {
	return &Finding{Reason: v1alpha1.ReasonNodeLost, Sentence: withMessage(sentence, message), Advice: again}
}

func eviction(sentence, message string) *Finding {
	return &Finding{Reason: v1alpha1.ReasonEvicted, Sentence: withMessage(sentence, message), Advice: again}
}

// podFailed explains why the pod as a whole failed, from the pod's own reason. The kubelet and the controllers set it in few cases; see
// corev1.PodStatus.Reason and Kubernetes' pkg/kubelet (eviction, lifecycle, nodeshutdown).
func podFailed(p *corev1.Pod, about Subject) *Finding {
	switch reason := p.Status.Reason; {
	case reason == "Evicted":
		return evicted(p)
	case reason == "NodeLost" || p.Status.Phase == corev1.PodUnknown:
		return nodeLost("its node "+p.Spec.NodeName+" became unreachable", p.Status.Message)
	case reason == "DeadlineExceeded":
		return timedOut(p, "it", about)
	case reason == "Terminated" || reason == "NodeShutdown" || reason == "Shutdown":
		return nodeLost("its node "+p.Spec.NodeName+" was shut down", p.Status.Message)
	case p.Status.Phase == corev1.PodFailed && (reason == "Preempting" || reason == "NodeAffinity" || reason == "UnexpectedAdmissionError" || strings.HasPrefix(reason, "OutOf")):
		return &Finding{Reason: v1alpha1.ReasonUnschedulable, Sentence: withMessage("its node "+p.Spec.NodeName+" rejected it ("+reason+")", p.Status.Message), Advice: again}
	}
	return nil
}

// timedOut is a pod that was terminated at its deadline.
func timedOut(p *corev1.Pod, who string, about Subject) *Finding {
	f := &Finding{Reason: v1alpha1.ReasonTimeout, Sentence: who + " timed out"}
	if d := p.Spec.ActiveDeadlineSeconds; d != nil {
		f.Sentence += " after " + seconds(*d).String()
	}
	switch about.Kind {
	case Build:
		f.Advice = "The limit is the operator setting builds.timeout."
	case Test:
		f.Advice = "The limit is tests." + about.Name + ".timeout."
	}
	return f
}

// evicted distinguishes disk from memory. Only the message names the resource, in the forms of pkg/kubelet/eviction/helpers.go: "The node
// was low on resource: NAME. ", "The node had condition: [NAME]. ", and those of an exceeded limit on local storage.
func evicted(p *corev1.Pod) *Finding {
	message := p.Status.Message
	low, _, _ := strings.Cut(strings.TrimPrefix(message, "The node was low on resource: "), ". ")
	switch {
	case low == "ephemeral-storage" || low == "inodes" || strings.HasPrefix(message, "The node had condition: [DiskPressure]"):
		return &Finding{
			Reason: v1alpha1.ReasonDiskFull, Sentence: withMessage("its pod was evicted because the disk of its node "+p.Spec.NodeName+" was full", message),
			Advice: "Write less outside volumes, or ask the operator for nodes with more disk space.",
		}
	case strings.HasPrefix(message, "Usage of EmptyDir volume "), strings.HasPrefix(message, "Pod ephemeral local storage usage exceeds "),
		strings.HasPrefix(message, "Container ") && strings.Contains(message, "exceeded its local ephemeral storage limit"):
		return &Finding{
			Reason: v1alpha1.ReasonDiskFull, Sentence: withMessage("its pod was evicted because it exceeded its local storage limit", message),
			Advice: "Write less, or write to a volume.",
		}
	case low == "memory":
		return &Finding{
			Reason: v1alpha1.ReasonEvicted, Sentence: withMessage("its pod was evicted because its node "+p.Spec.NodeName+" ran low on memory", message),
			Advice: "Pods that use more memory than they request are evicted first. Lower its memory use, or request more (deploy.resources.reservations.memory in a compose file).",
		}
	}
	return eviction("its pod was evicted by its node "+p.Spec.NodeName, message)
}

// exit explains how one container ended.
func exit(p *corev1.Pod, name string, t *corev1.ContainerStateTerminated, about Subject) *Finding {
	switch {
	case t.Reason == "OOMKilled":
		return outOfMemory(p, name, about)
	case t.Reason == "DeadlineExceeded":
		return timedOut(p, it(p, name), about)
	// The runtime could not start the program: containerd reports StartError with 128, others ContainerCannotRun.
	case t.Reason == "StartError" || t.Reason == "ContainerCannotRun":
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: withMessage(it(p, name)+" could not be started", cause(t.Message)),
			Advice: "Check that its command exists in the image and is executable.",
		}
	}
	sentence := fmt.Sprintf("%s ended with exit code %d", it(p, name), t.ExitCode)
	if t.Signal != 0 {
		sentence = fmt.Sprintf("%s was terminated by signal %d", it(p, name), t.Signal)
	} else if n := t.ExitCode - 128; n > 0 && n <= 64 {
		sentence += fmt.Sprintf(" (signal %d%s)", n, signalNames[n])
	}
	return &Finding{Reason: v1alpha1.ReasonCrashed, Sentence: sentence, Advice: exitAdvice[t.ExitCode]}
}

var signalNames = map[int32]string{6: ", SIGABRT", 9: ", SIGKILL", 11: ", SIGSEGV", 15: ", SIGTERM"}

// exitAdvice is for the exit codes with one usual meaning: those of a shell, and of a signal that programs do not send themselves.
var exitAdvice = map[int32]string{
	126: "Usually: a command is not executable.",
	127: "Usually: command not found.",
	137: "It was killed by SIGKILL, not by the OOM killer.",
}

// outOfMemory is a container that the OOM killer ended.
func outOfMemory(p *corev1.Pod, name string, about Subject) *Finding {
	f := &Finding{Reason: v1alpha1.ReasonOutOfMemory}
	limit := memoryLimit(p, name)
	if limit == nil {
		f.Sentence = it(p, name) + " was killed because the node " + p.Spec.NodeName + " ran out of memory; it has no memory limit"
		f.Advice = map[Kind]string{
			Service: "Set deploy.resources.limits.memory (or mem_limit) of the service " + about.Name + ", or lower its memory use.",
			Build:   "Ask the operator to raise builds.memory, so that builds run on nodes with enough memory, or lower the memory use of the Dockerfile.",
			Test:    "Lower the memory use of the tests, or ask the operator for nodes with more memory.",
		}[about.Kind]
		return f
	}
	f.Sentence = it(p, name) + " ran out of memory and was killed; its limit is " + limit.String()
	f.Advice = moreMemory(limit.String(), about)
	return f
}

func moreMemory(limit string, about Subject) string {
	switch {
	case about.Kind == Build:
		return "Ask the operator to raise builds.memoryLimit (" + limit + "), or lower the memory use of the Dockerfile."
	case sameQuantity(limit, about.Ceilings.Memory):
		return "That is the operator's limit for a container of a stack (stacks.memory). Lower its memory use, or ask the operator to raise it."
	case about.Kind == Test:
		return "Raise deploy.resources.limits.memory (or mem_limit) of the compose service that the suite runs, or lower the memory use of the tests."
	}
	return "Raise deploy.resources.limits.memory (or mem_limit) of the service " + about.Name + " in the compose file above " + limit + "."
}
