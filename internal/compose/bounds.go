package compose

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"go.yaml.in/yaml/v4"
)

// Bounds of what is read, far above what real files need.
const (
	// maxFile is the size of one file, maxFiles how many there are, and maxRead what all of them have together, in bytes.
	maxFile  = 1 << 20
	maxFiles = 200
	maxRead  = 4 << 20
	// maxServices is how many services one file has, maxDocuments how many YAML documents: compose-go merges each with all before it.
	maxServices  = 5000
	maxDocuments = 20
	// maxLines is how many lines a file of variables has, and so how many variables.
	maxLines = 10_000
	// maxVariables is how many variables one line may have: compose-go scans the rest of the line for each.
	maxVariables = 200
)

// Bounds of what the files expand to. Aliases, merges, extends and includes repeat values, and variables lengthen texts: a file of one KiB
// can exhaust any memory. compose-go also joins the keys of each value to a path and compares that with patterns.
const (
	maxValues = 50_000
	maxText   = 4 << 20
	maxPaths  = 16 << 20
	// maxKeys is how many keys one mapping has: the YAML library compares each with all others.
	maxKeys = 10_000
	// maxAgain is how many values compose-go may copy from files that it has already read: it copies a whole file for each service that
	// extends one in it, and for each further include.
	maxAgain = 1_000_000
	// maxMerged is how many values compose-go may traverse again: with each file all that it includes, and with each further file or
	// document all previous ones.
	maxMerged = 100_000
	// portValues and volumeValues are how many values compose-go makes of a port and a volume in the short form.
	portValues   = 6
	volumeValues = 4
	// hookValues is the least that a pre_start hook inherits from its service.
	hookValues = 20
	// enough is above all bounds; sums stop there so that they cannot overflow.
	enough = 1 << 40
)

// weight is what YAML values cost once aliases are followed: their number, the bytes of their texts with variables expanded, and the bytes
// of the paths to each.
type weight struct{ values, text, paths int64 }

func (w *weight) add(o weight) {
	w.values, w.text, w.paths = min(w.values+o.values, enough), min(w.text+o.text, enough), min(w.paths+o.paths, enough)
}

// scale weighs the values of one file, each once.
type scale struct {
	env   map[string]string
	known map[*yaml.Node]weight
	// extra are further values that compose-go makes of a node.
	extra map[*yaml.Node]int64
	// wide is a mapping with too many keys.
	wide *yaml.Node
}

func (s *scale) weigh(n *yaml.Node) weight {
	if n = target(n); n == nil {
		return weight{}
	}
	if w, ok := s.known[n]; ok {
		return w
	}
	s.known[n] = weight{} // A cycle leads here again; compose-go refuses those.
	w := weight{values: 1 + s.extra[n]}
	if n.Kind == yaml.ScalarNode {
		w.text = s.textOf(n.Value)
	}
	if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxKeys {
		s.wide = n
	}
	for i, c := range n.Content {
		step := int64(4) // The length of an index.
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				w.text += int64(len(c.Value))
				continue
			}
			step = int64(len(n.Content[i-1].Value)) + 1
		}
		in := s.weigh(c)
		in.paths += step * in.values
		w.add(in)
	}
	s.known[n] = w
	return w
}

// named matches everything in a text that could be a variable.
var named = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)

// textOf is an upper bound of the length of a text once its variables are expanded.
func (s *scale) textOf(text string) int64 {
	n := int64(len(text))
	for _, m := range named.FindAllStringSubmatchIndex(text, -1) {
		n += int64(len(s.env[text[m[2]:m[3]]]))
	}
	return n
}

// bill is what the files of a project have cost so far.
type bill struct {
	weight
	// extended and included count the values that are copied again, merged those that are traversed again.
	extended, included, merged int64
	// scales are those of the files already weighed, charged the pairs of files where one extends the other, and includes the paths that
	// each file includes.
	scales   map[*source]*scale
	charged  map[[2]string]bool
	includes map[string][]string
	refused  bool
}

// checkBill reports whether the project is within the bounds. The first excess is refused.
func (r *reader) checkBill(at place, service, field string) bool {
	b := &r.bill
	why := ""
	switch {
	case b.values > maxValues:
		why = fmt.Sprintf("the compose files expand to more than %d values: aliases, extends, includes and port ranges count each time", maxValues)
	case b.text > maxText:
		why = fmt.Sprintf("the compose files and variables expand to more than %d MiB of text", maxText>>20)
	case b.paths > maxPaths:
		why = fmt.Sprintf("the keys of the compose files are too long or nested too deep: their paths take more than %d MiB", maxPaths>>20)
	case b.extended > maxAgain:
		why = "too many services extend files with too many services: move those that are extended into a file of their own"
	case b.included > maxAgain:
		why = "too many files include the same files again: include each in one place"
	case b.merged > maxMerged:
		why = fmt.Sprintf("merging the compose files takes too many steps, in which more than %d values are read again: name fewer files, or include them in one place", maxMerged)
	default:
		return true
	}
	if !b.refused {
		b.refused = true
		r.refuse(at, service, field, "%s", why)
	}
	return false
}

// weigh charges the project for a file, and reports whether to go on.
func (r *reader) weigh(s *source) bool {
	ours := &scale{env: s.env, known: map[*yaml.Node]weight{}, extra: map[*yaml.Node]int64{}}
	if r.bill.scales == nil {
		r.bill.scales, r.bill.charged, r.bill.includes = map[*source]*scale{}, map[[2]string]bool{}, map[string][]string{}
	}
	r.bill.scales[s] = ours
	before := r.findings.refused()
	if s.documents > maxDocuments {
		r.refuse(place{file: s.name}, "", "", "the file has %d YAML documents; at most %d are read", s.documents, maxDocuments)
		return false
	}
	for _, doc := range s.docs {
		services := child(doc, "services")
		if services != nil && len(services.Content)/2 > maxServices {
			r.refuse(s.at(services), "", "services", "the file has %d services; at most %d are read", len(services.Content)/2, maxServices)
			return false
		}
		r.checkPorts(s, services, ours)
		r.bill.add(ours.weigh(doc))
	}
	if n := ours.wide; n != nil {
		r.refuse(s.at(n), "", "", "the mapping has %d keys; a mapping has at most %d", len(n.Content)/2, maxKeys)
		return false
	}
	return r.checkBill(place{file: s.name, line: 1}, "", "") && r.findings.refused() == before
}

// chargeExtended charges the project for a service of s that extends one of the file at path. compose-go reads that file again for each file
// that extends it.
func (r *reader) chargeExtended(s *source, path string, at place) {
	f := r.sources.byPath(path)
	if f == nil || r.bill.scales[f] == nil {
		return
	}
	var all weight
	for _, doc := range f.docs {
		all.add(r.bill.scales[f].weigh(doc))
	}
	if key := [2]string{s.path, path}; !r.bill.charged[key] {
		r.bill.charged[key] = true
		r.bill.add(all)
	}
	r.bill.extended += all.values
	r.checkBill(at, "", "extends")
}

// chargeIncluded charges the project for a file that s includes again, which compose-go copies. A file that failed to parse is charged,
// too, since it is parsed again.
func (r *reader) chargeIncluded(s *source, path string, at place) {
	r.bill.includes[s.path] = append(r.bill.includes[s.path], path)
	if _, again := r.data[path]; again {
		r.bill.included += r.bill.values
		r.checkBill(at, "", "include")
	}
}

// chargeMerges charges the project for what compose-go traverses again: with each file all that it includes, and all previous main files
// and documents.
func (r *reader) chargeMerges() {
	own := map[string]weight{}
	var before weight
	for _, f := range r.sources.files {
		for i, doc := range f.docs {
			w := r.bill.scales[f].weigh(doc)
			r.bill.merged += w.values * int64(len(f.docs)-1-i)
			all := own[f.path]
			all.add(w)
			own[f.path] = all
		}
	}
	for _, f := range r.sources.files {
		if f.extended {
			continue
		}
		below := weight{}
		seen := map[string]bool{f.path: true}
		for next := slices.Clone(r.bill.includes[f.path]); len(next) > 0; next = next[1:] {
			if path := next[0]; !seen[path] {
				seen[path] = true
				below.add(own[path])
				next = append(next, r.bill.includes[path]...)
			}
		}
		r.bill.merged += below.values
		if !f.included {
			r.bill.merged += before.values
			before.add(own[f.path])
			before.add(below)
		}
	}
}

// made is the weight of a service with everything that it extends.
type made struct {
	weight
	// hooks is the number of pre_start hooks, environment the number of values that each inherits.
	hooks, environment int64
}

// settle charges the project for what is known only after all files are read: what services inherit by extends, and hooks from their
// services.
func (r *reader) settle() {
	r.chargeMerges()
	known, services := map[string]made{}, map[string]made{}
	for _, f := range r.sources.files {
		if f.extended {
			continue
		}
		for _, doc := range f.docs {
			for key, service := range entries(child(doc, "services")) {
				name := key.Value
				m := r.madeOf(f, name, known)
				own := r.bill.scales[f].weigh(service)
				r.bill.add(weight{m.values - own.values, m.text - own.text, m.paths - own.paths})
				m.hooks, m.environment = m.hooks+services[name].hooks, m.environment+services[name].environment
				services[name] = m
			}
		}
	}
	for _, m := range services {
		r.bill.add(weight{values: min(m.hooks*(hookValues+m.environment), enough)})
	}
	r.checkBill(r.sources.find("", "services"), "", "services")
}

func (r *reader) madeOf(f *source, name string, known map[string]made) made {
	key := serviceKey(f.path, name)
	if m, ok := known[key]; ok {
		return m
	}
	known[key] = made{}
	scale := r.bill.scales[f]
	var out made
	for _, doc := range f.docs {
		service := child(child(doc, "services"), name)
		if service == nil {
			continue
		}
		out.add(scale.weigh(service))
		if hooks := child(service, "pre_start"); hooks != nil {
			out.hooks += int64(len(hooks.Content))
		}
		out.environment += scale.weigh(child(service, "environment")).values + scale.weigh(child(service, "volumes")).values
		file, base := extends(service)
		from := f
		if file != "" {
			from = r.sources.byPath(join(f.base, file))
		}
		if base != "" && from != nil && r.bill.scales[from] != nil {
			m := r.madeOf(from, base, known)
			out.add(m.weight)
			out.hooks, out.environment = min(out.hooks+m.hooks, enough>>20), min(out.environment+m.environment, enough>>20)
		}
	}
	known[key] = out
	return out
}

// mayExpand charges the project for a file of variables, and reports whether to read it.
func (r *reader) mayExpand(file, service, field string, data []byte) bool {
	r.bill.text += int64(len(data))
	if n := bytes.Count(data, []byte("\n")); n > maxLines {
		r.refuse(place{file: file}, service, field, "the file has %d lines; at most %d are read", n, maxLines)
		return false
	}
	n := 0
	for line := range bytes.Lines(data) {
		if n++; bytes.Count(line, []byte("${")) > maxVariables {
			r.refuse(place{file: file, line: n}, service, field, "one line has more than %d variables", maxVariables)
			return false
		}
	}
	return r.checkBill(place{file: file}, service, field)
}

// metered wraps lookup for a file whose own variables go to vars: it charges the project for each value, and returns empty values once the
// bound is exceeded.
func (r *reader) metered(vars map[string]string, lookup dotenv.LookupFn) dotenv.LookupFn {
	return func(name string) (string, bool) {
		value, ok := lookup(name)
		if r.bill.text += int64(max(len(value), len(vars[name]))); r.bill.text > maxText {
			return "", true
		}
		return value, ok
	}
}
