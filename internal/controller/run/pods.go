package run

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/redact"
)

// grace is how long a pod may be unable to start before that counts as a failure: pulls are tried again by the kubelet,
// and a node may be on its way.
const (
	pullGrace     = 20 * time.Second
	scheduleGrace = 2 * time.Minute
)

// terminated is how the main container of a pod that runs to its end ended; nil while it has not.
func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			return c.State.Terminated
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return &corev1.ContainerStateTerminated{ExitCode: -1, Reason: pod.Status.Reason, Message: pod.Status.Message}
	}
	return nil
}

// blocked says what keeps a pod from starting: a reason, a sentence, and after which time it counts as a failure (0: now).
// It is empty for a pod that nothing blocks.
func blocked(pod *corev1.Pod, now time.Time) (reason, message string, after time.Duration) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return v1alpha1.ReasonUnschedulable, "no node has room for it: " + c.Message, left(c.LastTransitionTime.Time, scheduleGrace, now)
		}
	}
	started := pod.CreationTimestamp.Time
	if pod.Status.StartTime != nil {
		started = pod.Status.StartTime.Time
	}
	for _, c := range append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...) {
		w := c.State.Waiting
		if w == nil {
			continue
		}
		switch w.Reason {
		case "InvalidImageName":
			return v1alpha1.ReasonImageUnavailable, fmt.Sprintf("the image name %q is not valid", c.Image), 0
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable":
			return v1alpha1.ReasonImageUnavailable, fmt.Sprintf("the image %s cannot be pulled: %s", c.Image, w.Message), left(started, pullGrace, now)
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return v1alpha1.ReasonCrashed, fmt.Sprintf("its container cannot be created: %s", w.Message), left(started, pullGrace, now)
		}
	}
	return "", "", 0
}

// left is what is left of d since start; 0 when nothing is.
func left(start time.Time, d time.Duration, now time.Time) time.Duration {
	return max(0, start.Add(d).Sub(now))
}

func timeLeft(start *metav1.MicroTime, d time.Duration, now time.Time) time.Duration {
	if start == nil {
		return d
	}
	return left(start.Time, d, now)
}

// exitSentence says how a container ended.
func exitSentence(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason == "OOMKilled":
		return "it ran out of memory and was killed; raise its memory limit"
	case t.Reason == "DeadlineExceeded":
		return "it took longer than it may"
	case t.Reason == "Evicted":
		return "its pod was evicted: " + t.Message
	case t.ExitCode < 0:
		return "its pod failed: " + t.Reason + " " + t.Message
	case t.Signal != 0:
		return fmt.Sprintf("it was ended by signal %d", t.Signal)
	}
	return fmt.Sprintf("exit code %d", t.ExitCode)
}

// tail is the end of a pod's log, masked. Where the log cannot be had, the kubelet's own copy of its end stands in.
func (r *Reconciler) tail(ctx context.Context, pod *corev1.Pod, lines, bytes int64) string {
	container := pod.Spec.Containers[0].Name
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := r.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: &lines}).Stream(ctx)
	if err != nil {
		r.Log.Warn("the log of a pod cannot be read", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
		if t := terminated(pod); t != nil {
			return last(redact.Token(t.Message), int(bytes))
		}
		return ""
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, 1<<20))
	if err != nil {
		r.Log.Warn("the log of a pod broke off", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
	}
	return last(redact.Token(string(data)), int(bytes))
}

// last keeps the end of s, at most max bytes, from a character's start.
func last(s string, max int) string {
	if len(s) <= max {
		return s
	}
	s = s[len(s)-max:]
	for len(s) > 0 && s[0]&0xC0 == 0x80 {
		s = s[1:]
	}
	return s
}
