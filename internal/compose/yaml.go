package compose

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Objects are all objects of a stack in an order in which they can be created.
func (s *Stack) Objects() []client.Object {
	out := append([]client.Object(nil), s.Shared...)
	for _, svc := range s.Services {
		out = append(out, svc.Objects...)
	}
	for _, svc := range s.Services {
		out = append(out, svc.Workload)
	}
	return out
}

// YAML is the stack as one document for each object.
func YAML(s *Stack) ([]byte, error) {
	w := &yamlWriter{}
	for _, o := range s.Objects() {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o.GetName(), err)
		}
		delete(fields, "status")
		w.out = append(w.out, "---\n"...)
		if w.mapping(fields, 0, false); w.err != nil {
			return nil, fmt.Errorf("write %s: %w", o.GetName(), w.err)
		}
	}
	return w.out, nil
}
