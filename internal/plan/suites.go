package plan

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
)

// Suite is one suite of tests and the source of its image: a build, or a reference as written in the file.
type Suite struct {
	Name, Build, Image string
	Test               repoconfig.Test
	// Pod is the pod of the compose service that runs as the test; nil for a plain container.
	Pod *corev1.PodSpec `json:",omitempty"`
	// Pending means that the image of that service was unknown when the plan was made.
	Pending bool `json:",omitempty"`
}

// addSuites collects the suites that the run requests, or all.
func (m *maker) addSuites() error {
	only := m.in.Run.Spec.Suites
	for _, name := range m.config.Suites() {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		s := Suite{Name: name, Test: m.config.Tests[name]}
		if err := m.findImage(&s); err != nil {
			return err
		}
		m.plan.Suites = append(m.plan.Suites, s)
	}
	for _, name := range only {
		if _, ok := m.config.Tests[name]; !ok {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The suite %q does not exist. %s has %s",
				name, ConfigFile, strings.Join(m.config.Suites(), ", "))
		}
	}
	return nil
}

// findImage finds the source of a suite's image: what its service or image key names (a build, a compose service, a reference), else a
// compose service for tests, else Dockerfile.test, else Dockerfile.
func (m *maker) findImage(s *Suite) error {
	if name := s.Test.Service; name != "" {
		if b, ok := m.serviceBuilds[name]; ok {
			s.Build = b
		} else if image, ok := m.project.Image(name); ok {
			s.Image = image
		} else {
			return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "tests.%s.service: the service %s does not exist. The compose files have %s",
				s.Name, name, strings.Join(m.project.Services(), ", "))
		}
		return nil
	}
	if name := s.Test.Image; name != "" {
		m.findNamedImage(s, name)
		return nil
	}
	for _, name := range []string{s.Name, "tests", "test", "sut"} {
		if b, ok := m.serviceBuilds[name]; ok {
			s.Build = b
			return nil
		}
		if m.hasBuild(name) {
			s.Build = name
			return nil
		}
	}
	for _, file := range []string{"Dockerfile.test", "Dockerfile"} {
		if st, err := os.Stat(filepath.Join(m.in.Dir, file)); err == nil && st.Mode().IsRegular() {
			s.Build = m.addTestBuild(file)
			return nil
		}
	}
	return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil,
		"tests.%s has no image: it names none, the compose files build no service %s, tests, test or sut, and the repository's root has neither "+
			"Dockerfile.test nor Dockerfile. Set tests.%s.image or tests.%s.service", s.Name, s.Name, s.Name, s.Name)
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
	}
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
func (m *maker) finishSuite(s *Suite, stack *compose.Stack, o compose.Options) error {
	m.plan.Notes = append(m.plan.Notes, s.rename(stack)...)
	if s.Test.Service == "" {
		if s.Build == "" {
			if why := compose.RefusesImage(s.Image, o); why != "" {
				return failure.Terminalf(v1alpha1.ReasonRefused, nil, "tests.%s.image: %s", s.Name, why)
			}
		}
		return nil
	}
	i := slices.IndexFunc(stack.Services, func(svc compose.Service) bool { return svc.Name == s.Test.Service })
	if i >= 0 {
		s.Pod = podOf(stack.Services[i].Workload)
	}
	if s.Pod == nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "tests.%s.service: the compose files have no service %s that can run as a test", s.Name, s.Test.Service)
	}
	s.Pending = len(m.pending(compose.Service{Name: s.Test.Service})) > 0
	if s.Build == "" {
		s.Image = stack.Services[i].Image
	}
	return nil
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

// rename replaces names in a suite that cannot be names of Services, and returns a note for each.
func (s *Suite) rename(stack *compose.Stack) (notes []string) {
	renamed := func(text, variable, field string) string {
		text, changes := stack.Renamed(text, variable)
		for _, c := range changes {
			notes = append(notes, fmt.Sprintf("%s: note: tests.%s.%s: %s", ConfigFile, s.Name, field, c))
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

// Argv is the command that the wrapper runs: the suite's, else that of the compose service that runs as the test, else the image's own. As
// in Docker, an entrypoint of the service discards the image's command. own is the image's configuration; if it is needed and nil, so is
// the result.
func (s *Suite) Argv(own *compose.ImageConfig) []string {
	if argv := jobs.Literal(s.Test.Command.Argv()); len(argv) > 0 {
		return argv
	}
	var args []string
	if s.Pod != nil {
		c := s.Pod.Containers[0]
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
