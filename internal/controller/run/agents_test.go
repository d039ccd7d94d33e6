package run

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// An agent has its time to answer from when it runs, and not from when its image was asked for.
func TestAnAgentsTimeToAnswerBeginsWhenItRuns(t *testing.T) {
	agent := func(state corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelStage: jobs.StageAgent}},
			Status:     corev1.PodStatus{PodIP: "192.0.2.7", ContainerStatuses: []corev1.ContainerStatus{{State: state}}},
		}
	}
	up := func(at time.Time) corev1.ContainerState {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at)}}
	}
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want time.Time
	}{
		"no pod":                  {nil, noon},
		"waits for its image":     {[]*corev1.Pod{agent(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}})}, noon},
		"ran before":              {[]*corev1.Pod{agent(up(noon.Add(-time.Minute)))}, noon},
		"runs since five minutes": {[]*corev1.Pod{agent(up(noon.Add(5 * time.Minute)))}, noon.Add(5 * time.Minute)},
	} {
		if got := answersSince(tc.pods, noon); !got.Equal(tc.want) {
			t.Errorf("%s: it answers since %s, want %s", name, got, tc.want)
		}
	}
}
