package stackns

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// ErrNoAgent means that a namespace has no agent that could answer.
var ErrNoAgent = errors.New("the stack's agent is gone")

// AgentAddress finds the address of the agent in a namespace.
func (n Namespaces) AgentAddress(ctx context.Context, namespace string) (string, error) {
	list, err := n.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelStage + "=" + jobs.StageAgent})
	if err != nil {
		return "", fmt.Errorf("list the agents of %s: %w", namespace, err)
	}
	for i := range list.Items {
		if p := AgentPod([]*corev1.Pod{&list.Items[i]}); p != nil {
			return p.Status.PodIP, nil
		}
	}
	return "", ErrNoAgent
}

// AgentPod is the agent's pod among those of a namespace; nil where none could answer.
func AgentPod(pods []*corev1.Pod) *corev1.Pod {
	for _, p := range pods {
		if p.Labels[v1alpha1.LabelStage] == jobs.StageAgent && p.DeletionTimestamp == nil && p.Status.PodIP != "" && HasStarted(p) {
			return p
		}
	}
	return nil
}

// HasStarted reports whether a main container of a pod was ever started.
func HasStarted(p *corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
			return true
		}
	}
	return false
}
