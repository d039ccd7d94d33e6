package run

import (
	"strings"
	"testing"
	"time"

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

func TestBlockedSaysWhatKeepsAPodFromStartingAndForHowLongThatIsFine(t *testing.T) {
	unschedulable := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/1 nodes: insufficient memory", LastTransitionTime: metav1.NewTime(noon),
	}}}}
	for _, tc := range []struct {
		name        string
		pod         *corev1.Pod
		at          time.Duration
		reason, say string
		after       time.Duration
	}{
		{"creating", waiting("ContainerCreating", ""), time.Hour, "", "", 0},
		{"pull just failed", waiting("ErrImagePull", "not found"), 5 * time.Second, v1alpha1.ReasonImageUnavailable, "redis:7 cannot be pulled: not found", 15 * time.Second},
		{"pull keeps failing", waiting("ImagePullBackOff", "not found"), 21 * time.Second, v1alpha1.ReasonImageUnavailable, "cannot be pulled", 0},
		{"bad name", waiting("InvalidImageName", ""), 0, v1alpha1.ReasonImageUnavailable, "not valid", 0},
		{"no room yet", unschedulable, time.Minute, v1alpha1.ReasonUnschedulable, "insufficient memory", time.Minute},
		{"no room for long", unschedulable, 3 * time.Minute, v1alpha1.ReasonUnschedulable, "insufficient memory", 0},
	} {
		reason, message, after := blocked(tc.pod, noon.Add(tc.at))
		if reason != tc.reason || !strings.Contains(message, tc.say) || (message == "") != (tc.say == "") || after != tc.after {
			t.Errorf("%s: %q, %q, %s", tc.name, reason, message, after)
		}
	}
}

func TestTerminatedKnowsPodsThatDiedWithoutTheirContainers(t *testing.T) {
	evicted := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory"}}
	if got := terminated(evicted); got == nil || got.ExitCode >= 0 || !strings.Contains(exitSentence(got), "evicted") {
		t.Errorf("terminated = %+v", got)
	}
	if got := terminated(waiting("ContainerCreating", "")); got != nil {
		t.Errorf("a pod that starts has ended: %+v", got)
	}
	if got := exitSentence(&corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}); !strings.Contains(got, "memory") {
		t.Errorf("OOMKilled: %q", got)
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
