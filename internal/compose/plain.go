package compose

import (
	"cmp"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// plain reads what most files hold, from the YAML that the reader has parsed already: compose-go compares the path of every value
// with some two hundred patterns, several times over, which is most of what a conversion would cost. It has no opinion of
// its own: whatever it does not know to mean just what compose-go takes it for, mistakes included, makes it give up, and then
// compose-go loads the files and says what is wrong. TestPlain and FuzzPlain compare the two.
type plain struct {
	// base is what relative paths start from.
	base   string
	env    map[string]string
	name   string
	visits int
	files  []*source
	// outer is the environment of the main file where an included one is read.
	outer map[string]string
}

// Bounds of what is read here. Both are far below what compose-go allows.
const (
	maxPlainFile   = 200 << 10
	maxPlainVisits = 50_000
)

// notPlain is what giveUp panics with.
type notPlain struct{}

func giveUp() { panic(notPlain{}) }

// need gives up unless ok.
func need(ok bool) {
	if !ok {
		giveUp()
	}
}

// parsePlain is nil unless the files are plain. There are count of them, without what they include.
func parsePlain(files []*source, count int, base string, env map[string]string, profiles []string) (project *types.Project) {
	// Parsers of compose-go are called, too: a slip of theirs is told of by compose-go's own loader.
	defer func() {
		if recover() != nil {
			project = nil
		}
	}()
	p := &plain{base: base, env: env, files: files}
	var top *yaml.Node
	for _, f := range files {
		need(!f.extended && len(f.docs) == 1 && f.documents == 1 && f.size <= maxPlainFile)
		checkMerges(f.docs[0], nil)
		if !f.included {
			top = p.over(top, f.docs[0], nil)
			count--
		}
	}
	need(count == 0)
	return p.project(top, profiles)
}

// project reads all of the files, merged.
func (p *plain) project(top *yaml.Node, profiles []string) *types.Project {
	entries := p.fields(top)
	need(len(entries) > 0)
	p.name = p.projectName(entries)
	p.env = merged(p.env, map[string]string{consts.ComposeProjectName: p.name})
	project := &types.Project{
		Name: p.name, WorkingDir: p.base, Environment: p.env, Profiles: profiles, Services: types.Services{}, DisabledServices: types.Services{},
	}
	for _, e := range entries {
		if strings.HasPrefix(e.key, "x-") {
			if project.Extensions == nil {
				project.Extensions = types.Extensions{}
			}
			project.Extensions[e.key] = p.any(e.value)
		} else {
			p.part(project, e)
		}
	}
	p.defaultNetwork(project)
	need(consistent(project))
	return project
}

// part reads what stands at the top of a file.
func (p *plain) part(project *types.Project, e field) {
	switch e.key {
	case "name", "version":
		p.str(e.value)
	case "include":
		p.include(project, e.value)
	case "services":
		p.section(e, func(name string, n *yaml.Node) {
			_, active := project.Services[name]
			_, other := project.DisabledServices[name]
			need(!active && !other)
			s := p.service(name, n)
			if s.HasProfile(project.Profiles) {
				project.Services[name] = s
			} else {
				project.DisabledServices[name] = s
			}
		})
	default:
		p.resources(project, e)
	}
}

// include reads the files that a file includes. Whatever has a name in two of them makes it give up.
func (p *plain) include(project *types.Project, n *yaml.Node) {
	for _, c := range p.list(n) {
		if c = p.follow(c); c.Kind == yaml.MappingNode {
			entries := p.fields(c)
			need(len(entries) == 1 && entries[0].key == "path")
			c = p.follow(entries[0].value)
		}
		path := p.path(p.str(c))
		i := slices.IndexFunc(p.files, func(f *source) bool { return f.included && f.path == path && f.base == filepath.Dir(path) })
		need(i >= 0)
		f := p.files[i]
		inner := *p
		inner.base, inner.outer = f.base, p.env
		if p.outer != nil {
			inner.outer = p.outer
		}
		inner.env = merged(f.env, map[string]string{consts.ComposeProjectName: p.name})
		for _, e := range inner.fields(f.docs[0]) {
			if strings.HasPrefix(e.key, "x-") {
				inner.any(e.value)
			} else {
				inner.part(project, e)
			}
		}
		p.visits = inner.visits
	}
}

// projectName is the one that the variables or the files give, or this package's own.
func (p *plain) projectName(entries []field) string {
	if name := projectName(p.env); name != "" {
		return name
	}
	i := slices.IndexFunc(entries, func(f field) bool { return f.key == "name" })
	if i < 0 {
		return defaultName
	}
	return cmp.Or(loader.NormalizeProjectName(p.str(entries[i].value)), defaultName)
}

// section reads the entries of a mapping at the top.
func (p *plain) section(f field, read func(name string, n *yaml.Node)) {
	need(f.value.Kind == yaml.MappingNode)
	for _, e := range p.fields(f.value) {
		need(isName(e.key))
		read(e.key, e.value)
	}
}

// resources reads what stands beside the services.
func (p *plain) resources(project *types.Project, e field) {
	switch e.key {
	case "networks":
		fresh(&project.Networks)
		p.section(e, func(name string, n *yaml.Node) { put(project.Networks, name, p.network(name, n)) })
	case "volumes":
		fresh(&project.Volumes)
		p.section(e, func(name string, n *yaml.Node) {
			v := types.VolumeConfig{}
			p.optional(&v, n)
			need(!bool(v.External) || len(v.Labels)+len(v.Extensions) == 0 && v.Driver == "")
			v.Name = p.resourceName(v.Name, name, v.External)
			put(project.Volumes, name, v)
		})
	case "secrets":
		fresh(&project.Secrets)
		p.section(e, func(name string, n *yaml.Node) {
			put(project.Secrets, name, types.SecretConfig(p.fileObject(name, reflect.TypeFor[types.SecretConfig](), n)))
		})
	case "configs":
		fresh(&project.Configs)
		p.section(e, func(name string, n *yaml.Node) {
			put(project.Configs, name, types.ConfigObjConfig(p.fileObject(name, reflect.TypeFor[types.ConfigObjConfig](), n)))
		})
	default:
		giveUp()
	}
}

// fresh makes a map that is not there yet.
func fresh[M ~map[string]V, V any](m *M) {
	if *m == nil {
		*m = M{}
	}
}

// put adds what no other file has.
func put[M ~map[string]V, V any](m M, name string, v V) {
	_, ok := m[name]
	need(!ok)
	m[name] = v
}

func (p *plain) network(name string, n *yaml.Node) types.NetworkConfig {
	v := types.NetworkConfig{}
	p.optional(&v, n)
	v.Name = p.resourceName(v.Name, name, v.External)
	return v
}

// fileObject is a config or secret: a file, a text, or external.
func (p *plain) fileObject(name string, kind reflect.Type, n *yaml.Node) types.FileObjectConfig {
	v := reflect.New(kind)
	p.structure(v.Elem(), n)
	f := v.Elem().Convert(reflect.TypeFor[types.FileObjectConfig]()).Interface().(types.FileObjectConfig)
	sources := 0
	for _, e := range p.fields(p.follow(n)) {
		if slices.Contains([]string{"file", "content", "environment", "external"}, e.key) {
			sources++
		}
	}
	need(sources == 1 && bool(f.External) == p.has(n, "external"))
	if f.File != "" {
		f.File = p.path(f.File)
	}
	if found, ok := p.env[f.Environment]; ok && f.Environment != "" {
		f.Content = found
	}
	f.Name = p.resourceName(f.Name, name, f.External)
	return f
}

// optional reads a mapping or nothing.
func (p *plain) optional(to any, n *yaml.Node) {
	if n = p.follow(n); n.Tag != "!!null" {
		p.structure(reflect.ValueOf(to).Elem(), n)
	}
}

// resourceName is what a volume, network, config or secret is called where nothing is said.
func (p *plain) resourceName(name, key string, external types.External) string {
	switch {
	case name != "":
		return name
	case bool(external):
		return key
	}
	return p.name + "_" + key
}

// defaultNetwork declares the network of services that name none.
func (p *plain) defaultNetwork(project *types.Project) {
	for _, s := range project.AllServices() {
		if _, ok := s.Networks["default"]; !ok {
			continue
		}
		if project.Networks == nil {
			project.Networks = types.Networks{}
		}
		if _, ok := project.Networks["default"]; !ok {
			project.Networks["default"] = types.NetworkConfig{Name: p.name + "_default"}
		}
		return
	}
}

// path is an absolute path; with ~ it would be one of this machine's users.
func (p *plain) path(s string) string {
	need(s != "" && s[0] != '~' && !strings.ContainsAny(s, `\`) && (len(s) < 2 || s[1] != ':'))
	if filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(p.base, s)
}

// text is a string after interpolation.
func (p *plain) text(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	out, err := template.Substitute(s, func(k string) (string, bool) { v, ok := p.env[k]; return v, ok })
	need(err == nil)
	return out
}
