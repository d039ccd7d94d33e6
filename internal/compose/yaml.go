package compose

import (
	"bytes"
	"fmt"
	"sync"

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

// yamlWriters are kept for what they have grown to.
var yamlWriters = sync.Pool{New: func() any { return new(yamlWriter) }}

// YAML is the stack as one document for each object, without its status.
func YAML(s *Stack) ([]byte, error) {
	w := yamlWriters.Get().(*yamlWriter)
	defer yamlWriters.Put(w)
	w.out, w.err, w.specOnly = w.out[:0], nil, true
	for _, o := range s.Objects() {
		w.out = append(w.out, "---\n"...)
		if w.object(o); w.err != nil {
			return nil, fmt.Errorf("write %s: %w", o.GetName(), w.err)
		}
	}
	return bytes.Clone(w.out), nil
}
