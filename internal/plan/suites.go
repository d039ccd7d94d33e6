package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// Suite is one suite of tests and the source of its image: a build, or a reference as written in the file.
type Suite struct {
	Name, Build, Image string
	Test               repoconfig.Test
	// Service is the compose service that runs as the test; empty for a plain container.
	Service string `json:",omitempty"`
	// Pod is that service's pod.
	Pod *corev1.PodTemplateSpec `json:",omitempty"`
	// Pending means that the image of that service was unknown when the plan was made.
	Pending bool `json:",omitempty"`
}

// usual are the names of compose services and images for tests that a suite need not name. Docker Hub uses sut.
var usual = []string{"tests", "test", "sut"}

// addSuites collects the suites that the run requests, or all. Services that run as tests in other suites are not part of the stack either.
func (m *maker) addSuites() error {
	only := m.in.Run.Spec.Suites
	m.tests = map[string]compose.TestService{}
	for _, name := range m.config.Suites() {
		s := Suite{Name: name, Test: m.config.Tests[name]}
		isRequested := len(only) == 0 || slices.Contains(only, name)
		isClear := m.findService(&s, isRequested)
		if isRequested {
			if isClear {
				m.findImage(&s)
			}
			m.plan.Suites = append(m.plan.Suites, s)
		}
		if s.Service != "" && s.Test.Run == "" {
			m.addTest(s, isRequested)
		}
	}
	for i := range m.plan.Suites {
		m.addRun(&m.plan.Suites[i])
	}
	for _, name := range only {
		if _, ok := m.config.Tests[name]; !ok {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The suite %q does not exist. %s has %s",
				name, ConfigFile, strings.Join(m.config.Suites(), ", "))
		}
	}
	return m.refused(v1alpha1.ReasonInvalidConfig)
}

// addTest adds the pods of a suite to those of its service.
func (m *maker) addTest(s Suite, isRequested bool) {
	t, isShared := m.tests[s.Service]
	if isShared {
		t.Sets = slices.DeleteFunc(t.Sets, func(name string) bool { _, ok := s.Test.Env[name]; return !ok })
	} else {
		t.Sets = slices.Sorted(maps.Keys(s.Test.Env))
	}
	if isRequested {
		t.Pods += s.Test.Shards
	}
	m.tests[s.Service] = t
}

// addRun adds a suite with the key run, whose service is part of the stack.
func (m *maker) addRun(s *Suite) {
	if s.Test.Run == "" {
		return
	}
	t, ok := m.tests[s.Service]
	if ok && !t.InStack {
		m.problem("tests."+s.Name+".run", "the service %s is another suite and so not part of the stack. Use run in all its suites, or service in all",
			s.Service)
		return
	}
	t.InStack = true
	m.tests[s.Service] = t
	m.addTest(*s, true)
}

// inactiveServices are the services that suites of this run use and that no active profile enables.
func (m *maker) inactiveServices() []string {
	inactive := m.project.Inactive()
	var out []string
	for _, name := range m.config.Suites() {
		t := m.config.Tests[name]
		if only := m.in.Run.Spec.Suites; len(inactive) == 0 || len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		wanted := []string{t.Service, t.Run}
		if t.Service == "" && t.Run == "" && t.Image == "" {
			wanted = m.inactiveCandidates(name, inactive)
		}
		for _, service := range wanted {
			if slices.Contains(inactive, service) && !slices.Contains(out, service) {
				out = append(out, service)
			}
		}
	}
	return out
}

// inactiveCandidates are the inactive services that a suite is if it names none. An active one has priority.
func (m *maker) inactiveCandidates(suite string, inactive []string) []string {
	for _, names := range m.candidates(suite) {
		if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(m.project.Services(), name) }) {
			return nil
		}
		found := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(inactive, name) || m.project.Opens(name) })
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// candidates are the services that a suite may be if it names none, in groups: the first group with a service decides.
func (m *maker) candidates(suite string) [][]string {
	if _, ok := m.config.Build.Images[suite]; ok {
		return [][]string{{suite}}
	}
	return [][]string{{suite}, usual}
}

// findService finds the compose service that a suite runs as. Of one that is part of the stack it only uses the image, if that is built here.
// It reports whether there is at most one candidate.
func (m *maker) findService(s *Suite, isRequested bool) bool {
	if s.Service = cmp.Or(s.Test.Service, s.Test.Run); s.Service != "" || s.Test.Image != "" {
		return true
	}
	passedOver := ""
	for _, names := range m.candidates(s.Name) {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(m.project.Services(), name) })
		if len(names) > 1 {
			if isRequested {
				m.problem("tests."+s.Name, "the compose files have the services %s, and each of them may be the test. "+
					"Name one of them, such as service: %s", strings.Join(names, " and "), names[0])
			}
			return false
		} else if len(names) == 0 {
			continue
		}
		why := m.partOfStack(names[0])
		build := m.serviceBuilds[names[0]]
		if why == "" {
			s.Service = names[0]
		} else if build != "" {
			s.Build = build
			if isRequested {
				m.note("tests."+s.Name, "it uses the image of the service %s, but not its environment and volumes, since %s. "+
					"To use these as well, set run: %s, or service: %s to take the service out of the stack", names[0], why, names[0], names[0])
			}
		} else {
			passedOver = cmp.Or(passedOver, names[0])
			continue
		}
		return true
	}
	if passedOver != "" && isRequested {
		m.note("tests."+s.Name, "it does not run as the service %s, which is part of the stack, since %s. "+
			"To run it as that service, set service: %[1]s, which takes it out of the stack, or run: %[1]s", passedOver, m.partOfStack(passedOver))
	} else if like := m.likeTest(s.Name); like != "" && isRequested {
		m.note("tests."+s.Name, "it does not run as the service %s, which is started as a part of the stack. If that is the test, set service: %[1]s", like)
	}
	return true
}

// likeTest is a service whose name has a word for tests, for a suite that names no image; "" if there is none.
func (m *maker) likeTest(suite string) string {
	words := append([]string{suite, "e2e"}, usual...)
	if slices.ContainsFunc(words, func(name string) bool { _, ok := m.config.Build.Images[name]; return ok }) {
		return ""
	}
	for _, service := range m.project.Services() {
		parts := strings.FieldsFunc(strings.ToLower(service), func(r rune) bool { return strings.ContainsRune("-_.", r) })
		if slices.ContainsFunc(parts, func(part string) bool { return slices.Contains(words, part) }) && m.partOfStack(service) == "" {
			return service
		}
	}
	return ""
}

// partOfStack explains why a service cannot be a test by its name alone; "" if it can.
func (m *maker) partOfStack(service string) string {
	if m.project.Opens(service) {
		return "it publishes or exposes ports"
	}
	if by := m.project.Dependants(service); len(by) > 0 {
		return "other services need it: " + strings.Join(by, ", ")
	}
	return ""
}

// findImage finds the source of a suite's image: what its keys name (a build, a compose service, a reference), else the compose service that
// findService found, else an image for tests, else Dockerfile.test, else Dockerfile.
func (m *maker) findImage(s *Suite) {
	path := "tests." + s.Name
	switch t := s.Test; {
	case s.Service != "":
		m.useService(s, path+map[bool]string{true: ".service", false: ".run"}[t.Run == ""])
		return
	case t.Image != "":
		m.findNamedImage(s, t.Image)
		return
	case s.Build != "":
		return
	}
	for _, name := range append([]string{s.Name}, usual...) {
		if _, ok := m.config.Build.Images[name]; ok {
			s.Build = name
			return
		}
	}
	for _, file := range []string{"Dockerfile.test", "Dockerfile"} {
		if m.has(file) {
			s.Build = m.addTestBuild(file)
			return
		}
	}
	names := "tests, test or sut"
	if !slices.Contains(usual, s.Name) {
		names = s.Name + ", " + names
	}
	m.problem(path, "there is no image: the suite names none, the compose files have no service %s that could be the test, and the "+
		"repository's root has neither Dockerfile.test nor Dockerfile. Set %s.image, %s.service or %s.run", names, path, path, path)
}

// useService sets the image of a suite that runs as a compose service.
func (m *maker) useService(s *Suite, path string) {
	if !slices.Contains(m.project.Services(), s.Service) {
		m.unknownService(path, s.Service)
		return
	}
	if s.Build = m.serviceBuilds[s.Service]; s.Build == "" {
		s.Image, _ = m.project.Image(s.Service)
	}
	by := slices.DeleteFunc(m.project.Dependants(s.Service), func(name string) bool { return m.isTest(name) })
	if s.Test.Service != "" && len(by) > 0 {
		m.problem(path, "the service %s has to be part of the stack, since other services need it: %s. Use run: %s",
			s.Service, strings.Join(by, ", "), s.Service)
	}
	if len(s.Test.Command.Argv()) > 0 && m.project.HasEntrypoint(s.Service) {
		m.note("tests."+s.Name+".command", "it also replaces the entrypoint of the service %s. To keep that, write it into the command", s.Service)
	}
}

// isTest reports whether a suite names a service with the key service.
func (m *maker) isTest(service string) bool {
	for _, t := range m.config.Tests {
		if t.Service == service {
			return true
		}
	}
	return false
}

// findNamedImage resolves tests.NAME.image.
func (m *maker) findNamedImage(s *Suite, name string) {
	if m.hasBuild(name) {
		s.Build = name
	} else if b, ok := m.serviceBuilds[name]; ok {
		s.Build = b
	} else if image, ok := m.project.Image(name); ok {
		s.Image = image
	} else if b, ok := m.buildOf(name); ok {
		s.Build = b
	} else {
		s.Image = name
		m.noteBareImage(s)
	}
}

// noteBareImage notes an image without registry, tag and digest: such a name may be that of a service or build, mistyped.
func (m *maker) noteBareImage(s *Suite) {
	if strings.ContainsAny(s.Image, ":/@") {
		return
	}
	hint := ""
	if near := nearest.Word(s.Image, slices.Concat(slices.Sorted(maps.Keys(m.config.Build.Images)), m.project.Services())); near != "" {
		hint = "; did you mean " + near + "?"
	}
	m.note("tests."+s.Name+".image", "%s is neither in build.images nor a service: it is pulled as docker.io/library/%s%s", s.Image, s.Image, hint)
}

// addTestBuild adds the build of a Dockerfile in the root, unless the plan already has it.
func (m *maker) addTestBuild(file string) string {
	names, keys := map[string]bool{}, map[string]string{}
	for _, b := range m.plan.Builds {
		names[b.Name] = true
		if key := b.key(); keys[key] == "" {
			keys[key] = b.Name
		}
	}
	return m.addBuild(Build{Name: "tests", Context: ".", Dockerfile: file}, names, keys)
}

// finishSuite completes a suite from the converted stack.
func (m *maker) finishSuite(s *Suite, stack *compose.Stack, o compose.Options) {
	m.rename(s, stack)
	if s.Service == "" {
		if s.Build == "" {
			if why := compose.RefusesImage(s.Image, o); why != "" {
				m.problem("tests."+s.Name+".image", "%s", why)
			}
		}
		return
	}
	i := slices.IndexFunc(stack.Tests, func(t compose.Test) bool { return t.Service == s.Service })
	s.Pod = &stack.Tests[i].Template
	s.Pending = len(m.pending(compose.Service{Name: s.Service})) > 0
	if s.Build == "" {
		s.Image = stack.Tests[i].Image
	}
}

// podOf returns the pod template of a workload; nil for other kinds.
func podOf(workload client.Object) *corev1.PodSpec {
	switch w := workload.(type) {
	case *appsv1.Deployment:
		return &w.Spec.Template.Spec
	case *batchv1.Job:
		return &w.Spec.Template.Spec
	}
	return nil
}

// rename replaces names in a suite that cannot be names of Services, with a note for each, and for others that do not resolve.
func (m *maker) rename(s *Suite, stack *compose.Stack) {
	note := func(field string, changes []string) {
		for _, c := range changes {
			m.note("tests."+s.Name+"."+field, "%s", c)
		}
	}
	var changes []string
	s.Test.Command.Shell, changes = stack.Renamed(s.Service, s.Test.Command.Shell, "")
	note("command", changes)
	s.Test.Command.Args, changes = stack.RenamedArgs(s.Service, s.Test.Command.Args)
	note("command", changes)
	s.Test.Env = maps.Clone(s.Test.Env)
	for _, k := range slices.Sorted(maps.Keys(s.Test.Env)) {
		s.Test.Env[k], changes = stack.Renamed(s.Service, s.Test.Env[k], k)
		note("env."+k, changes)
	}
}

// Argv is the command that the wrapper runs: the suite's, else that of the compose service that runs as the test, else the image's own. As
// in Docker, an entrypoint of the service discards the image's command. own is the image's configuration; if it is needed and nil, so is
// the result.
func (s *Suite) Argv(own *compose.ImageConfig) []string {
	if argv := jobs.Literal(s.Test.Command.Argv()); len(argv) > 0 {
		return argv
	}
	var args []string
	if s.Pod != nil {
		c := s.Pod.Spec.Containers[0]
		if len(c.Command) > 0 {
			return slices.Concat(c.Command, c.Args)
		}
		args = c.Args
	}
	if own == nil {
		return nil
	}
	if len(args) == 0 {
		args = jobs.Literal(own.Cmd)
	}
	return slices.Concat(jobs.Literal(own.Entrypoint), args)
}

// Offline is the command of a suite where its image's configuration is unknown, with a placeholder for what the image defines.
func (s *Suite) Offline() []string {
	if argv := s.Argv(nil); len(argv) > 0 {
		return argv
	}
	if s.Pod != nil && len(s.Pod.Spec.Containers[0].Args) > 0 {
		return append([]string{"ENTRYPOINT-OF-THE-IMAGE"}, s.Pod.Spec.Containers[0].Args...)
	}
	return []string{"WHAT-THE-IMAGE-RUNS"}
}

// TestJob returns the Job of one attempt of one shard of a suite. argv is the result of Argv.
func (p *Plan) TestJob(s *Suite, shard, number int, image string, argv []string) *batchv1.Job {
	in := jobs.TestInput{
		Run: p.run, Key: evidence.AttemptKey{Suite: s.Name, Shard: shard, Number: number}, Shards: s.Test.Shards,
		Image: image, Wrapper: p.settings.Image, Argv: argv, Env: s.Test.Env,
		Timeout: s.Test.Timeout.Duration, Wait: p.run.Spec.Ceilings.RunTimeout.Duration,
		JUnit: s.Test.Reports.JUnit, Artifacts: s.Test.Artifacts, PullSecret: p.pullSecret(), Template: s.Pod,
	}
	if len(in.JUnit) == 0 {
		in.JUnit, in.JUnitGuess = repoconfig.DefaultJUnit, true
	}
	return jobs.Test(in)
}
