package compose

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Fields of a service whose lists a later file adds to. Where an item represents one of the earlier file's, reading gives up, as at
// every repetition.
var appended = []string{"ports", "expose", "volumes", "secrets", "configs", "env_file", "cap_add", "cap_drop", "security_opt", "extra_hosts"}

// Fields whose texts a later file does not simply replace: compose-go checks some in each file, and makes a list of others.
var notReplaced = []string{
	"pull_policy", "condition", "container_name", "type", "dns", "dns_search", "dns_opt", "env_file", "tmpfs", "extra_hosts",
}

// over merges files: the strong one wins. What is not simply added or replaced makes it give up.
func (p *plain) over(weak, strong *yaml.Node, path []string) *yaml.Node {
	if weak == nil {
		return strong
	}
	weak, strong = p.follow(weak), p.follow(strong)
	inService := len(path) > 2 && path[0] == "services"
	if inService && len(path) == 3 && path[2] == "depends_on" {
		weak, strong = p.conditions(weak), p.conditions(strong)
	}
	need(weak.Kind == strong.Kind)
	switch {
	case weak.Kind == yaml.ScalarNode:
		need(weak.Tag == strong.Tag && !slices.Contains(notReplaced, path[len(path)-1]))
		p.any(weak)
		return strong
	case weak.Kind == yaml.SequenceNode && inService && len(path) == 3 && (path[2] == "command" || path[2] == "entrypoint"):
		need(isTexts(p.any(weak)))
		return strong
	case weak.Kind == yaml.SequenceNode && inService && len(path) == 3 && path[2] == "environment":
		return p.overVariables(weak, strong)
	case weak.Kind == yaml.SequenceNode:
		need(inService && len(path) == 3 && slices.Contains(appended, path[2]))
		return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: slices.Concat(weak.Content, strong.Content)}
	}
	need(len(path) < 3 || inService && len(path) < 5 && path[2] != "logging")
	return p.overMapping(weak, strong, path)
}

func (p *plain) overMapping(weak, strong *yaml.Node, path []string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	add := func(key string, value *yaml.Node) {
		out.Content = append(out.Content, text(key), value)
	}
	later := map[string]*yaml.Node{}
	for _, f := range p.fields(strong) {
		later[f.key] = f.value
	}
	for _, f := range p.fields(weak) {
		if value, ok := later[f.key]; ok {
			f.value = p.over(f.value, value, append(path[:len(path):len(path)], f.key))
			delete(later, f.key)
		}
		add(f.key, f.value)
	}
	for _, f := range p.fields(strong) {
		if value, ok := later[f.key]; ok {
			add(f.key, value)
		}
	}
	return out
}

// conditions is a list of services as a mapping to conditions.
func (p *plain) conditions(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return n
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, name := range p.texts(n) {
		need(isName(name))
		condition := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{text("condition"), text(ConditionStarted)}}
		out.Content = append(out.Content, text(name), condition)
	}
	return out
}

// overVariables merges lists of KEY=VALUE.
func (p *plain) overVariables(weak, strong *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	keys := map[string]bool{}
	for _, list := range [][]*yaml.Node{strong.Content, weak.Content} {
		ours := map[string]bool{}
		for _, item := range list {
			need(item.Kind == yaml.ScalarNode && item.Tag == "!!str")
			key, _, _ := strings.Cut(item.Value, "=")
			need(!strings.Contains(key, "$") && !ours[key])
			p.any(item)
			if ours[key] = true; !keys[key] {
				keys[key] = true
				out.Content = append(out.Content, item)
			}
		}
	}
	return out
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
