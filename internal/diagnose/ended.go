package diagnose

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Ended explains why a pod, or a container of it, ended otherwise than with exit code 0; nil when none did. What was done to the pod
// comes first: the exit code of a process that was ended from outside says nothing about the process.
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
				return &Finding{Reason: v1alpha1.ReasonDeleted, Sentence: "its pod was deleted while it ran"}
			}
			return exit(p, c.Name, t, about)
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		return &Finding{Reason: v1alpha1.ReasonCrashed, Sentence: said(strings.TrimSpace("its pod failed "+p.Status.Reason), p.Status.Message)}
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

// disrupted says what the cluster did to a pod, by the condition that it sets for that:
// https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
func disrupted(p *corev1.Pod) *Finding {
	for _, c := range p.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Reason {
		case "DeletionByTaintManager":
			return nodeLost("its node "+p.Spec.NodeName+" stopped answering or was taken out of service", c.Message)
		case "DeletionByPodGC":
			return nodeLost("its node "+p.Spec.NodeName+" is gone", c.Message)
		case corev1.PodReasonTerminationByKubelet:
			return evicted(p)
		case corev1.PodReasonPreemptionByScheduler:
			return eviction("its pod was evicted to make room for one of higher priority", c.Message)
		case "EvictionByEvictionAPI":
			return eviction("its pod was evicted, as when a node is drained", c.Message)
		}
		return eviction("its pod was evicted ("+c.Reason+")", c.Message)
	}
	return nil
}

const again = "Run it again; if that happens often, the operator has to look at the node."

func nodeLost(sentence, message string) *Finding {
	return &Finding{Reason: v1alpha1.ReasonNodeLost, Sentence: said(sentence, message), Advice: again}
}

func eviction(sentence, message string) *Finding {
	return &Finding{Reason: v1alpha1.ReasonEvicted, Sentence: said(sentence, message), Advice: again}
}

// podFailed is what the pod as a whole failed of, by its own reason. The kubelet and the controllers set it in few cases; see
// corev1.PodStatus.Reason and pkg/kubelet (eviction, lifecycle, nodeshutdown) of Kubernetes.
func podFailed(p *corev1.Pod, about Subject) *Finding {
	switch reason := p.Status.Reason; {
	case reason == "Evicted":
		return evicted(p)
	case reason == "NodeLost" || p.Status.Phase == corev1.PodUnknown:
		return nodeLost("its node "+p.Spec.NodeName+" stopped answering", p.Status.Message)
	case reason == "DeadlineExceeded":
		return tookTooLong(p, "it", about)
	case reason == "Terminated" || reason == "NodeShutdown" || reason == "Shutdown":
		return nodeLost("its node "+p.Spec.NodeName+" was shut down", p.Status.Message)
	case p.Status.Phase == corev1.PodFailed && (reason == "Preempting" || reason == "NodeAffinity" || reason == "UnexpectedAdmissionError" || strings.HasPrefix(reason, "OutOf")):
		return &Finding{Reason: v1alpha1.ReasonUnschedulable, Sentence: said("its node "+p.Spec.NodeName+" did not take it ("+reason+")", p.Status.Message), Advice: again}
	}
	return nil
}

// tookTooLong is a pod that was ended at its deadline.
func tookTooLong(p *corev1.Pod, who string, about Subject) *Finding {
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

// evicted tells disk from memory. The resource stands in the message alone, in forms of pkg/kubelet/eviction/helpers.go: "The node was
// low on resource: NAME. ", "The node had condition: [NAME]. ", and of a limit on local storage that was exceeded.
func evicted(p *corev1.Pod) *Finding {
	message := p.Status.Message
	low, _, _ := strings.Cut(strings.TrimPrefix(message, "The node was low on resource: "), ". ")
	switch {
	case low == "ephemeral-storage" || low == "inodes" || strings.HasPrefix(message, "The node had condition: [DiskPressure]"):
		return &Finding{
			Reason: v1alpha1.ReasonDiskFull, Sentence: said("its pod was evicted because the disk of its node "+p.Spec.NodeName+" was full", message),
			Advice: "Write less outside volumes; the operator has to give the node room.",
		}
	case strings.HasPrefix(message, "Usage of EmptyDir volume "), strings.HasPrefix(message, "Pod ephemeral local storage usage exceeds "),
		strings.HasPrefix(message, "Container ") && strings.Contains(message, "exceeded its local ephemeral storage limit"):
		return &Finding{
			Reason: v1alpha1.ReasonDiskFull, Sentence: said("its pod was evicted because it wrote more to its disk than it may", message),
			Advice: "Write less, or write to a volume.",
		}
	case low == "memory":
		return &Finding{
			Reason: v1alpha1.ReasonEvicted, Sentence: said("its pod was evicted because its node "+p.Spec.NodeName+" was short of memory", message),
			Advice: "A pod that uses more memory than it asks for goes first: have it use less or ask for more (deploy.resources.reservations.memory in a compose file).",
		}
	}
	return eviction("its pod was evicted by its node "+p.Spec.NodeName, message)
}

// exit is how one container ended.
func exit(p *corev1.Pod, name string, t *corev1.ContainerStateTerminated, about Subject) *Finding {
	switch {
	case t.Reason == "OOMKilled":
		return outOfMemory(p, name, about)
	case t.Reason == "DeadlineExceeded":
		return tookTooLong(p, it(p, name), about)
	// The runtime could not start the program: containerd says StartError with 128, others ContainerCannotRun.
	case t.Reason == "StartError" || t.Reason == "ContainerCannotRun":
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: said(it(p, name)+" could not be started", cause(t.Message)),
			Advice: "Check that its command is in the image and may be executed.",
		}
	}
	sentence := fmt.Sprintf("%s ended with exit code %d", it(p, name), t.ExitCode)
	if t.Signal != 0 {
		sentence = fmt.Sprintf("%s was ended by signal %d", it(p, name), t.Signal)
	} else if n := t.ExitCode - 128; n > 0 && n <= 64 {
		sentence += fmt.Sprintf(" (signal %d%s)", n, signalNames[n])
	}
	return &Finding{Reason: v1alpha1.ReasonCrashed, Sentence: sentence, Advice: exitAdvice[t.ExitCode]}
}

var signalNames = map[int32]string{6: ", SIGABRT", 9: ", SIGKILL", 11: ", SIGSEGV", 15: ", SIGTERM"}

// exitAdvice is for the exit codes that mean the same everywhere: those of a shell, and of a signal that a program does not send itself.
var exitAdvice = map[int32]string{
	126: "Usually: a command is not executable.",
	127: "Usually: command not found.",
	137: "It was killed by SIGKILL, not by the OOM killer.",
}

// outOfMemory is a container that the kernel killed.
func outOfMemory(p *corev1.Pod, name string, about Subject) *Finding {
	f := &Finding{Reason: v1alpha1.ReasonOutOfMemory}
	limit := memoryLimit(p, name)
	if limit == nil {
		f.Sentence = it(p, name) + " was killed because the node " + p.Spec.NodeName + " ran out of memory; it has no limit of its own"
		f.Advice = map[Kind]string{
			Service: "Set deploy.resources.limits.memory (or mem_limit) of the service " + about.Name + ", or have it need less.",
			Build:   "The operator has to raise builds.memory, so that builds go where there is room; or have the Dockerfile need less.",
			Test:    "Have the tests need less; the operator has to give the nodes more memory.",
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
		return "Ask the operator to raise builds.memoryLimit (" + limit + "), or have the Dockerfile need less."
	case sameQuantity(limit, about.Ceilings.Memory):
		return "That is what a container of a stack may have at most (stacks.memory, the operator's): have it need less, or ask the operator."
	case about.Kind == Test:
		return "Raise deploy.resources.limits.memory (or mem_limit) of the compose service that the suite runs, or have the tests need less."
	}
	return "Raise deploy.resources.limits.memory (or mem_limit) of the service " + about.Name + " in the compose file above " + limit + "."
}
