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
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// linkLocal contains the metadata services of clouds, 169.254.169.254. A range of the operator opens it only by naming it.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// EgressPolicy restricts a stack's egress: its pods reach each other, the cluster's DNS and the operator's list. Everything else is denied: nodes,
// the API server, Conductor, other stacks. It is applied before the first pod. Egress is CIDR or CIDR:port, as in the settings.
//
// It deliberately does not restrict ingress. A network policy controller learns the address of a new pod some time after its containers
// start (0.2 s to seconds). Until then an ingress rule refuses connections from a pod that the rule allows, and a one-shot container that
// connects at once fails, which it does not under compose. See IngressPolicies.
func EgressPolicy(run *v1alpha1.Run, egress []string) (*networkingv1.NetworkPolicy, error) {
	beyond, err := Egress(egress)
	if err != nil {
		return nil, err
	}
	p := policy(run, "conductor", networkingv1.PolicyTypeEgress)
	// Policies are additive: pods that the compose file isolates in networks have policies of their own.
	p.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelNetworks, Operator: metav1.LabelSelectorOpDoesNotExist}}
	p.Spec.Egress = append([]networkingv1.NetworkPolicyEgressRule{{To: samePods()}, dns()}, beyond...)
	return p, nil
}

// Egress returns the operator's egress rules; each of list is CIDR or CIDR:port.
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

// IngressPolicies restricts a stack's ingress to its own pods, Conductor (only the agent's port), and pods of the operator's ingress namespaces (only
// services with a public address). It is applied once the tests have ended and no new pod is expected; until then the EgressPolicy of each stack
// isolates them.
func IngressPolicies(run *v1alpha1.Run, ingressNamespaces []string) []client.Object {
	p := policy(run, "conductor-ingress", networkingv1.PolicyTypeIngress)
	port := intstr.FromInt32(evidence.AgentPort)
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: samePods()}, {
		From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: run.Namespace}}}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: &port}},
	}}
	var public []string
	for _, s := range run.Status.Services {
		if s.URL != "" {
			public = append(public, names.LabelValue(s.Name))
		}
	}
	if len(public) == 0 || len(ingressNamespaces) == 0 {
		return []client.Object{p}
	}
	open := policy(run, "conductor-public", networkingv1.PolicyTypeIngress)
	open.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{oneOf(v1alpha1.LabelService, public)}
	open.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{oneOf(corev1.LabelMetadataName, ingressNamespaces)}},
	}}}}
	return []client.Object{p, open}
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

// samePods selects the pods of the stack itself.
func samePods() []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
}

// dns allows the cluster's DNS, which most distributions run in kube-system under this label.
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
