package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Blocked reports what keeps a pod from starting; nil for a pod that nothing blocks. The pod's events are needed where HidesCause.
func Blocked(p *corev1.Pod, events []corev1.Event, about Subject, now time.Time) *Finding {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return unschedulable(p, c, now)
		}
	}
	var first *Finding // What has the least time to mend itself.
	for _, c := range statuses(p) {
		if c.State.Waiting == nil {
			continue
		}
		if f := waiting(p, c, events, about, now); f != nil && (first == nil || f.After < first.After) {
			first = f
		}
	}
	return first
}

// waiting reads a container's reason to wait. The reasons are pkg/kubelet/images/types.go and kuberuntime's of Kubernetes.
func waiting(p *corev1.Pod, c corev1.ContainerStatus, events []corev1.Event, about Subject, now time.Time) *Finding {
	w, after := c.State.Waiting, TimeLeft(waitsSince(p, c), startGrace, now)
	switch w.Reason {
	case "InvalidImageName":
		return &Finding{
			Reason: v1alpha1.ReasonImageUnavailable, Sentence: fmt.Sprintf("the image name %q is not valid", c.Image), Advice: "Correct it.",
		}
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed":
		return notPulled(p, c, events, about, now)
	case "CreateContainerConfigError":
		// What is missing stands in the message alone: pkg/kubelet/kubelet_pods.go.
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: said("its container cannot be created", w.Message), After: after,
			Advice: "Something that its definition names, such as a key of a Secret or a ConfigMap, is not there, or its user is not allowed.",
		}
	case "CreateContainerError", "RunContainerError", "PostStartHookError":
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: said("its container cannot be created", cause(w.Message)), After: after,
			Advice: "Check its command, user, working directory and mounts.",
		}
	}
	return nil
}

// waitsSince is when a container's wait to be started began, as far as the status shows it: the kubelet starts init containers one by one
// and then the others in order, and a container that ended is started anew.
func waitsSince(p *corev1.Pod, c corev1.ContainerStatus) time.Time {
	since := p.CreationTimestamp.Time
	note := func(at time.Time) {
		if at.After(since) {
			since = at
		}
	}
	if p.Status.StartTime != nil {
		note(p.Status.StartTime.Time)
	}
	for _, other := range statuses(p) {
		if end := other.State.Terminated; end != nil {
			note(end.FinishedAt.Time)
		}
		if up := other.State.Running; up != nil && other.RestartCount == 0 {
			note(up.StartedAt.Time)
		}
	}
	if end := c.LastTerminationState.Terminated; end != nil {
		note(end.FinishedAt.Time)
	}
	return since
}

// cause leaves out what the runtimes put before an error's own words.
func cause(message string) string {
	for _, wrap := range []string{"failed to create containerd task: ", "failed to create task for container: ", "failed to create shim task: ",
		"OCI runtime create failed: ", "runc create failed: ", "unable to start container process: "} {
		message = strings.TrimPrefix(message, wrap)
	}
	return message
}

// unschedulable keeps the scheduler's own words, and says which of them someone can act on.
func unschedulable(p *corev1.Pod, c corev1.PodCondition, now time.Time) *Finding {
	after := TimeLeft(c.LastTransitionTime.Time, scheduleGrace, now)
	f := &Finding{Reason: v1alpha1.ReasonUnschedulable, After: after}
	lacks := shortages(c.Message)
	if len(lacks) == 0 {
		f.Sentence, f.Advice = said("no node has room for it", c.Message), "The operator has to add room."
		if strings.HasPrefix(c.Message, "persistentvolumeclaim ") {
			f.Sentence, f.Advice = said("its volume is not there", c.Message), "Somebody deleted it, or it could not be made."
		}
		return f
	}
	f.Sentence = "no node can take it: " + words(strings.Join(lacks, ", "))
	f.Advice = schedulingAdvice(p, lacks)
	return f
}

// shortages are the scheduler's reasons, such as "2 Insufficient cpu". Its message is "0/3 nodes are available: 2 Insufficient cpu, 1 node(s)
// had untolerated taint {key: value}. preemption: ...": the form of
// https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#my-pods-are-pending-with-event-message-failedscheduling
func shortages(message string) []string {
	_, list, ok := strings.Cut(message, " nodes are available: ")
	if !ok {
		return nil
	}
	for _, end := range []string{". preemption:", ". no new claims to deallocate"} {
		list, _, _ = strings.Cut(list, end)
	}
	return strings.Split(strings.TrimRight(list, ". "), ", ")
}

func schedulingAdvice(p *corev1.Pod, lacks []string) string {
	has := func(part string) bool {
		return slices.ContainsFunc(lacks, func(l string) bool { return strings.Contains(l, part) })
	}
	var all []string
	if has("Insufficient ") {
		all = append(all, "It asks for "+requests(p)+": ask for less (deploy.resources.reservations in a compose file), or the operator has to add a node.")
	}
	if has("Too many pods") {
		all = append(all, "The nodes hold as many pods as they may: the operator has to add one.")
	}
	if has("PersistentVolume") || has("persistent volumes") || has("volume node affinity") {
		all = append(all, "A volume of it is not bound: the operator has to look at the cluster's storage class.")
	}
	if has("node affinity/selector") || has("node selector") {
		all = append(all, "It must run on a node with "+selector(p)+" (platform in a compose file), and there is none.")
	}
	if has("untolerated taint") || has("were unschedulable") {
		all = append(all, "Other nodes are closed to it by the operator.")
	}
	return strings.Join(all, " ")
}

func requests(p *corev1.Pod) string {
	var sums []string
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		sum := zero()
		for _, c := range p.Spec.Containers {
			sum.Add(c.Resources.Requests[name])
		}
		if !sum.IsZero() {
			sums = append(sums, sum.String()+" of "+string(name))
		}
	}
	if len(sums) == 0 {
		return "nothing in particular"
	}
	return strings.Join(sums, " and ")
}

func selector(p *corev1.Pod) string {
	var all []string
	for k, v := range p.Spec.NodeSelector {
		all = append(all, k+"="+v)
	}
	if len(all) == 0 {
		return "other labels"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
