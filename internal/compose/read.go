package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/syntax"
)

// reader reads the compose files of a project before compose-go does. compose-go opens whatever include and extends name;
// reader refuses paths out of the directory, and keeps the YAML to locate findings.
type reader struct {
	// dir is absolute and free of symbolic links.
	dir      string
	sources  sources
	findings findings
	gaps     []gap
	seen     map[string]bool
	// data holds the files that were read, by path, size their bytes.
	data map[string][]byte
	size int
	// isFull is set when the number of files exceeded the bound.
	isFull bool
	bill   bill
	// submodules are the paths of the repository's git submodules; nil until they are read.
	submodules []string
	// setAt are the lines that set variables, by file.
	setAt map[string]map[string]int
	// origins maps variables to the file that sets them.
	origins map[string]string
	hints
	absences
}

func newReader(dir string, absent map[string]bool) *reader {
	return &reader{
		dir: dir, sources: sources{dir: dir}, hints: hints{empty: map[string][]string{}}, setAt: map[string]map[string]int{}, seen: map[string]bool{}, data: map[string][]byte{}, absences: absences{dir: dir, files: absent},
	}
}

// scope is what a file's relative paths and variables are resolved with.
type scope struct {
	base string
	env  map[string]string
	// included is set below an include, extended for what only extends reads.
	included, extended bool
}

func (r *reader) refuse(at place, service, field, format string, args ...any) {
	r.findings.add(r.hints.explain(Finding{
		File: at.file, Line: at.line, Level: LevelRefused, Service: service, Field: field, Outcome: Refused, Reason: fmt.Sprintf(format, args...),
	}))
}

// file reads a compose file and the files that it names. From is where it is named.
func (r *reader) file(path string, sc scope, from place, field string) {
	key := fmt.Sprint(path, "\x00", sc.base, "\x00", sc.extended)
	if r.seen[key] || r.bill.refused {
		return
	}
	r.seen[key] = true
	data, ok := r.read(path, from, "", field)
	if !ok {
		return
	}
	s := &source{name: r.rel(path), path: path, base: sc.base, env: sc.env, included: sc.included, extended: sc.extended}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, _, message := syntax.Problem(data, err)
			r.refuse(place{file: s.name, line: line}, "", "", "invalid YAML: %s", message)
			return
		}
		s.documents++
		if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
			s.docs = append(s.docs, doc.Content[0])
		}
	}
	if !r.weigh(s) {
		return
	}
	for _, doc := range s.docs {
		if !sc.extended {
			r.includes(s, doc, sc)
		}
		r.extensions(s, doc, sc)
		r.unset(s, doc, nil, sc.env, map[*yaml.Node]bool{})
	}
	r.sources.files = append(r.sources.files, s)
}

// includes reads what a file includes. https://github.com/compose-spec/compose-spec/blob/main/14-include.md
func (r *reader) includes(s *source, doc *yaml.Node, sc scope) {
	list := child(doc, "include")
	if list == nil {
		return
	}
	for _, n := range list.Content {
		n = target(n)
		if n == nil {
			continue
		}
		paths, project, envFiles := []*yaml.Node{n}, (*yaml.Node)(nil), []*yaml.Node(nil)
		if n.Kind == yaml.MappingNode {
			paths, project, envFiles = scalars(child(n, "path")), child(n, "project_directory"), scalars(child(n, "env_file"))
			if sc.included && (project != nil || envFiles != nil) {
				r.refuse(s.at(n), "", "include", "an included file cannot include with project_directory or env_file; name the file in the main file instead")
				continue
			}
		}
		r.include(s, sc, paths, project, envFiles)
	}
}

func (r *reader) include(s *source, sc scope, paths []*yaml.Node, project *yaml.Node, envFiles []*yaml.Node) {
	inner := scope{env: sc.env, included: true}
	var found []string
	for i, n := range paths {
		p, ok := r.local(s, n, sc, "", "include")
		if !ok {
			return
		}
		found = append(found, p)
		if i == 0 {
			inner.base = filepath.Dir(p)
		}
	}
	if project != nil {
		p, ok := r.local(s, project, sc, "", "include.project_directory")
		if !ok {
			return
		}
		inner.base = p
	}
	var env []string
	for _, n := range envFiles {
		p, ok := r.local(s, n, sc, "", "include.env_file")
		if !ok {
			return
		}
		env = append(env, p)
	}
	if envFiles == nil {
		if p := filepath.Join(inner.base, ".env"); isFile(p) {
			env = append(env, p)
		}
	}
	values, err := r.dotenv(env, sc.env, place{file: s.name}, "include.env_file")
	if err != nil {
		return
	}
	if len(values) > 0 {
		inner.env = merged(values, sc.env)
	}
	for i, p := range found {
		r.chargeIncluded(s, p, s.at(paths[i]))
		r.file(p, inner, s.at(paths[i]), "include")
	}
}

// extensions reads the files that services extend from.
func (r *reader) extensions(s *source, doc *yaml.Node, sc scope) {
	for name, service := range entries(child(doc, "services")) {
		n := child(child(service, "extends"), "file")
		if n == nil {
			continue
		}
		if p, ok := r.local(s, n, sc, name.Value, "extends.file"); ok {
			r.file(p, scope{base: filepath.Dir(p), env: sc.env, included: sc.included, extended: true}, s.at(n), "extends.file")
			r.chargeExtended(s, p, s.at(n))
		}
	}
}

// remote matches what compose-go or Docker Compose treat as a remote resource.
var remote = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://|git@|oci:|github\.com/)`)

// local makes the path in n absolute, or refuses it.
func (r *reader) local(s *source, n *yaml.Node, sc scope, service, field string) (string, bool) {
	if hasManyVariables(scalar(n)) {
		r.refuse(s.at(n), service, field, manyVariables, maxVariables)
		return "", false
	}
	value, err := template.Substitute(scalar(n), lookupIn(sc.env))
	value = r.sources.checkout(value)
	switch {
	case err != nil:
		r.refuse(s.at(n), service, field, "%v", err)
	case n.Kind != yaml.ScalarNode || value == "":
		r.refuse(s.at(n), service, field, "a path is expected here")
	case remote.MatchString(value):
		r.refuse(s.at(n), service, field, "%s is remote: only files of the repository are read", value)
	case r.inside(join(sc.base, value)) != nil:
		r.refuse(s.at(n), service, field, "%s %v", value, r.inside(join(sc.base, value)))
	default:
		return join(sc.base, value), true
	}
	return "", false
}

// dotenv reads files of variables; lookup has precedence when they refer to others.
func (r *reader) dotenv(paths []string, lookup map[string]string, from place, field string) (map[string]string, error) {
	values, before := map[string]string{}, r.findings.refused()
	for _, p := range paths {
		data, ok := r.read(p, from, "", field)
		if !ok {
			return nil, fs.ErrInvalid
		}
		r.variables(r.rel(p), "", "env_file", "", data, values, lookupIn(lookup))
	}
	if r.findings.refused() > before {
		return nil, fs.ErrInvalid
	}
	return values, nil
}

var errOutside = errors.New("leads out of the repository")

// inside returns an error if an absolute path leads out of the directory, by name or through symbolic links.
func (r *reader) inside(path string) error {
	return insideOf(r.dir, path)
}

func insideOf(dir, path string) error {
	if !below(dir, path) {
		return errOutside
	}
	// A path that does not exist cannot lead anywhere, but its parents can.
	for p := path; below(dir, p) && p != dir; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if errors.Is(err, fs.ErrNotExist) {
			if _, lerr := os.Lstat(p); lerr == nil {
				return errors.New("is a symbolic link to something that is not in the repository")
			}
			continue
		}
		if err != nil || !below(dir, real) {
			return errOutside
		}
		break
	}
	return nil
}

// below reports whether path is dir or lies in it, by name.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// rel is path as the repository's authors know it.
func (r *reader) rel(path string) string {
	if rel, err := filepath.Rel(r.dir, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return "the file"
}

// show is a path outside as it was written, so that no path of the machine is shown.
func (r *reader) show(path string, from place) string {
	if from.text != "" {
		return from.text
	}
	return r.rel(path)
}

// variable matches an escaped $, and variables without a default.
var variable = regexp.MustCompile(`\$\$|\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)`)

// gap is a variable or build argument that is not set.
type gap struct {
	Finding
	// arg is the build argument that has no value; empty for a variable in a text.
	arg string
}

// unset collects variables that are not set. Which of them matter is known once the project is loaded.
func (r *reader) unset(s *source, n *yaml.Node, path []string, env map[string]string, seen map[*yaml.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	switch n.Kind {
	case yaml.MappingNode:
		for k, v := range entries(n) {
			below := append(path[:len(path):len(path)], k.Value)
			if len(below) == 4 && below[0] == "services" && below[2] == "build" && below[3] == "args" {
				r.unsetArgs(s, target(v), below, env)
			}
			r.unset(s, v, below, env, seen)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			r.unset(s, c, path, env, seen)
		}
	case yaml.ScalarNode:
		if !strings.Contains(n.Value, "$") {
			return
		}
		if hasManyVariables(n.Value) {
			r.refuse(s.at(n), "", strings.Join(path, "."), manyVariables, maxVariables)
			return
		}
		r.notePWD(s, n, path, env)
		for _, m := range variable.FindAllStringSubmatch(n.Value, -1) {
			if name := m[1] + m[2]; name != "" {
				r.gap(s, n, path, env, name, "", "variable %s is not set: it is empty. Set it with %s")
			}
		}
	}
}

const manyVariables = "one line has more than %d variables"

// hasManyVariables reports whether a line of a text has so many variables that it must not be interpolated.
func hasManyVariables(text string) bool {
	for line := range strings.Lines(text) {
		if strings.Count(strings.ReplaceAll(line, "$$", ""), "${") > maxVariables {
			return true
		}
	}
	return false
}

// unsetArgs collects build arguments that take their value from variables that are not set: compose leaves them out.
func (r *reader) unsetArgs(s *source, args *yaml.Node, path []string, env map[string]string) {
	if args == nil {
		return
	}
	for i, n := range args.Content {
		isName := args.Kind == yaml.SequenceNode && n.Kind == yaml.ScalarNode && !strings.Contains(n.Value, "=")
		if args.Kind == yaml.MappingNode {
			isName = i%2 == 0 && isNull(target(args.Content[i+1]))
		}
		if isName {
			r.gap(s, n, path, env, n.Value, n.Value, "%s has no value here, and no variable of that name is set: it is left out. Set it with %s")
		}
	}
}

func isNull(n *yaml.Node) bool { return n != nil && n.Tag == "!!null" }

func (r *reader) gap(s *source, n *yaml.Node, path []string, env map[string]string, variable, arg, format string) {
	if _, ok := env[variable]; ok || variable == "COMPOSE_PROJECT_NAME" || len(r.gaps) == maxFindings {
		return
	}
	f := Finding{File: s.name, Line: n.Line, Level: LevelNote, Outcome: Approximated, Reason: fmt.Sprintf(format, variable, r.setting(variable))}
	f.Service, f.Field = split(path)
	r.gaps = append(r.gaps, gap{f, arg})
	r.note(f, variable)
}

// scalars is the list of n's items, or n itself.
func scalars(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		var out []*yaml.Node
		for _, c := range n.Content {
			if c = target(c); c != nil {
				out = append(out, c)
			}
		}
		return out
	}
	return []*yaml.Node{n}
}

func isFile(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && !st.IsDir()
}

// merged is the union of two maps; the second wins.
func merged(weak, strong map[string]string) map[string]string {
	out := make(map[string]string, len(weak)+len(strong))
	maps.Copy(out, weak)
	maps.Copy(out, strong)
	return out
}

// lookupIn looks variables up in env.
func lookupIn(env map[string]string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}
