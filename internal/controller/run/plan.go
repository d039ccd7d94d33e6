package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
)

// ConfigFile is the file that a repository steers Conductor with.
const ConfigFile = ".conductor.yaml"

// Plan is what a Run of one checkout builds, starts and tests. It depends on nothing but the files and the bounds, so
// it can be made again after a restart, and `conductor plan` prints the same.
type Plan struct {
	Config  *repoconfig.Config
	Project *compose.Project
	// Builds are the images to build, each once, sorted by name.
	Builds []Build
	// Suites are the suites to run, sorted by name.
	Suites []Suite
	// ServiceBuilds maps a compose service to the name of the build that makes its image.
	ServiceBuilds map[string]string
	// Notes say where suites are told something else than the file says.
	Notes []string
	// Dir holds the checkout.
	Dir string
	// Files is the checkout that Dir is in; nil where it is not Conductor's own.
	Files *Checkout
}

// Build is one image to build.
type Build struct {
	Name, Context, Dockerfile, Target string
	// Inline is the Dockerfile's text where the compose file holds it, instead of a file's name.
	Inline string `json:",omitempty"`
	Args   map[string]string
}

// Suite is one suite of tests and where its image comes from: a build, or a reference as it stands.
type Suite struct {
	Name, Build, Image string
	Test               repoconfig.Test
}

// Bounds are what the operator allows a repository's files.
type Bounds struct {
	Ceilings v1alpha1.Ceilings
	// OwnRegistry and OwnProject are as in compose.Options.
	OwnRegistry, OwnProject string
	// Fork says that the files are a fork's, which gets nothing beyond Pod Security's baseline.
	Fork bool
}

// options are what every conversion of a plan has in common: that which finds what is wrong before anything is built, that of a run,
// and that of `conductor plan`.
func (b Bounds) options(config *repoconfig.Config) compose.Options {
	o := compose.Options{
		Ceilings: b.Ceilings, OwnRegistry: b.OwnRegistry, OwnProject: b.OwnProject, Strict: config.Stack.Strict,
		Allow: b.Ceilings.Allow, AllowSetting: "stacks.allow", InlineDockerfiles: true,
	}
	if b.Fork {
		o.Allow, o.AllowSetting = nil, "stacks.allow, but not for forks"
	}
	return o
}

// NewPlan reads a checkout: the suites named in only, or all when it names none. Its errors are terminal: only a commit can mend them.
func NewPlan(dir string, only []string, bounds Bounds) (*Plan, error) {
	data, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, err, "There is no %s in the repository's root at this commit", ConfigFile)
	} else if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "%s cannot be read", ConfigFile)
	}
	config, err := repoconfig.Parse(ConfigFile, data)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "%v", err)
	}
	project, err := compose.Load(dir, compose.LoadOptions{
		Files: config.Stack.Compose, Profiles: config.Stack.Profiles, Env: config.Stack.Env, EnvFiles: config.Stack.EnvFile,
	})
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "%v", err)
	}
	p := &Plan{Config: config, Project: project, Dir: dir, ServiceBuilds: map[string]string{}}
	p.addBuilds()
	if err := p.addSuites(only); err != nil {
		return nil, err
	}
	if err := p.checkStack(bounds); err != nil {
		return nil, err
	}
	slices.SortFunc(p.Builds, func(a, b Build) int { return cmp.Compare(a.Name, b.Name) })
	return p, p.checkFiles()
}

// addBuilds collects build.images and the services' builds. Services with the same build share one image.
func (p *Plan) addBuilds() {
	for name, i := range p.Config.Build.Images {
		p.Builds = append(p.Builds, Build{Name: name, Context: i.Context, Dockerfile: i.Dockerfile, Target: i.Target, Args: i.Args})
	}
	slices.SortFunc(p.Builds, func(a, b Build) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range p.Project.Builds() {
		p.ServiceBuilds[b.Service] = p.build(Build{
			Name: b.Service, Context: b.Context, Dockerfile: b.Dockerfile, Inline: b.Inline, Target: b.Target, Args: b.Args,
		})
	}
	for _, service := range p.Project.Services() {
		if image, _ := p.Project.Image(service); p.ServiceBuilds[service] == "" {
			if b, ok := p.buildOf(image); ok {
				p.ServiceBuilds[service] = b
			}
		}
	}
}

// buildOf is the build of the service that makes an image, if one does.
func (p *Plan) buildOf(image string) (name string, ok bool) {
	service, ok := p.Project.Builder(image)
	return p.ServiceBuilds[service], ok
}

// build returns the name under which b is built, adding it when nothing equal is there.
func (p *Plan) build(b Build) string {
	names := map[string]bool{}
	for _, have := range p.Builds {
		if have.key() == b.key() {
			return have.Name
		}
		names[have.Name] = true
	}
	for base, n := b.Name, 2; names[b.Name]; n++ {
		b.Name = fmt.Sprintf("%s-%d", base, n)
	}
	p.Builds = append(p.Builds, b)
	return b.Name
}

// key is equal for builds that make the same image.
func (b Build) key() string {
	args := make([]string, 0, len(b.Args))
	for k, v := range b.Args {
		args = append(args, k+"="+v)
	}
	slices.Sort(args)
	return fmt.Sprintf("%q %q %q %q %q", filepath.Clean(b.Context), filepath.Clean(b.Dockerfile), b.Inline, b.Target, args)
}

func (p *Plan) addSuites(only []string) error {
	for _, name := range p.Config.Suites() {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		t := p.Config.Tests[name]
		s := Suite{Name: name, Test: t}
		if err := p.findImage(&s); err != nil {
			return err
		}
		p.Suites = append(p.Suites, s)
	}
	for _, name := range only {
		if _, ok := p.Config.Tests[name]; !ok {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "There is no suite %q; %s has %s",
				name, ConfigFile, strings.Join(p.Config.Suites(), ", "))
		}
	}
	return nil
}

// findImage says where a suite's image comes from: what its image names (a build, a compose service, a reference), else a
// compose service for tests, else Dockerfile.test, else Dockerfile.
func (p *Plan) findImage(s *Suite) error {
	if name := s.Test.Service; name != "" {
		if b, ok := p.ServiceBuilds[name]; ok {
			s.Build = b
		} else if image, ok := p.Project.Image(name); ok {
			s.Image = image
		} else {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "tests.%s names the service %s; the compose files have %s",
				s.Name, name, strings.Join(p.Project.Services(), ", "))
		}
		return nil
	}
	if name := s.Test.Image; name != "" {
		if slices.ContainsFunc(p.Builds, func(b Build) bool { return b.Name == name }) {
			s.Build = name
		} else if b, ok := p.ServiceBuilds[name]; ok {
			s.Build = b
		} else if image, ok := p.Project.Image(name); ok {
			s.Image = image
		} else if b, ok := p.buildOf(name); ok {
			s.Build = b
		} else {
			s.Image = name
		}
		return nil
	}
	for _, name := range []string{s.Name, "tests", "test", "sut"} {
		if b, ok := p.ServiceBuilds[name]; ok {
			s.Build = b
			return nil
		}
		if slices.ContainsFunc(p.Builds, func(b Build) bool { return b.Name == name }) {
			s.Build = name
			return nil
		}
	}
	for _, file := range []string{"Dockerfile.test", "Dockerfile"} {
		if st, err := os.Stat(filepath.Join(p.Dir, file)); err == nil && st.Mode().IsRegular() {
			s.Build = p.build(Build{Name: "tests", Context: ".", Dockerfile: file})
			return nil
		}
	}
	return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil,
		"tests.%s names no image, and there is no compose service called %s, tests, test or sut that is built, no Dockerfile.test and no Dockerfile", s.Name, s.Name)
}

// checkStack finds what cannot be converted before anything is built.
func (p *Plan) checkStack(bounds Bounds) error {
	o := bounds.options(p.Config)
	o.ImagesPending = p.Project.Services()
	stack, err := compose.Convert(p.Project, o)
	if err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "%v", err)
	}
	for _, public := range p.Config.Stack.Public {
		i := slices.IndexFunc(stack.Services, func(s compose.Service) bool { return s.Name == public.Service })
		if i < 0 {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "stack.public names the service %s; the compose files have %s",
				public.Service, strings.Join(p.Project.Services(), ", "))
		}
		// Neither an ingress controller nor a port-forward reaches a port that the Service does not list.
		if !slices.Contains(stack.Services[i].Ports, int32(public.Port)) {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "stack.public names port %d of %s, which neither its ports nor its expose list",
				public.Port, public.Service)
		}
	}
	for i := range p.Suites {
		p.Notes = append(p.Notes, p.Suites[i].rename(stack)...)
	}
	return nil
}

// rename has a suite use names that can be resolved, and says where it used others.
func (s *Suite) rename(stack *compose.Stack) (notes []string) {
	renamed := func(text, variable, field string) string {
		text, told := stack.Renamed(text, variable)
		for _, t := range told {
			notes = append(notes, fmt.Sprintf("%s: note: tests.%s.%s: %s", ConfigFile, s.Name, field, t))
		}
		return text
	}
	s.Test.Command.Shell = renamed(s.Test.Command.Shell, "", "command")
	s.Test.Command.Args = slices.Clone(s.Test.Command.Args)
	for i, a := range s.Test.Command.Args {
		s.Test.Command.Args[i] = renamed(a, "", "command")
	}
	s.Test.Env = maps.Clone(s.Test.Env)
	for _, k := range slices.Sorted(maps.Keys(s.Test.Env)) {
		s.Test.Env[k] = renamed(s.Test.Env[k], k, "env."+k)
	}
	return notes
}

// checkFiles finds a missing Dockerfile before anything is built.
func (p *Plan) checkFiles() error {
	for _, b := range p.Builds {
		if b.Inline != "" {
			continue
		}
		file := filepath.Join(b.Context, b.Dockerfile)
		if _, err := os.Stat(filepath.Join(p.Dir, file)); errors.Is(err, fs.ErrNotExist) {
			return failure.Terminalf(v1alpha1.ReasonNotFound, err, "The image %s is built from %s, which is not in the repository", b.Name, file)
		}
	}
	return nil
}

// tests says whether a compose service is a test itself, and so no part of the stack.
func (p *Plan) tests(service string) bool {
	return slices.ContainsFunc(p.Suites, func(s Suite) bool { return s.Test.Service == service })
}

// planCache keeps the plans of Runs that are under way. A plan that is not there is made again.
type planCache struct {
	mu    sync.Mutex
	plans map[types.UID]*Plan
}

func (c *planCache) get(uid types.UID) *Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plans[uid]
}

func (c *planCache) put(uid types.UID, p *Plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plans == nil {
		c.plans = map[types.UID]*Plan{}
	}
	c.plans[uid] = p
}

// drop releases a plan and removes its checkout.
func (c *planCache) drop(uid types.UID) {
	c.mu.Lock()
	p := c.plans[uid]
	delete(c.plans, uid)
	c.mu.Unlock()
	if p != nil && p.Files != nil {
		p.Files.Close()
	}
}

// keepFor is how long the stack stays: what the file says, within the ceilings. Forever is 0, true.
func keepFor(k repoconfig.Keep, c v1alpha1.Ceilings) (time.Duration, bool) {
	switch {
	case k.Forever && c.KeepForever:
		return 0, true
	case k.Forever:
		return c.KeepMax.Duration, false
	case k.TTL.Duration <= 0:
		return min(c.Keep.Duration, c.KeepMax.Duration), false
	}
	return min(k.TTL.Duration, c.KeepMax.Duration), false
}
