package compose

import (
	"iter"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxAliases bounds how long a chain of aliases is followed: YAML can write one that ends in itself.
const maxAliases = 40

// source is one compose file as it was written.
type source struct {
	// name is relative to the loaded directory, path absolute.
	name, path string
	// base is what the file's relative extends and includes start from.
	base string
	// docs are the top-level mappings of its YAML documents, documents the number of all.
	docs      []*yaml.Node
	documents int
	// env is what the file's variables are looked up in.
	env map[string]string
	// included marks a file that another one includes, extended one that only extends reads: its services are not the project's.
	included, extended bool
}

// sources are the files of a project, from lowest to highest precedence, and locate what was written in them.
type sources struct {
	dir   string
	files []*source
}

// place is where something was written.
type place struct {
	file string
	line int
	// text is the scalar as written; empty for mappings and lists.
	text string
	// whole is set when all of the path was found, not only a parent of it.
	whole bool
}

func (s *source) at(n *yaml.Node) place {
	p := place{file: s.name, line: n.Line}
	if n.Kind == yaml.ScalarNode {
		p.text = n.Value
	}
	return p
}

// find returns the place of a path from the top, such as volumes, data, driver, or of the longest part of it that was written. Below
// services it follows extends. With a hint the place is the first item of a list that contains it.
func (s *sources) find(hint string, path ...string) place {
	best, depth := place{}, -1
	for i := len(s.files) - 1; i >= 0; i-- {
		f := s.files[i]
		if f.extended {
			continue
		}
		if p, d := s.findIn(f, hint, path, map[string]bool{}); d > depth {
			best, depth = p, d
		}
	}
	if depth < 0 && len(s.files) > 0 {
		return place{file: s.main().name}
	}
	return best
}

// main is the file that the project is named by.
func (s *sources) main() *source {
	for _, f := range s.files {
		if !f.extended {
			return f
		}
	}
	return s.files[0]
}

// findIn returns the place and how many elements of the path it covers, an item with the hint being one more; -1 if there is none.
// Services in seen are skipped: extends can be cyclic.
func (s *sources) findIn(f *source, hint string, path []string, seen map[string]bool) (place, int) {
	best, depth := place{}, -1
	for i := len(f.docs) - 1; i >= 0; i-- {
		n, d, at := descend(f.docs[i], path)
		if d == 0 {
			continue
		}
		if d > depth {
			best, depth = f.at(at), d
			if d == len(path) {
				found := item(n, at, hint)
				if best = f.at(found); found != at {
					depth++ // Of lists that are merged, the one with the item counts.
				}
				best.whole = true
			}
		}
		if d < len(path) && len(path) > 2 && path[0] == "services" {
			if p, e := s.findExtended(f, f.docs[i], hint, path, seen); e > depth {
				best, depth = p, e
			}
		}
	}
	return best, depth
}

func (s *sources) findExtended(f *source, doc *yaml.Node, hint string, path []string, seen map[string]bool) (place, int) {
	service := child(child(doc, "services"), path[1])
	file, name := extends(service)
	if name == "" {
		return place{}, -1
	}
	from := f
	if file != "" {
		if from = s.extendedBy(f, file); from == nil {
			return place{}, -1
		}
	}
	key := from.path + "\x00" + name
	if seen[key] {
		return place{}, -1
	}
	seen[key] = true
	return s.findIn(from, hint, append([]string{"services", name}, path[2:]...), seen)
}

// users maps services and those that they extend, by file and name, to the first of the given services that is based on them.
func (s *sources) users(services []string) map[string]string {
	out := map[string]string{}
	var visit func(f *source, name, user string)
	visit = func(f *source, name, user string) {
		key := serviceKey(f.name, name)
		if _, ok := out[key]; ok {
			return
		}
		out[key] = user
		for _, doc := range f.docs {
			file, base := extends(child(child(doc, "services"), name))
			from := f
			if file != "" {
				from = s.extendedBy(f, file)
			}
			if base != "" && from != nil {
				visit(from, base, user)
			}
		}
	}
	for _, f := range s.files {
		for _, name := range services {
			if !f.extended {
				visit(f, name, name)
			}
		}
	}
	return out
}

func serviceKey(file, service string) string { return file + "\x00" + service }

func (s *sources) byPath(path string) *source {
	for _, f := range s.files {
		if f.path == path {
			return f
		}
	}
	return nil
}

// descend follows keys as far as they go: the node, how many keys were found, and the node that shows the place (the key
// of a mapping entry, so that a block's first line is that of its name).
func descend(n *yaml.Node, path []string) (*yaml.Node, int, *yaml.Node) {
	at := n
	for i, key := range path {
		k, v := entry(n, key, nil)
		if v == nil {
			return n, i, at
		}
		n, at = v, k
		if v.Kind == yaml.ScalarNode {
			at = v
		}
	}
	return n, len(path), at
}

// item is the first item of the list n that contains hint, else at.
func item(n, at *yaml.Node, hint string) *yaml.Node {
	if hint == "" || n == nil {
		return at
	}
	if n.Kind == yaml.MappingNode {
		if k, _ := entry(n, hint, nil); k != nil {
			return k
		}
		return at
	}
	for _, c := range n.Content {
		if c = target(c); c == nil {
			continue
		}
		if c.Kind == yaml.ScalarNode && strings.Contains(c.Value, hint) {
			return c
		}
		if c.Kind != yaml.MappingNode {
			continue
		}
		for i := 1; i < len(c.Content); i += 2 {
			if v := target(c.Content[i]); v != nil && v.Kind == yaml.ScalarNode && strings.Contains(v.Value, hint) {
				return c
			}
		}
	}
	return at
}

// child is the value of a key in a mapping, through aliases and merge keys; nil when there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	_, v := entry(n, key, nil)
	return v
}

// entry finds a key and its value. Mappings in seen are skipped: merges can multiply without end.
func entry(n *yaml.Node, key string, seen map[*yaml.Node]bool) (k, v *yaml.Node) {
	if n = target(n); n == nil || n.Kind != yaml.MappingNode || seen[n] {
		return nil, nil
	}
	for k, v := range entries(n) {
		if k.Value == key {
			return k, target(v)
		}
	}
	for k, v := range entries(n) {
		if k.Value != "<<" {
			continue
		}
		if seen == nil {
			seen = map[*yaml.Node]bool{}
		}
		seen[n] = true
		merged := []*yaml.Node{v}
		if t := target(merged[0]); t != nil && t.Kind == yaml.SequenceNode {
			merged = t.Content
		}
		for _, m := range merged {
			if k, v = entry(m, key, seen); v != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

// entries yields the keys and values of a mapping as written, with aliases in place; nothing for other nodes.
func entries(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// target follows aliases.
func target(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode; i++ {
		if i == maxAliases {
			return nil
		}
		n = n.Alias
	}
	return n
}

// extends reads a service's extends: the file as written, empty for the same one, and the service.
func extends(service *yaml.Node) (file, name string) {
	switch e := child(service, "extends"); {
	case e == nil:
		return "", ""
	case e.Kind == yaml.ScalarNode:
		return "", e.Value
	default:
		return scalar(child(e, "file")), scalar(child(e, "service"))
	}
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// join makes p absolute from base.
func join(base, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}
