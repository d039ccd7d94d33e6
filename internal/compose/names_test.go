package compose

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// TestServicesKnowTheirObjects: who makes addresses, or asks after a workload, needs its name in the cluster.
func TestServicesKnowTheirObjects(t *testing.T) {
	want := map[string]string{"web": "web", "Web2": "web2", "my_api": "my-api", "my_web.1": "my-web-1", "job": "job"}
	text := "services:\n"
	for name := range want {
		text += "  " + name + ":\n    image: nginx\n"
		if name == "web" {
			text += "    depends_on: {job: {condition: service_completed_successfully}}\n"
		}
	}
	p, err := Load(write(t, map[string]string{DefaultFile: text}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := Convert(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(stack.Services) != len(want) {
		t.Fatalf("there are %d services", len(stack.Services))
	}
	for _, s := range stack.Services {
		if s.Object != want[s.Name] || s.Object != s.Workload.GetName() || s.Object != s.Objects[0].GetName() || s.Object != ObjectName(s.Name) {
			t.Errorf("the objects of %s are %s, and it has the workload %s and the Service %s", s.Name, s.Object, s.Workload.GetName(), s.Objects[0].GetName())
		}
		if errs := validation.IsDNS1035Label(s.Object); len(errs) > 0 {
			t.Errorf("%s: %v", s.Object, errs)
		}
	}
}
