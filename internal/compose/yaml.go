package compose

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
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

// YAML is the stack as one document for each object, without its status.
func YAML(s *Stack) ([]byte, error) {
	var out bytes.Buffer
	for _, o := range s.Objects() {
		data, err := objectDocument(o)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes(), nil
}

// fields are an object as it is written: maps, lists and scalars.
type fields = map[string]any

// objectFields is an object without its status.
func objectFields(o client.Object) (fields, error) {
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", o.GetName(), err)
	}
	delete(out, "status")
	return out, nil
}

// objectDocument is an object without its status as a YAML document.
func objectDocument(o client.Object) ([]byte, error) {
	f, err := objectFields(o)
	if err != nil {
		return nil, err
	}
	return document(f)
}

// document is a YAML document that readers of YAML 1.1, such as kubectl, and of 1.2 read alike.
func document(v fields) ([]byte, error) {
	out, err := yaml.Dump(yamlNode(v), yaml.WithIndent(2), yaml.WithCompactSeqIndent(), yaml.WithLineWidth(-1), yaml.WithQuotePreference(yaml.QuoteLegacy))
	if err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out, nil
}

// yamlNode is a value of an object as a node with sorted keys.
func yamlNode(v any) *yaml.Node {
	switch v := v.(type) {
	case fields:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, yamlNode(k), yamlNode(v[k]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			n.Content = append(n.Content, yamlNode(item))
		}
		return n
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if needsQuotes(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	}
}

// oldNumber matches numbers and times of YAML 1.1, and some texts that resemble them.
var oldNumber = regexp.MustCompile(`^[-+.]*[0-9][0-9a-fA-FxXoOtTzZ.,:_+ -]*$`)

// needsQuotes reports whether a text is not read back if the library chooses its style.
func needsQuotes(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off": // Booleans of YAML 1.1.
		return true
	}
	// The library writes lines that begin with white space as a block whose indent no reader finds.
	first := strings.TrimLeft(s, "\n")
	return strings.HasPrefix(first, " ") || strings.HasPrefix(first, "\t") || oldNumber.MatchString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) })
}
