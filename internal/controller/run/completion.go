package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
)

// complete notes that a service has completed. The next reconcile, when the status has it, stops what the kubelet would restart.
func complete(s *state, st *v1alpha1.ServiceStatus) {
	st.State, st.Message = v1alpha1.ServiceCompleted, ""
	s.completed = append(s.completed, st.Name)
	s.requeueAfter(10 * time.Millisecond)
}

// hasCompleted reports whether so many pods of a service have completed and no other goes on. Pods that failed or are deleted have been
// replaced.
func hasCompleted(pods []*corev1.Pod, want int) bool {
	done := 0
	for _, p := range pods {
		if diagnose.Completed(p) {
			done++
		} else if p.Status.Phase != corev1.PodFailed && p.DeletionTimestamp == nil {
			return false
		}
	}
	return done >= want
}

// stopCompleted scales the Deployments of services that have completed to 0: the kubelet restarts their containers. What this reconcile found is
// left to the next one: if its status were lost, the pods that show the completion would be gone.
func (r *Reconciler) stopCompleted(ctx context.Context, s *state, pods servicePods) error {
	for _, st := range s.status().Services {
		isStored := st.State == v1alpha1.ServiceCompleted && !slices.Contains(s.completed, st.Name)
		if !isStored || !slices.ContainsFunc(pods.of(st.Name), isRestarted) {
			continue
		}
		_, err := r.Kube.AppsV1().Deployments(s.status().Namespace).Patch(ctx, compose.ObjectName(st.Name), types.MergePatchType,
			[]byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("scale the deployment of %s to 0: %w", st.Name, err)
		}
	}
	return nil
}

// isRestarted reports whether the kubelet restarts the containers of a pod however they end.
func isRestarted(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && !diagnose.RestartsFailuresOnly(p)
}
