package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
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
	var out []byte
	for _, o := range s.Objects() {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o.GetName(), err)
		}
		delete(fields, "status")
		data, err := json.Marshal(fields)
		if err == nil {
			data, err = yaml.JSONToYAML(printable(data))
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o.GetName(), err)
		}
		out = append(append(out, "---\n"...), data...)
	}
	return out, nil
}

// printable escapes characters in strings of JSON that YAML does not take as they are, such as DEL.
// https://yaml.org/spec/1.2.2/#51-character-set
func printable(data []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(data) {
		if r <= 0xffff && r > unicode.MaxASCII-1 && !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
