package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Blocked reports what keeps a pod from starting; nil if nothing does. The pod's events are needed only if HidesCause.
func Blocked(p *corev1.Pod, events []corev1.Event, about Subject, now time.Time) *Finding {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return unschedulable(p, c, now)
		}
	}
	var first *Finding // The one with the least time left to recover.
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

// waiting explains why a container waits. The reasons are defined in Kubernetes' pkg/kubelet/images/types.go and kuberuntime.
func waiting(p *corev1.Pod, c corev1.ContainerStatus, events []corev1.Event, about Subject, now time.Time) *Finding {
	w, after := c.State.Waiting, TimeLeft(waitsSince(p, c), startGrace, now)
	switch w.Reason {
	case "InvalidImageName":
		return &Finding{
			Reason: v1alpha1.ReasonImageUnavailable, Sentence: fmt.Sprintf("the image name %q is not valid", c.Image), Advice: "Correct the name.",
		}
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed":
		return notPulled(p, c, events, about, now)
	case "CreateContainerConfigError":
		// Only the message names what is missing: pkg/kubelet/kubelet_pods.go.
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: withMessage("its container cannot be created", w.Message), After: after,
			Advice: "Check that everything its definition names exists, such as keys of Secrets and ConfigMaps, and that its user is allowed.",
		}
	case "CreateContainerError", "RunContainerError", "PostStartHookError":
		return &Finding{
			Reason: v1alpha1.ReasonCrashed, Sentence: withMessage("its container cannot be created", cause(w.Message)), After: after,
			Advice: "Check its command, user, working directory and mounts.",
		}
	}
	return nil
}

// waitsSince returns when a container began to wait for its start, as far as the status shows: the kubelet starts init containers one by
// one, then the others in order, and restarts a container that ended.
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

// cause strips the prefixes that the runtimes put before the actual error.
func cause(message string) string {
	for _, wrap := range []string{"failed to create containerd task: ", "failed to create task for container: ", "failed to create shim task: ",
		"OCI runtime create failed: ", "runc create failed: ", "unable to start container process: "} {
		message = strings.TrimPrefix(message, wrap)
	}
	return message
}

// unschedulable quotes the scheduler's message and advises on the reasons that can be acted on.
func unschedulable(p *corev1.Pod, c corev1.PodCondition, now time.Time) *Finding {
	after := TimeLeft(c.LastTransitionTime.Time, scheduleGrace, now)
	f := &Finding{Reason: v1alpha1.ReasonUnschedulable, After: after}
	lacks := shortages(c.Message)
	if len(lacks) == 0 {
		f.Sentence, f.Advice = withMessage("no node has room for it", c.Message), "Ask the operator to add capacity."
		if strings.HasPrefix(c.Message, "persistentvolumeclaim ") {
			f.Sentence, f.Advice = withMessage("its volume is missing", c.Message), "It was deleted, or it could not be created."
		}
		return f
	}
	f.Sentence = "no node can run it: " + words(strings.Join(lacks, ", "))
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
		all = append(all, "It requests "+requests(p)+". Lower the request (deploy.resources.reservations in a compose file), or ask the operator to add a node.")
	}
	if has("Too many pods") {
		all = append(all, "Every node has reached its limit of pods. Ask the operator to add a node.")
	}
	if has("PersistentVolume") || has("persistent volumes") || has("volume node affinity") {
		all = append(all, "One of its volumes is not bound. Ask the operator to check the cluster's storage class.")
	}
	if has("node affinity/selector") || has("node selector") {
		all = append(all, "It needs a node with "+selector(p)+" (platform in a compose file), and the cluster has none.")
	}
	if has("untolerated taint") || has("were unschedulable") {
		all = append(all, "The operator has closed other nodes to it (taints, cordoned nodes).")
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
		return "no resources"
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
