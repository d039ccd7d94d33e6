package jobs

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// linkLocal holds the metadata services of the clouds, 169.254.169.254. No operator's range opens it unless it names it.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// Fence keeps a stack in: its pods reach each other, the cluster's DNS and the operator's list. What is not named is denied: nodes,
// the API server, Conductor, other stacks. It holds from before the first pod. Egress is CIDR or CIDR:port, as in the settings.
//
// It says nothing about ingress on purpose. A controller of network policies lets a pod's peers know of its address some
// time after its containers run (0.2 s to seconds); until then a rule on ingress refuses the connections of pods that the same
// rule allows, and a one-shot container that connects at once fails, which it does not under compose. See Wall.
func Fence(run *v1alpha1.Run, egress []string) (*networkingv1.NetworkPolicy, error) {
	beyond, err := Egress(egress)
	if err != nil {
		return nil, err
	}
	p := policy(run, "conductor", networkingv1.PolicyTypeEgress)
	// Policies add up: pods that the compose file keeps apart have their own.
	p.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelNetworks, Operator: metav1.LabelSelectorOpDoesNotExist}}
	p.Spec.Egress = append([]networkingv1.NetworkPolicyEgressRule{{To: samePods()}, dns()}, beyond...)
	return p, nil
}

// Egress are the operator's rules, CIDR or CIDR:port.
func Egress(list []string) ([]networkingv1.NetworkPolicyEgressRule, error) {
	rules := make([]networkingv1.NetworkPolicyEgressRule, 0, len(list))
	for _, e := range list {
		rule, err := egressRule(e)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// Wall keeps others out of a stack: it is reached by its own pods, the agent's port by Conductor, and the services that have a public
// address by pods of the operator's ingress namespaces. It goes up once
// the tests have ended and no new pod is expected; until then stacks are kept apart by the Fence of each.
func Wall(run *v1alpha1.Run, ingressNamespaces []string) []client.Object {
	p := policy(run, "conductor-ingress", networkingv1.PolicyTypeIngress)
	port := intstr.FromInt32(evidence.AgentPort)
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: samePods()}, {
		From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: run.Namespace}}}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: &port}},
	}}
	var public []string
	for _, s := range run.Status.Services {
		if s.URL != "" {
			public = append(public, LabelValue(s.Name))
		}
	}
	if len(public) == 0 || len(ingressNamespaces) == 0 {
		return []client.Object{p}
	}
	door := policy(run, "conductor-public", networkingv1.PolicyTypeIngress)
	door.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{oneOf(v1alpha1.LabelService, public)}
	door.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{oneOf(corev1.LabelMetadataName, ingressNamespaces)}},
	}}}}
	return []client.Object{p, door}
}

func oneOf(label string, values []string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: label, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func policy(run *v1alpha1.Run, name string, kind networkingv1.PolicyType) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: inStack(run, name),
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{kind}},
	}
}

// samePods are the pods of the stack itself.
func samePods() []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
}

// dns allows the cluster's DNS, which every distribution runs in kube-system under this label.
func dns() networkingv1.NetworkPolicyEgressRule {
	port := intstr.FromInt32(53)
	return networkingv1.NetworkPolicyEgressRule{
		To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
		}},
		Ports: []networkingv1.NetworkPolicyPort{
			{Protocol: new(corev1.ProtocolUDP), Port: &port}, {Protocol: new(corev1.ProtocolTCP), Port: &port},
		},
	}
}

func egressRule(s string) (networkingv1.NetworkPolicyEgressRule, error) {
	prefix, port, err := settings.SplitEgress(s)
	if err != nil {
		return networkingv1.NetworkPolicyEgressRule{}, fmt.Errorf("egress: %w", err)
	}
	block := &networkingv1.IPBlock{CIDR: prefix.Masked().String()}
	if prefix.Bits() < linkLocal.Bits() && prefix.Contains(linkLocal.Addr()) {
		block.Except = []string{linkLocal.String()}
	}
	rule := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: block}}}
	if port != 0 {
		rule.Ports = []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port))}}
	}
	return rule, nil
}
