package jobs

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// StackRole is the ClusterRole that Conductor binds to itself in each namespace that it creates.
const StackRole = "conductor-stack"

// Namespace is the namespace of a Run's stack. It enforces Pod Security's baseline and warns about pods that are not restricted.
// If the stack uses what the operator allows beyond the baseline, Pod Security enforces nothing, and only the conversion and the
// chart's admission policies restrict the stack.
func Namespace(run *v1alpha1.Run, beyond bool) *corev1.Namespace {
	labels := Labels(run, StageStack)
	labels["pod-security.kubernetes.io/enforce"] = "baseline"
	if beyond {
		labels["pod-security.kubernetes.io/enforce"] = "privileged"
	}
	labels["pod-security.kubernetes.io/warn"] = "restricted"
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: StackName(run), Labels: labels},
	}
}

// RoleBinding gives Conductor's account its rights over a stack's objects, only in the stack's namespace.
func RoleBinding(run *v1alpha1.Run, account, accountNamespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
		ObjectMeta: inStack(run, "conductor"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: StackRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: accountNamespace}},
	}
}

// PullSecret is the credential with which a stack's images are pulled: a Docker config.json.
func PullSecret(run *v1alpha1.Run, dockerConfig []byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: inStack(run, PullSecretName(run)),
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: dockerConfig},
	}
}

// Limits are the ResourceQuota and the LimitRange that keep a stack within its ceilings. CPU and memory bound both the sum of all
// requests and the limit of each container; the quota exists only with a ceiling. (Services of type NodePort and LoadBalancer are
// refused by the chart's admission policies instead: with a quota, each Service would wait until it is counted.)
func Limits(run *v1alpha1.Run) ([]client.Object, error) {
	hard := corev1.ResourceList{}
	most := corev1.ResourceList{}
	c := run.Spec.Ceilings
	if c.Pods > 0 {
		hard[corev1.ResourcePods] = *resource.NewQuantity(int64(c.Pods)+1, resource.DecimalSI)
	}
	for _, q := range []struct {
		value           string
		of, requestedOf corev1.ResourceName
	}{
		{c.CPU, corev1.ResourceCPU, corev1.ResourceRequestsCPU}, {c.Memory, corev1.ResourceMemory, corev1.ResourceRequestsMemory},
	} {
		if q.value == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(q.value)
		if err != nil {
			return nil, fmt.Errorf("the run's ceiling for %s %q: %w", q.of, q.value, err)
		}
		most[q.of] = quantity.DeepCopy()
		quantity.Add(agentRequests[q.of])
		hard[q.requestedOf] = quantity
	}
	objects := []client.Object{limitRange(run, most)}
	if len(hard) > 0 {
		objects = append(objects, quota(run, hard))
	}
	return objects, nil
}

func quota(run *v1alpha1.Run, hard corev1.ResourceList) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
		ObjectMeta: inStack(run, "conductor"),
		Spec:       corev1.ResourceQuotaSpec{Hard: hard},
	}
}

// limitRange gives small requests to containers without any. most is the maximum, and also the default limit.
func limitRange(run *v1alpha1.Run, most corev1.ResourceList) *corev1.LimitRange {
	requests := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	for name, q := range most {
		if d := requests[name]; d.Cmp(q) > 0 {
			requests[name] = q
		}
	}
	if len(most) == 0 {
		most = nil
	}
	return &corev1.LimitRange{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"},
		ObjectMeta: inStack(run, "conductor"),
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, DefaultRequest: requests, Default: most.DeepCopy(), Max: most,
		}}},
	}
}

func inStack(run *v1alpha1.Run, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: StackName(run), Labels: Labels(run, StageStack)}
}
