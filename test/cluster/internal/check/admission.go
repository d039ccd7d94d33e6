package check

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// admissionPolicy makes a policy that refuses one name, for one namespace, and
// waits until it does.
func (c *checker) admissionPolicy(ctx context.Context) error {
	const reason = "refused by the check"
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: c.name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: `object.metadata.name != "refused"`, Message: reason}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: c.name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        c.name,
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: c.name},
			}},
		},
	}
	api := c.client.AdmissionregistrationV1()
	if _, err := api.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	try := func(name string) error {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := c.client.CoreV1().ConfigMaps(c.name).Create(ctx, m, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if err := poll(ctx, func() error { return refused(try("refused"), reason) }); err != nil {
		return err
	}
	return try("allowed")
}

// podSecurity asks for a privileged pod, as a bare pod, where `baseline` is
// enforced.
func (c *checker) podSecurity(ctx context.Context) error {
	yes := true
	pod := c.pod("privileged", "true")
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	_, err := c.client.CoreV1().Pods(c.name).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return refused(err, "violates PodSecurity")
}

// absentImage waits until a pod reports that its image cannot be pulled.
func (c *checker) absentImage(ctx context.Context) error {
	pod := c.pod("absent", "true")
	pod.Spec.Containers[0].Image = c.Absent
	if _, err := c.client.CoreV1().Pods(c.name).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	return poll(ctx, func() error {
		p, err := c.client.CoreV1().Pods(c.name).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && (w.Reason == "ErrImagePull" || w.Reason == "ImagePullBackOff") {
				return nil
			}
		}
		return errors.New("the pod does not say that its image cannot be pulled: " + describe(p))
	})
}

// describe is the state of a pod in one line.
func describe(p *corev1.Pod) string {
	text := fmt.Sprintf("pod %s is %s", p.Name, p.Status.Phase)
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			text += fmt.Sprintf(", waiting: %s %s", w.Reason, w.Message)
		}
		if t := s.State.Terminated; t != nil {
			text += fmt.Sprintf(", ended: %s, exit code %d", t.Reason, t.ExitCode)
		}
	}
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			text += ", " + condition.Message
		}
	}
	return text
}
