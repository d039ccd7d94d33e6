package jobs

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestPublicAddressesLeadToTheObject: the backend is the Service's name in the cluster; the host name has the name in the compose file.
func TestPublicAddressesLeadToTheObject(t *testing.T) {
	p := Public{Run: testRun(), Service: "my_web", Object: "my-web", Port: 8080, Host: "{service}.{run}.qa.example.com"}
	in := Ingress(p, "")
	if got := in.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name; got != "my-web" || in.Name != "my-web-8080" {
		t.Errorf("the Ingress %s has the backend %s", in.Name, got)
	}
	route := HTTPRoute(p, "gateway")
	rules, _, err := unstructured.NestedSlice(route.Object, "spec", "rules")
	if err != nil || len(rules) != 1 {
		t.Fatalf("the rules are %v: %v", rules, err)
	}
	backends := rules[0].(map[string]any)["backendRefs"].([]any)
	if got := backends[0].(map[string]any)["name"]; got != "my-web" || route.GetName() != "my-web-8080" {
		t.Errorf("the HTTPRoute %s has the backend %s", route.GetName(), got)
	}
	other := p
	other.Service = "my-web"
	if a, b := p.Hostname(), other.Hostname(); a == b || !strings.HasPrefix(b, "my-web.") {
		t.Errorf("the host names of my_web and my-web are %s and %s", a, b)
	}
}
