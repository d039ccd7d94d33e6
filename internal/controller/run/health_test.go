package run

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// TestServicesWithoutPodsAreFound: a Deployment has the service's name as a DNS label, and none of its pods may be wanted.
func TestServicesWithoutPodsAreFound(t *testing.T) {
	none := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "stack", Name: "my-api"}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(0))}}
	r := &Reconciler{Kube: fake.NewClientset(none)}
	s := &state{run: &v1alpha1.Run{}, now: noon}
	s.run.Status.Namespace = "stack"
	for name, want := range map[string]string{"my_api": "", "Web": "It: it was deleted"} {
		if got, err := r.explainNoPods(t.Context(), s, name, "It"); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
