package run

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
)

func waiting(reason, message string) *corev1.Pod {
	start := metav1.NewTime(noon)
	return &corev1.Pod{Status: corev1.PodStatus{StartTime: &start, ContainerStatuses: []corev1.ContainerStatus{{
		Image: "redis:7", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}}
}

func TestTerminatedKnowsPodsThatDiedWithoutTheirContainers(t *testing.T) {
	evicted := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory"}}
	if got := terminated(evicted); got == nil || got.ExitCode >= 0 || got.Reason != "Evicted" {
		t.Errorf("terminated = %+v", got)
	}
	if got := terminated(waiting("ContainerCreating", "")); got != nil {
		t.Errorf("a pod that starts has ended: %+v", got)
	}
}

func TestDependenciesAreMetByTheirCondition(t *testing.T) {
	for _, tc := range []struct {
		condition string
		state     v1alpha1.ServiceState
		started   bool
		want      bool
	}{
		{compose.ConditionHealthy, v1alpha1.ServiceStarting, true, false}, {compose.ConditionHealthy, v1alpha1.ServiceReady, true, true},
		{compose.ConditionCompleted, v1alpha1.ServiceReady, true, false}, {compose.ConditionCompleted, v1alpha1.ServiceCompleted, true, true},
		{compose.ConditionStarted, v1alpha1.ServiceWaiting, false, false}, {compose.ConditionStarted, v1alpha1.ServiceStarting, false, false},
		{compose.ConditionStarted, v1alpha1.ServiceStarting, true, true}, {compose.ConditionStarted, v1alpha1.ServiceCompleted, false, true},
		{compose.ConditionHealthy, v1alpha1.ServiceFailed, true, false},
	} {
		if got := met(tc.condition, tc.state, tc.started); got != tc.want {
			t.Errorf("met(%s, %s, %t) = %t", tc.condition, tc.state, tc.started, got)
		}
	}
}
