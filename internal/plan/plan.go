package plan

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// ConfigFile is the file with which a repository configures Conductor.
const ConfigFile = ".conductor.yaml"

// Input is everything that a plan depends on. The same input gives the same plan, byte for byte.
type Input struct {
	// Dir is the directory of the checkout.
	Dir string
	// Absent are files, by their paths in Dir, whose content is missing.
	Absent []string `json:",omitempty"`
	// Run names and labels the objects. The plan depends on the commit, suites, trust level and ceilings of its spec.
	Run *v1alpha1.Run
	// Settings are the operator's.
	Settings settings.Settings
	// OwnProject is where the repository's own images are pushed, as host/path; empty if unknown.
	OwnProject string
	// Images are the images of services, as far as they are known.
	Images Images
}

// Images is what is known about the images of services.
type Images struct {
	// References are the images of services whose reference differs from the file's, by service.
	References map[string]string `json:",omitempty"`
	// Hooks are the references of the images of hooks, by the name in the file.
	Hooks map[string]string `json:",omitempty"`
	// Configs are the images' own configurations, by reference.
	Configs map[string]compose.ImageConfig `json:",omitempty"`
	// Known are the services whose images are fully known; the others are still being built or resolved.
	Known []string `json:",omitempty"`
	// AllKnown means that no more will become known.
	AllKnown bool `json:",omitempty"`
}

// Plan is what a run of one checkout builds, starts and tests.
type Plan struct {
	// Builds are the images to build, each once, sorted by name.
	Builds []Build
	// Suites are the suites to run, sorted by name.
	Suites []Suite
	// Services are the services of the stack in start order, without those that only run as tests.
	Services []Service
	// Shared are objects that do not belong to a single service: claims, aliases, policies.
	Shared []client.Object
	// Contents are ConfigMaps with the files that the stack mounts.
	Contents []*corev1.ConfigMap
	// Uses are the images that services run, including those that run as tests.
	Uses []Use
	// Public are the services with a public address.
	Public []repoconfig.Public
	// Findings are the conversion's. Notes list where suites differ from the file.
	Findings []compose.Finding
	Notes    []string
	// Source means that pods fetch files from the source artifact.
	Source bool `json:",omitempty"`
	// Allowed are the allowances that pods use.
	Allowed []v1alpha1.Allowance
	// Keep is how long the stack stays: a duration, or v1alpha1.Forever.
	Keep string
	// Idle is the time after which it is deleted if it is not used; 0 means never.
	Idle time.Duration
	// AfterClose means that it stays when the issue or pull request is closed.
	AfterClose bool
	// ReadyTimeout is how long the services may take to come up once the images are built.
	ReadyTimeout time.Duration

	run      *v1alpha1.Run
	settings settings.Settings
}

// Service is one service of the stack.
type Service struct {
	compose.Service
	// Pending are the services of its pod whose images were unknown when the plan was made.
	Pending []string
}

// Use is one image that the pod of a service runs: the result of a build, or a reference in the file.
type Use struct {
	Service string
	// Build is the name of the build; empty for an image from a registry.
	Build string `json:",omitempty"`
	// Image is the reference in the file. It is empty for a built image, unless a hook names it.
	Image string `json:",omitempty"`
	// Hook means that a hook of the service runs it.
	Hook bool `json:",omitempty"`
}

// Make plans a run. An error is either terminal, since only a commit or a setting can fix it, or a *compose.AbsentError.
func Make(in Input) (*Plan, error) {
	m := &maker{in: in, serviceBuilds: map[string]string{}}
	m.plan = &Plan{run: in.Run, settings: in.Settings}
	for _, step := range []func() error{m.read, m.addBuilds, m.addSuites, m.convert, m.finish} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m.plan, m.check()
}

// maker is the state of one call of Make.
type maker struct {
	in      Input
	plan    *Plan
	config  *repoconfig.Config
	project *compose.Project
	// serviceBuilds maps a service to the name of the build that makes its image.
	serviceBuilds map[string]string
	// tests are the services that run as tests, of this run or another of the same files.
	tests map[string]compose.TestService
	// problems are those with the configuration.
	problems []repoconfig.Error
}

// read reads the configuration and loads the compose files.
func (m *maker) read() error {
	absent := make(map[string]bool, len(m.in.Absent))
	for _, path := range m.in.Absent {
		absent[path] = true
	}
	if absent[ConfigFile] {
		return &compose.AbsentError{Paths: []string{ConfigFile}}
	}
	data, err := os.ReadFile(filepath.Join(m.in.Dir, ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return failure.Terminalf(v1alpha1.ReasonNotFound, err, "The repository's root has no %s. %s", ConfigFile,
			m.suggest([]string{".conductor.yml", "conductor.yaml", "conductor.yml"}, "rename it to "+ConfigFile, m.minimalConfig()))
	} else if err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "%s cannot be read", ConfigFile)
	}
	if m.config, err = repoconfig.Parse(ConfigFile, data); err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "%s", repoconfig.Explain(err))
	}
	stack := m.config.Stack
	if slices.Equal(stack.Compose, []string{compose.DefaultFile}) && !m.has(compose.DefaultFile) {
		return failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "The repository's root has no %s. %s", compose.DefaultFile,
			m.suggest(m.composeFiles(), "name it with stack: {compose: [FILE]} in "+ConfigFile, "It defines the services that the tests need. Name another file with stack: {compose: [FILE]} in "+ConfigFile))
	}
	o := compose.LoadOptions{
		Files: stack.Compose, Profiles: stack.Profiles, Env: stack.Env, EnvFiles: stack.EnvFile,
		Absent: absent,
	}
	if m.project, err = compose.Load(m.in.Dir, o); err != nil {
		return composeError(err)
	}
	if o.Services = m.inactiveServices(); len(o.Services) > 0 {
		m.project, err = compose.Load(m.in.Dir, o)
	}
	return composeError(err)
}

// has reports whether the repository has a file.
func (m *maker) has(name string) bool {
	st, err := os.Stat(filepath.Join(m.in.Dir, name))
	return err == nil && st.Mode().IsRegular()
}

// suggest returns what to do about a missing file: with the first existing file of near, or else other.
func (m *maker) suggest(near []string, do, other string) string {
	for _, name := range near {
		if m.has(name) {
			return "It has " + name + ": " + strings.ReplaceAll(do, "FILE", name)
		}
	}
	return other
}

// composeError turns an error in the compose files into a terminal failure; a *compose.AbsentError stays as it is.
func composeError(err error) error {
	var absent *compose.AbsentError
	if err == nil || errors.As(err, &absent) {
		return err
	}
	return failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "%v", err)
}

// convert turns the compose files into objects.
func (m *maker) convert() error {
	o, err := m.options()
	if err != nil {
		return err
	}
	stack, err := compose.Convert(m.project, o)
	if err != nil {
		return composeError(err)
	}
	if err := m.addPublic(stack); err != nil {
		return err
	}
	p := m.plan
	p.Findings, p.Allowed = stack.Findings, stack.Allowed
	for _, o := range stack.Shared {
		if content, ok := o.(*corev1.ConfigMap); ok {
			p.Contents = append(p.Contents, content)
		} else {
			p.Shared = append(p.Shared, o)
		}
	}
	for _, svc := range stack.Services {
		annotateEnds(svc)
		p.Services = append(p.Services, Service{Service: svc, Pending: m.pending(svc)})
	}
	p.Source = slices.ContainsFunc(stack.Services, func(svc compose.Service) bool { return mountsSource(podOf(svc.Workload)) }) ||
		slices.ContainsFunc(stack.Tests, func(t compose.Test) bool { return mountsSource(&t.Template.Spec) })
	for i := range p.Suites {
		m.finishSuite(&p.Suites[i], stack, o)
	}
	return m.refused(v1alpha1.ReasonRefused)
}

// annotateEnds notes on the pods of a Deployment which containers may end. The pods of a kept stack are judged when there is no plan anymore.
func annotateEnds(svc compose.Service) {
	if d, ok := svc.Workload.(*appsv1.Deployment); ok && len(svc.MayEnd) > 0 {
		d.Spec.Template.Annotations = map[string]string{v1alpha1.AnnotationMayEnd: strings.Join(svc.MayEnd, ",")}
	}
}

// options are those of the conversion.
func (m *maker) options() (compose.Options, error) {
	run, set, images := m.in.Run, m.in.Settings, m.in.Images
	egress, err := jobs.Egress(set.Stacks.Egress)
	if err != nil {
		return compose.Options{}, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's egress list (stacks.egress) is not valid")
	}
	o := compose.Options{
		Ceilings: run.Spec.Ceilings, OwnRegistry: ownRegistry(set), OwnProject: m.in.OwnProject, Strict: m.config.Stack.Strict,
		// Allowances that were revoked after the run started no longer apply.
		Allow: v1alpha1.Both(run.Spec.Ceilings.Allow, set.Stacks.Allow), AllowSetting: "stacks.allow", InlineDockerfiles: true, SeparateBuilds: true,
		Namespace: jobs.StackName(run), Labels: jobs.Labels(run, jobs.StageStack), PullSecret: m.plan.pullSecret(), Egress: egress,
		Images: images.References, HookImages: images.Hooks, ImageConfigs: images.Configs, Tests: m.tests,
	}
	o.Ceilings.Allow = o.Allow
	if run.Spec.Trust == v1alpha1.TrustFork {
		o.Allow, o.AllowSetting = nil, "stacks.allow, but not for forks"
	}
	if limit := run.Spec.Ceilings.FileBytes(); limit > 0 {
		o.Source = &compose.SourceMounts{
			Image: set.Image, Limit: limit, Secret: jobs.AgentSecretName(run), Key: jobs.KeySourceToken,
			Args: []string{"files", "--agent", jobs.AgentURL(run), "--token-file", compose.SourceTokenFile, "--limit", strconv.FormatInt(limit, 10)},
		}
	}
	if !images.AllKnown {
		o.ImagesPending = slices.DeleteFunc(m.project.Services(), func(name string) bool { return slices.Contains(images.Known, name) })
	}
	return o, nil
}

// ownRegistry is where the images of all repositories are pushed.
func ownRegistry(set settings.Settings) string {
	return strings.TrimSuffix(set.Registry.Host+"/"+set.Registry.Prefix, "/")
}

// pending returns the services of a pod whose images are unknown.
func (m *maker) pending(svc compose.Service) []string {
	if m.in.Images.AllKnown {
		return nil
	}
	return slices.DeleteFunc(append([]string{svc.Name}, svc.Shares...), func(name string) bool { return slices.Contains(m.in.Images.Known, name) })
}

// addPublic checks stack.public against the converted stack.
func (m *maker) addPublic(stack *compose.Stack) error {
	for n, public := range m.config.Stack.Public {
		i := slices.IndexFunc(stack.Services, func(s compose.Service) bool { return s.Name == public.Service })
		path := fmt.Sprintf("stack.public[%d].", n)
		if _, isTest := m.tests[public.Service]; i < 0 && isTest {
			m.problem(path+"service", "the service %s runs as a test and is not part of the stack", public.Service)
		} else if i < 0 {
			m.unknownService(path+"service", public.Service)
		} else if !slices.Contains(stack.Services[i].Ports, int32(public.Port)) {
			// Ingress controllers and port-forwards only reach ports that the Service lists.
			m.problem(path+"port", "port %d of %s is not exposed. Add it to the service's ports or expose", public.Port, public.Service)
		}
		m.plan.Public = append(m.plan.Public, public)
	}
	return m.refused(v1alpha1.ReasonInvalidConfig)
}

// problem adds a problem with a value of the configuration.
func (m *maker) problem(path, message string, args ...any) {
	m.problems = append(m.problems, m.config.Problem(path, message, args...))
}

// unknownService adds the problem that a service does not exist.
func (m *maker) unknownService(path, name string) {
	services := m.project.Services()
	if near := nearest.Word(name, services); near != "" {
		m.problems = append(m.problems, m.config.Instead(path, name, near, "the service %s does not exist; did you mean %s?", name, near))
		return
	}
	m.problem(path, "the service %s does not exist. The compose files have %s", name, strings.Join(services, ", "))
}

// note adds a note about a value of the configuration.
func (m *maker) note(path, message string, args ...any) {
	p := m.config.Problem(path, message, args...)
	m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%s:%d:%d: note: %s: %s", p.File, p.Line, p.Column, p.Path, p.Message))
}

// refused returns all problems with the configuration as one failure; nil if there are none.
func (m *maker) refused(reason string) error {
	if err := repoconfig.Join(m.problems); err != nil {
		return failure.Terminalf(reason, nil, "%s", repoconfig.Explain(err))
	}
	return nil
}

// finish sets what the stages need besides the objects.
func (m *maker) finish() error {
	p := m.plan
	p.Keep, p.Idle = keepFor(m.config.Keep, m.in.Run.Spec)
	p.AfterClose, p.ReadyTimeout = m.config.Keep.AfterClose, m.config.Stack.Ready.Timeout.Duration
	for _, service := range m.project.Services() {
		for _, name := range m.project.HookImages(service) {
			build, _ := m.buildOf(name)
			p.Uses = append(p.Uses, Use{Service: service, Build: build, Image: name, Hook: true})
		}
		if build, ok := m.serviceBuilds[service]; ok {
			p.Uses = append(p.Uses, Use{Service: service, Build: build})
		} else if name, ok := m.project.Image(service); ok {
			p.Uses = append(p.Uses, Use{Service: service, Image: name})
		}
	}
	slices.SortFunc(p.Builds, func(a, b Build) int { return cmp.Compare(a.Name, b.Name) })
	return m.checkDockerfiles()
}

// mountsSource reports whether a pod fetches files from the source artifact.
func mountsSource(pod *corev1.PodSpec) bool {
	return pod != nil && slices.ContainsFunc(pod.InitContainers, func(c corev1.Container) bool { return c.Name == compose.SourceContainer })
}

// keepFor returns how long the stack is kept, and after which time without use it is deleted: as configured in the file, within the ceilings.
// What was asked for the Run replaces both.
func keepFor(k repoconfig.Keep, spec v1alpha1.RunSpec) (keep string, idle time.Duration) {
	c := spec.Ceilings
	ttl, forever, idle := cmp.Or(k.TTL.Duration, c.Keep.Duration), k.Forever, cmp.Or(k.Idle.Duration, c.KeepIdle.Duration)
	if spec.Keep != "" {
		asked, err := time.ParseDuration(spec.Keep)
		if err != nil { // The API server has checked its form: it is forever, or longer than any time.
			asked = c.KeepMax.Duration
		}
		ttl, forever, idle = asked, spec.Keep == v1alpha1.Forever, 0
	}
	switch {
	case forever && c.KeepForever:
		return v1alpha1.Forever, idle
	case forever:
		ttl = c.KeepMax.Duration
	}
	return min(ttl, c.KeepMax.Duration).String(), idle
}
