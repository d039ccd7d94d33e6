package compose

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// selects reports whether a selector takes a pod with these labels.
func selects(t *testing.T, s *metav1.LabelSelector, pod map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(pod))
}

// reaches reports whether policies let a pod connect to another, as Kubernetes adds them up.
func reaches(t *testing.T, policies []*networkingv1.NetworkPolicy, from, to map[string]string) bool {
	t.Helper()
	out, outOpen, inOpen := false, true, true
	for _, p := range policies {
		for _, kind := range p.Spec.PolicyTypes {
			switch {
			case kind == networkingv1.PolicyTypeIngress && selects(t, &p.Spec.PodSelector, to):
				inOpen = false
			case kind == networkingv1.PolicyTypeEgress && selects(t, &p.Spec.PodSelector, from):
				outOpen = false
				for _, rule := range p.Spec.Egress {
					for _, peer := range rule.To {
						out = out || peer.NamespaceSelector == nil && peer.PodSelector != nil && selects(t, peer.PodSelector, to)
					}
				}
			}
		}
	}
	return (outOpen || out) && inOpen
}

// TestNetworksReachWhatComposeReaches makes files with networks at random: two pods reach each other when they share one.
func TestNetworksReachWhatComposeReaches(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		on := map[string][]string{}
		var file strings.Builder
		file.WriteString("services:\n")
		for i := range 5 {
			name := fmt.Sprintf("s%d", i)
			var nets []string
			for _, n := range []string{"a", "b", "c"} {
				if r.IntN(2) == 0 {
					nets = append(nets, n)
				}
			}
			switch {
			case i == 4 && r.IntN(2) == 0:
				fmt.Fprintf(&file, "  %s: {image: x, network_mode: none}\n", name)
			case len(nets) == 0:
				on[name] = []string{"default"}
				fmt.Fprintf(&file, "  %s: {image: x}\n", name)
			default:
				on[name] = nets
				fmt.Fprintf(&file, "  %s: {image: x, networks: [%s]}\n", name, strings.Join(nets, ", "))
			}
		}
		fmt.Fprintf(&file, "networks: {a: , b: {internal: %v}, c: {internal: true}}\n", r.IntN(2) == 0)
		checkReach(t, file.String(), on)
	}
}

func checkReach(t *testing.T, file string, on map[string][]string) {
	t.Helper()
	p, err := Load(write(t, map[string]string{DefaultFile: file}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{Egress: []networkingv1.NetworkPolicyEgressRule{Internet()}})
	if err != nil {
		t.Fatal(err)
	}
	var policies []*networkingv1.NetworkPolicy
	for _, o := range stack.Shared {
		if n, ok := o.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, n)
		}
	}
	pods := map[string]map[string]string{"test": {v1alpha1.LabelStage: "test"}}
	for _, s := range stack.Services {
		pods[s.Name] = maps.Clone(podOf(t, s).Labels)
	}
	for a := range pods {
		for b := range pods {
			want := a == "test" && b == "test" || meets(on[a], setOf(on[b])) || a == "test" && on[b] != nil || b == "test" && on[a] != nil
			if got := reaches(t, policies, pods[a], pods[b]); a != b && got != want {
				t.Fatalf("%s\n%s reaches %s: %v, want %v", file, a, b, got, want)
			}
		}
	}
	for _, s := range stack.Services {
		beyond := true
		for _, pol := range policies {
			if selects(t, &pol.Spec.PodSelector, pods[s.Name]) {
				beyond = false
				for _, rule := range pol.Spec.Egress {
					for _, peer := range rule.To {
						beyond = beyond || peer.IPBlock != nil
					}
				}
			}
		}
		want := false
		for _, n := range on[s.Name] {
			want = want || !p.compose.Networks[n].Internal
		}
		if beyond != want {
			t.Fatalf("%s\n%s reaches what is outside: %v", file, s.Name, beyond)
		}
		_, marked := pods[s.Name][LabelNetworks]
		if fenced := newConverterOf(p).fenced(s.Name); fenced != marked {
			t.Fatalf("%s\n%s has the label: %v", file, s.Name, marked)
		}
	}
}

// newConverterOf is a converter that knows the project's names and networks.
func newConverterOf(p *Project) *converter {
	c := newConverter(p, Options{})
	c.survey()
	return c
}
