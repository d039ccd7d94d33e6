package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// LabelNetworks marks pods whose egress is limited by the policies of the compose file's networks.
const LabelNetworks = v1alpha1.LabelNetworks

// labelNetwork + network marks the pods on a network.
const labelNetwork = "network.conductor.digitalservic.es/"

// networksOf are the networks of the containers in a service's pod, sorted.
func (c *converter) networksOf(service string) []string {
	if known, ok := c.onNetworks[service]; ok {
		return known
	}
	out := map[string]bool{}
	for _, member := range c.members(service) {
		for n := range c.compose.Services[member].Networks {
			out[n] = true
		}
	}
	c.onNetworks[service] = slices.Sorted(maps.Keys(out))
	return c.onNetworks[service]
}

// fenced reports whether a service's networks let it reach less than the rest of the stack does.
func (c *converter) fenced(service string) bool {
	if mode := c.compose.Services[service].NetworkMode; mode != "" {
		return mode == "none"
	}
	mine := c.networksOf(service)
	return c.inside(mine) || slices.ContainsFunc(c.networkSets, func(set map[string]bool) bool { return !meets(mine, set) })
}

// inside reports whether all of a service's networks are internal.
func (c *converter) inside(networks []string) bool {
	return len(networks) > 0 && !slices.ContainsFunc(networks, func(n string) bool { return !c.compose.Networks[n].Internal })
}

func meets(networks []string, set map[string]bool) bool {
	return slices.ContainsFunc(networks, func(n string) bool { return set[n] })
}

func setOf(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out
}

func networkLabel(network string) string {
	name := names.Slug(network)
	if name != network || len(name) > maxLabel {
		name = cut(name, hash(network))
	}
	return labelNetwork + name
}

// networks labels the pod with its networks and adds a policy if it is isolated. The rules are on egress: ingress rules would refuse the
// first connections of new pods, until every node knows their addresses.
func (u *unit) networks() {
	name := u.s.Name
	if u.s.NetworkMode == "none" {
		u.labels[LabelNetworks] = "none"
		spec := networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress}}
		if u.isTest { // A test reports to the agent.
			spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{podsWith(v1alpha1.LabelStage, "agent")}}, dnsRule()}
		}
		u.c.policies = append(u.c.policies, u.policy(spec))
		return
	}
	mine := u.c.networksOf(name)
	if u.c.apart {
		for _, n := range mine {
			u.labels[networkLabel(n)] = "true"
		}
	}
	if !u.c.fenced(name) {
		return
	}
	u.labels[LabelNetworks] = "own"
	spec := networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}}
	rule := networkingv1.NetworkPolicyEgressRule{}
	for _, n := range mine {
		rule.To = append(rule.To, podsWith(networkLabel(n), "true"))
	}
	rule.To = append(rule.To, podsWith(v1alpha1.LabelStage, "test"), podsWith(v1alpha1.LabelStage, "agent"))
	spec.Egress = append(spec.Egress, rule, dnsRule())
	if !u.c.inside(mine) {
		spec.Egress = append(spec.Egress, u.c.o.Egress...)
	}
	u.c.policies = append(u.c.policies, u.policy(spec))
}

func (u *unit) policy(spec networkingv1.NetworkPolicySpec) client.Object {
	label, name := labelName, objectName("networks-", u.name)
	if u.isTest {
		label, name = labelTest, objectName(ownPrefix+"networks-", u.name)
	}
	spec.PodSelector = metav1.LabelSelector{MatchLabels: map[string]string{label: u.name}}
	return &networkingv1.NetworkPolicy{
		TypeMeta: typeMeta("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: u.c.meta(name, u.s.Name), Spec: spec,
	}
}

func podsWith(label, value string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}}
}

// dnsRule allows the cluster's DNS: a container on an internal network resolves names, too.
func dnsRule() networkingv1.NetworkPolicyEgressRule {
	port := intstr.FromInt32(53)
	return networkingv1.NetworkPolicyEgressRule{
		To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
		}},
		Ports: []networkingv1.NetworkPolicyPort{
			{Protocol: new(corev1.ProtocolUDP), Port: &port}, {Protocol: new(corev1.ProtocolTCP), Port: &port},
		},
	}
}

// Internet is a rule for Options.Egress: everything but private addresses and those of links, which clusters use for pods,
// nodes and metadata. https://www.rfc-editor.org/rfc/rfc6890
func Internet() networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{
		{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}}},
		{IPBlock: &networkingv1.IPBlock{CIDR: "::/0", Except: []string{"fc00::/7", "fe80::/10"}}},
	}}
}

// surveyNetworks finds the sets of networks that pods are on, and whether the file keeps any apart.
func (c *converter) surveyNetworks() {
	var names []string
	seen := map[string]bool{}
	for _, name := range c.compose.ServiceNames() {
		if c.podOf(name) != name || c.compose.Services[name].NetworkMode != "" {
			continue
		}
		set := c.networksOf(name)
		if key := strings.Join(set, "\x00"); !seen[key] {
			seen[key] = true
			names, c.networkSets = append(names, name), append(c.networkSets, setOf(set))
		}
	}
	c.apart = slices.ContainsFunc(names, c.fenced)
}

// networkMode converts network_mode and refuses modes that a pod cannot have.
func (u *unit) networkMode() {
	switch mode := u.s.NetworkMode; {
	case mode == "", mode == "bridge", mode == "default":
	case mode == "host":
		if u.allow(AllowHostNetwork, "network_mode", "", "use the node's network: remove network_mode, and write the names of services instead of localhost") {
			u.pod.HostNetwork, u.pod.DNSPolicy = true, corev1.DNSClusterFirstWithHostNet
		}
	case mode == "none":
		u.note("network_mode", "", "the pod has neither ingress nor egress, if the cluster enforces network policies")
	case strings.HasPrefix(mode, types.ServicePrefix), strings.HasPrefix(mode, types.ContainerPrefix):
		if u.c.hosts[u.s.Name] == "" {
			u.refuse("network_mode", "", "%s does not name a service of the stack that has a network", mode)
		}
	default:
		u.refuse("network_mode", "", "%s is not a network that a pod can have", mode)
	}
}
