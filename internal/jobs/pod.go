package jobs

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// job runs a pod once. A failure is a result and must not be retried.
func job(name, namespace string, labels map[string]string, timeout time.Duration, pod corev1.PodSpec) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit:          new(int32(0)),
			ActiveDeadlineSeconds: seconds(timeout + backstop),
			Template:              corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}

// podSpec is a pod with one container and no rights in the cluster. Privilege escalation is allowed, as in Pod Security's baseline, so
// that sudo and su work as in Docker.
func podSpec(timeout time.Duration, c corev1.Container) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		ActiveDeadlineSeconds:         seconds(timeout),
		TerminationGracePeriodSeconds: new(int64(10)),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers:                    []corev1.Container{c},
	}
}

// seconds rounds up, since a deadline of 0 is invalid. No timeout means no deadline.
func seconds(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	return new(int64((d + time.Second - 1) / time.Second))
}

// Literal escapes $ as $$ so that Kubernetes does not expand $(NAME) in arguments and environment values. Otherwise a build argument
// $(GIT_PASSWORD) would expand to the git token.
// https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
func Literal(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ReplaceAll(s, "$", "$$")
	}
	return out
}
