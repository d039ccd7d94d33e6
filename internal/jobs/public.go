package jobs

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Public is a service of a stack with a public address.
type Public struct {
	Run *v1alpha1.Run
	// Service is the service's name in the compose files, Object the name of its Service, and Port the published port.
	Service, Object string
	Port            int32
	// Host is the operator's pattern of host names, with {service} and {run}.
	Host string
}

// Hostname is the service's public host name. Labels that would be too long are truncated and end in a hash.
func (p Public) Hostname() string {
	labels := strings.Split(p.Host, ".")
	fill := strings.NewReplacer("{service}", p.Service, "{run}", p.Run.Name)
	for i, l := range labels {
		if filled := fill.Replace(l); filled != l {
			labels[i] = names.Label(filled)
		}
	}
	return strings.Join(labels, ".")
}

// Ingress publishes a service through an ingress controller; an empty class means the cluster's default.
func Ingress(p Public, class string) *networkingv1.Ingress {
	in := &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: p.meta(),
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
			Host: p.Hostname(),
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: new(networkingv1.PathTypePrefix),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
					Name: p.Object, Port: networkingv1.ServiceBackendPort{Number: p.Port},
				}},
			}}}},
		}}},
	}
	if class != "" {
		in.Spec.IngressClassName = &class
	}
	return in
}

// HTTPRoute publishes a service through a Gateway: namespace/name, or a name in the stack's own namespace.
func HTTPRoute(p Public, gateway string) *unstructured.Unstructured {
	parent := map[string]any{"name": gateway}
	if namespace, name, ok := strings.Cut(gateway, "/"); ok {
		parent = map[string]any{"namespace": namespace, "name": name}
	}
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1",
		"kind":       "HTTPRoute",
		"spec": map[string]any{
			"parentRefs": []any{parent},
			"hostnames":  []any{p.Hostname()},
			"rules": []any{map[string]any{
				"backendRefs": []any{map[string]any{"name": p.Object, "port": int64(p.Port)}},
			}},
		},
	}}
	meta := p.meta()
	route.SetName(meta.Name)
	route.SetNamespace(meta.Namespace)
	route.SetLabels(meta.Labels)
	return route
}

// meta names the object after the Service and the port, since a service may publish several ports.
func (p Public) meta() metav1.ObjectMeta {
	m := inStack(p.Run, names.Label(p.Object+"-"+decimal(int64(p.Port))))
	m.Labels[v1alpha1.LabelService] = names.LabelValue(p.Service)
	return m
}
