package compose

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// DefaultFile is loaded when no file is named.
const DefaultFile = "docker-compose.qa.yml"

// defaultName is a project's name where the files give none.
const defaultName = "stack"

// maxWays is how many paths along depends_on a project may have, from every service to every other: compose-go walks each of them when it
// searches for cycles.
const maxWays = 100_000

// LoadOptions selects what to load.
type LoadOptions struct {
	// Files are merged in this order, as `docker compose -f a -f b` does; none means DefaultFile. They are relative to
	// the directory that is loaded; other paths in them are relative to the first file's directory.
	Files []string
	// Profiles are enabled; none means those of COMPOSE_PROFILES.
	Profiles []string
	// Services are enabled whatever their profiles are, with the services that they need and that share a profile with them, as if the
	// command line of docker compose named them.
	Services []string
	// Env holds variables for interpolation; it overrides EnvFiles. Without a PWD in them ${PWD} is the loaded directory.
	Env map[string]string
	// EnvFiles are files of variables for interpolation, as of --env-file; none means .env where there is one.
	EnvFiles []string
	// Secrets are the names of variables whose values are not known here. They override Env and EnvFiles. Where such a
	// variable is used, the converted stack refers to the Secret of Options.SecretName.
	Secrets []string
	// Absent are files whose content is missing: placeholders have their size and mode. Paths are relative to the directory, with slashes.
	// Load and Convert need the content of some; see AbsentError.
	Absent map[string]bool
	// Flags makes findings name the flags of `conductor convert` instead of the keys of .conductor.yaml.
	Flags bool
}

// Project is a loaded compose project.
type Project struct {
	dir      string
	compose  *types.Project
	sources  sources
	findings findings
	// absent are LoadOptions.Absent.
	absent map[string]bool
	// secrets are the names of LoadOptions.Secrets.
	secrets []string
	// origins maps variables to the file that sets them, if it is known.
	origins map[string]string
	// setAt are the lines that set variables in files of variables, by file.
	setAt map[string]map[string]int
	// builders maps the images that services build to the first service that builds each.
	builders map[string]string
	hints    hints
}

// Load reads a project below dir. The error is an *Errors if the files are at fault, and an *AbsentError if files of LoadOptions.Absent are
// needed.
func Load(dir string, o LoadOptions) (*Project, error) {
	setUp()
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, fmt.Errorf("find the directory of the compose files: %w", err)
	}
	files := o.Files
	if len(files) == 0 {
		files = []string{DefaultFile}
	}
	r := newReader(abs, o.Absent)
	r.isFlags = o.Flags
	base := filepath.Dir(join(abs, files[0]))
	env := r.environment(base, o)
	var paths []string
	for _, f := range files {
		p := join(abs, f)
		paths = append(paths, p)
		r.file(p, scope{base: base, env: env}, place{file: f, text: f}, "")
	}
	r.settle()
	if r.err() != nil {
		return nil, r.refusal(nil, nil)
	}
	profiles := o.Profiles
	if len(profiles) == 0 && env["COMPOSE_PROFILES"] != "" {
		profiles = strings.Split(env["COMPOSE_PROFILES"], ",")
	}
	in := parsing{name: r.sources.projectName(env), dir: abs, paths: paths, base: base, env: env, profiles: profiles, services: o.Services}
	project, err := in.parse(true)
	if err != nil {
		return nil, r.refusal(err, in.parse)
	}
	if names := ignored(project); len(names) > 0 {
		r.noteIgnored(project, names)
		project = project.WithServicesDisabled(names...)
	}
	p := &Project{
		dir: abs, compose: project, sources: r.sources, secrets: slices.Clone(o.Secrets), absent: o.Absent, hints: r.hints, origins: r.origins, setAt: r.setAt,
	}
	p.resolveCheckout()
	if err := p.resolve(r); err != nil {
		return nil, err
	}
	p.noteAll(r, profiles, o.Env)
	p.builders = map[string]string{}
	for _, name := range slices.Backward(p.compose.ServiceNames()) {
		if p.compose.Services[name].Build != nil {
			p.builders[strings.TrimSuffix(p.builtName(name), ":latest")] = name
		}
	}
	return p, nil
}

// noteAll reports what was found while the files were read, as far as it concerns active services.
func (p *Project) noteAll(r *reader, profiles []string, env map[string]string) {
	for _, f := range r.findings.list {
		if _, ok := p.compose.Services[f.Service]; ok || f.Service == "" {
			p.findings.add(f)
		}
	}
	p.noteGaps(r.gaps)
	p.noteUnused(r, profiles, env)
}

// noteGaps reports the gaps in active services and in the services that they extend.
func (p *Project) noteGaps(gaps []gap) {
	if len(gaps) == 0 {
		return
	}
	users := p.sources.users(p.compose.ServiceNames())
	for _, g := range gaps {
		if g.Service != "" {
			user, ok := users[serviceKey(g.File, g.Service)]
			if !ok {
				continue
			}
			g.Service = user
		}
		if b := p.compose.Services[g.Service].Build; g.arg != "" && b != nil {
			if _, filled := b.Args[g.arg]; filled {
				continue
			}
		}
		p.findings.add(g.Finding)
	}
}

// environment are the variables for interpolation. The process's own environment is not used.
func (r *reader) environment(base string, o LoadOptions) map[string]string {
	var files []string
	for _, f := range o.EnvFiles {
		files = append(files, join(r.dir, f))
	}
	if p := filepath.Join(base, ".env"); len(files) == 0 && isFile(p) {
		files = append(files, p)
	}
	weakest := map[string]string{"PWD": checkoutPath}
	known := merged(o.Env, marks(o.Secrets))
	if len(files) == 0 {
		return merged(weakest, known)
	}
	values, err := r.dotenv(files, merged(weakest, known), place{file: r.rel(files[0])}, "")
	if err != nil {
		return merged(weakest, known)
	}
	if len(files) == 1 {
		r.origins = map[string]string{}
		for name := range without(values, known) {
			r.origins[name] = r.rel(files[0])
		}
	}
	return merged(weakest, merged(values, known))
}

// setUp silences the global logger that compose-go uses, since findings cover its warnings, and registers the env file format "raw", which
// compose-go leaves to its users.
var setUp = sync.OnceFunc(func() {
	logrus.SetOutput(io.Discard)
	dotenv.RegisterFormat("raw", rawEnvFile)
})

// parsing is what compose-go gets.
type parsing struct {
	name, dir, base    string
	paths              []string
	env                map[string]string
	profiles, services []string
}

// parse has compose-go merge, interpolate and check the files, but not read env_file and label_file. If isChecked is false, services may
// refer to what does not exist.
func (in parsing) parse(isChecked bool) (p *types.Project, err error) {
	// compose-go walks untyped trees of user input; a panic in it must not end the process.
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("the compose files cannot be understood: %v", v)
		}
	}()
	details := types.ConfigDetails{WorkingDir: in.base, Environment: maps.Clone(in.env)}
	for _, f := range in.paths {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f})
	}
	options := []func(*loader.Options){func(o *loader.Options) {
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.SkipConsistencyCheck = !isChecked
		o.Profiles = in.profiles
		o.ResourceLoaders = append(o.ResourceLoaders, checkoutLoader{in.dir})
		o.SetProjectName(in.name, true)
	}}
	model, err := loader.LoadModelWithContext(context.Background(), details, options...)
	if err != nil {
		return nil, err
	}
	enable(model, in.services)
	if service := overDependent(model); service != "" {
		return nil, boundError(fmt.Sprintf("services.%s.depends_on: there are more than %d ways along depends_on from one service to others. "+
			"Name only the services that each one needs itself", service, maxWays))
	}
	return loader.ModelToProject(model, loader.ToOptions(&details, options), details)
}

// boundError is the error of a project that is beyond the bounds.
type boundError string

// Error implements error.
func (e boundError) Error() string { return string(e) }

// overDependent returns the service with the most ways along depends_on to others if the project has more than maxWays, else "".
func overDependent(model map[string]any) string {
	services, _ := model["services"].(map[string]any)
	ways := map[string]int{}
	var count func(name string) int
	count = func(name string) int {
		if n, ok := ways[name]; ok {
			return n
		}
		ways[name] = 0 // A cycle leads here again; compose-go refuses those.
		service, _ := services[name].(map[string]any)
		on, _ := service["depends_on"].(map[string]any)
		n := 1
		for dep := range on {
			n = min(n+count(dep), maxWays+1)
		}
		ways[name] = n
		return n
	}
	total, worst := 0, ""
	for _, name := range slices.Sorted(maps.Keys(services)) {
		total = min(total+count(name), maxWays+1)
		if worst == "" || ways[name] > ways[worst] {
			worst = name
		}
	}
	if total <= maxWays {
		return ""
	}
	return worst
}

// resolve reads env_file and label_file, after it has checked that they are in the repository, and checks build contexts.
func (p *Project) resolve(r *reader) error {
	for _, name := range p.compose.ServiceNames() {
		s := p.compose.Services[name]
		vars := map[string]string{}
		for _, f := range s.EnvFiles {
			if _, err := os.Lstat(f.Path); err != nil && !bool(f.Required) {
				continue
			}
			if data, ok := p.mayRead(r, name, "env_file", f.Path); ok {
				r.variables(r.rel(f.Path), name, "env_file", f.Format, data, vars, func(variable string) (string, bool) {
					if v, ok := p.compose.Environment[variable]; ok {
						return v, true
					}
					if v := s.Environment[variable]; v != nil {
						return *v, true
					}
					return "", false
				})
			}
		}
		for _, f := range s.LabelFiles {
			if data, ok := p.mayRead(r, name, "label_file", f); ok {
				r.variables(r.rel(f), name, "label_file", "", data, map[string]string{}, func(string) (string, bool) { return "", false })
			}
		}
		for _, h := range s.PreStart {
			for _, f := range h.EnvFiles {
				p.mayRead(r, name, "pre_start", f.Path)
			}
			for _, f := range h.LabelFiles {
				p.mayRead(r, name, "pre_start", f)
			}
		}
		p.checkBuild(r, name, s.Build)
		p.checkMounts(r, s)
	}
	if err := r.err(); err != nil {
		return err
	}
	if !p.readsMore() {
		return nil
	}
	project, err := p.compose.WithServicesEnvironmentResolved(false)
	if err == nil {
		project, err = project.WithServicesLabelsResolved(false)
	}
	if err != nil {
		r.refuseError(err)
		return r.err()
	}
	p.compose = project
	return nil
}

// readsMore reports whether services read variables or labels from files.
func (p *Project) readsMore() bool {
	for _, s := range p.compose.Services {
		if len(s.EnvFiles)+len(s.LabelFiles)+len(s.PreStart) > 0 {
			return true
		}
	}
	return false
}

func (p *Project) mayRead(r *reader, service, field, path string) ([]byte, bool) {
	if why := r.missing(path); why != "" && field == "env_file" {
		r.refuse(p.sources.find(filepath.Base(path), "services", service, field), service, field, "%s", why)
		return nil, false
	}
	return r.read(path, p.sources.find(filepath.Base(path), "services", service, field), service, field)
}

// checkMounts refuses mounts of git submodules.
func (p *Project) checkMounts(r *reader, s types.ServiceConfig) {
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if module := r.submoduleOf(v.Source); module != "" {
			r.refuse(p.sources.find(v.Target, "services", s.Name, "volumes"), s.Name, "volumes", submodule, module)
		}
	}
}

func (p *Project) checkBuild(r *reader, service string, b *types.BuildConfig) {
	if b == nil {
		return
	}
	at := func(field string) place { return p.sources.find("", "services", service, "build", field) }
	switch {
	case remote.MatchString(b.Context):
		r.refuse(at("context"), service, "build.context", "%s is remote: images are built from the repository alone", b.Context)
		return
	case r.inside(b.Context) != nil:
		r.refuse(at("context"), service, "build.context", "the build context %v", r.inside(b.Context))
		return
	}
	if module := r.submoduleOf(b.Context); module != "" {
		r.refuse(at("context"), service, "build.context", submodule, module)
		return
	}
	if st, err := os.Stat(b.Context); err != nil || !st.IsDir() {
		r.refuse(at("context"), service, "build.context", "%s is not a directory of the repository", r.rel(b.Context))
		return
	}
	if b.DockerfileInline == "" {
		if err := r.inside(join(b.Context, b.Dockerfile)); err != nil {
			r.refuse(at("dockerfile"), service, "build.dockerfile", "the Dockerfile %v", err)
		}
	}
}

// Build is one image that a service asks for.
type Build struct {
	Service string
	// Context is relative to the loaded directory, Dockerfile to the context.
	Context, Dockerfile, Target string
	// Inline is the Dockerfile's content where the compose file has it; Dockerfile is then empty.
	Inline string
	Args   map[string]string
}

// Builds are the images that active services build, sorted by service.
func (p *Project) Builds() []Build {
	var out []Build
	for _, name := range p.compose.ServiceNames() {
		b := p.compose.Services[name].Build
		if b == nil {
			continue
		}
		context, err := filepath.Rel(p.dir, b.Context)
		if err != nil {
			context = b.Context
		}
		dockerfile := b.Dockerfile
		if b.DockerfileInline != "" {
			dockerfile = ""
		}
		if filepath.IsAbs(dockerfile) {
			dockerfile, _ = filepath.Rel(b.Context, dockerfile)
		}
		args := map[string]string{}
		for k, v := range b.Args {
			if v != nil {
				args[k] = *v
			}
		}
		out = append(out, Build{
			Service: name, Context: filepath.ToSlash(context), Dockerfile: filepath.ToSlash(dockerfile), Target: b.Target,
			Inline: b.DockerfileInline, Args: args,
		})
	}
	return out
}

// Image is the image that an active service names; ok is false if there is none.
func (p *Project) Image(service string) (image string, ok bool) {
	s, ok := p.compose.Services[service]
	return s.Image, ok && s.Image != ""
}

// Builder is the active service that builds an image that another service names, as docker compose would find it locally.
func (p *Project) Builder(image string) (service string, ok bool) {
	service, ok = p.builders[strings.TrimSuffix(image, ":latest")]
	return service, ok
}

// builtName is what docker compose calls the image that a service builds.
func (p *Project) builtName(service string) string {
	return cmp.Or(p.compose.Services[service].Image, strings.ToLower(p.compose.Name+"-"+service))
}

// HookImages are the images that an active service's hooks name, if they are others than its own.
func (p *Project) HookImages(service string) []string {
	var out []string
	s := p.compose.Services[service]
	for _, h := range s.PreStart {
		if h.Image != "" && h.Image != s.Image {
			out = append(out, h.Image)
		}
	}
	return out
}

// Services are the names of the active services, sorted.
func (p *Project) Services() []string { return slices.Clone(p.compose.ServiceNames()) }
