package run

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// diagnosisTime is how long a reconcile may spend on logs and Events that only explain a failure.
const diagnosisTime = 10 * time.Second

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

// byAge orders pods, the oldest first. Creation times have whole seconds: of two with the same one, what has ended came first, since a
// pod is replaced after its end. Names decide the rest, so that every reconcile comes to the same conclusions.
func byAge(a, b *corev1.Pod) int {
	ended := func(p *corev1.Pod) int {
		if terminated(p) != nil || p.DeletionTimestamp != nil {
			return 0
		}
		return 1
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), ended(a)-ended(b), cmp.Compare(a.Name, b.Name))
}

// subject is what sentences about a pod need to know of its Run.
func (r *Reconciler) subject(s *state, kind diagnose.Kind, name string) diagnose.Subject {
	return diagnose.Subject{Kind: kind, Name: name, Registry: r.Settings.Registry.Host, Ceilings: s.run.Spec.Ceilings}
}

// listEvents returns the Events of an object. They only add words to what the object's fields show, so an error is logged and no more.
func (r *Reconciler) listEvents(ctx context.Context, namespace, kind, name string) []corev1.Event {
	list, err := r.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.kind": kind, "involvedObject.name": name}.String(), Limit: 100,
	})
	if err != nil {
		r.Log.Warn("the events of an object cannot be read", "namespace", namespace, "kind", kind, "name", name, "error", err)
		return nil
	}
	return list.Items
}

// explainBlocked reports what keeps a pod from starting; nil when nothing does.
func (r *Reconciler) explainBlocked(ctx context.Context, s *state, p *corev1.Pod, about diagnose.Subject) *diagnose.Finding {
	var events []corev1.Event
	if diagnose.HidesCause(p) {
		events = r.listEvents(ctx, p.Namespace, "Pod", p.Name)
	}
	return diagnose.Blocked(p, events, about, s.now)
}

// cannotStart returns what keeps a pod from starting: a terminal failure, or a sentence while it may still start. Both are empty when
// nothing does.
func (r *Reconciler) cannotStart(ctx context.Context, s *state, p *corev1.Pod, about diagnose.Subject, who string) (yet string, err error) {
	f := r.explainBlocked(ctx, s, p, about)
	switch {
	case f == nil:
		return "", nil
	case f.After == 0:
		return "", f.Failure(who + " cannot start")
	}
	s.requeueAfter(f.After)
	return f.About(who + " cannot start yet"), nil
}

// capitalize begins a sentence.
func capitalize(s string) string {
	if s == "" || s[0] >= 0x80 {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func timeLeft(start *metav1.MicroTime, d time.Duration, now time.Time) time.Duration {
	if start == nil {
		return d
	}
	return diagnose.TimeLeft(start.Time, d, now)
}

// stackTail is the end of the log of a stack's pod, as its agent masked it. Without an agent it is the kubelet's, with everything masked that
// looks like a token.
func (r *Reconciler) stackTail(ctx context.Context, run *v1alpha1.Run, pod *corev1.Pod, most int64) string {
	const lines = 20
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if agent, err := r.findAgent(short, run); err == nil {
		end, err := agent.Tail(short, tailOf(pod, lines))
		if err == nil && isPrinted(end) {
			return text.Tail(redact.Token(end), int(most))
		}
	}
	return r.podTail(ctx, pod, lines, most)
}

// isPrinted reports whether a log has a line besides the agent's notes on what is lost.
func isPrinted(log string) bool {
	for line := range strings.Lines(log) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "[conductor: ") {
			return true
		}
	}
	return false
}

// tailOf selects the end of the log of a pod's main container, as far as its status shows that it has run.
func tailOf(pod *corev1.Pod, lines int) evidence.Tail {
	t := evidence.Tail{Pod: pod.Name, Container: pod.Spec.Containers[0].Name, Lines: lines}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == t.Container {
			t.Restarts = c.RestartCount
			t.Ended = c.State.Running == nil && (c.State.Terminated != nil || c.LastTerminationState.Terminated != nil)
		}
	}
	return t
}

// unreadable is how the kubelet's answer begins, instead of a log, if the container's log is gone: k8s.io/kubernetes,
// pkg/kubelet/kuberuntime, GetContainerLogs.
const unreadable = "unable to retrieve container logs for "

// podTail is the end of a pod's log, masked. Where the log cannot be read, the kubelet's own copy of its end is used.
func (r *Reconciler) podTail(ctx context.Context, pod *corev1.Pod, lines, most int64) string {
	container := pod.Spec.Containers[0].Name
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := r.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: &lines}).Stream(ctx)
	if err != nil {
		r.Log.Warn("the log of a pod cannot be read", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
		return text.Tail(redact.Token(terminationMessage(pod)), int(most))
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, 1<<20))
	if err != nil {
		r.Log.Warn("the log of a pod broke off", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
	}
	if len(data) == 0 || bytes.HasPrefix(data, []byte(unreadable)) { // It printed nothing, or its log or node is gone.
		return text.Tail(redact.Token(terminationMessage(pod)), int(most))
	}
	return text.Tail(redact.Token(string(data)), int(most))
}

// terminationMessage is what the kubelet kept of the end of a pod's log: its own, or that of the run before.
func terminationMessage(pod *corev1.Pod) string {
	if t := terminated(pod); t != nil {
		return t.Message
	}
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.LastTerminationState.Terminated; t != nil {
			return t.Message
		}
	}
	return ""
}
