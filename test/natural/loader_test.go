//go:build natural

package natural

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestVerdictsAreComposes compares the verdicts of projects that run with what docker compose's own loader makes of them, as far as it
// decides.
func TestVerdictsAreComposes(t *testing.T) {
	verdicts, err := ReadVerdicts("verdicts")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range verdicts {
		dir, err := filepath.Abs(filepath.Join(os.Getenv("NATURAL"), name))
		if err != nil {
			t.Fatal(err)
		}
		if v.Outcome == refused || !exists(dir, ".") {
			continue
		}
		p := load(t, dir)
		want, got := map[string]Service{}, map[string]Service{}
		for service, s := range v.Services {
			if s.Is != NotStarted {
				want[service] = decided(s)
			}
		}
		for service, s := range p.Services {
			got[service] = composeService(p, s, dir)
		}
		if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-compose +verdict):\n%s", name, diff)
		}
	}
}

// load loads a project as docker compose does, in a shell that has no variable but PWD.
func load(t *testing.T, dir string) *types.Project {
	t.Helper()
	config, err := readConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files, envFiles []string
	for _, f := range config.Stack.Compose {
		files = append(files, filepath.Join(dir, f))
	}
	for _, f := range config.Stack.EnvFile {
		envFiles = append(envFiles, filepath.Join(dir, f))
	}
	env := []string{"PWD=ANY"}
	for k, v := range config.Stack.Env {
		env = append(env, k+"="+v)
	}
	options, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory(dir), cli.WithName("natural"), cli.WithEnv(env),
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithProfiles(config.Stack.Profiles))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decided is the part of a verdict on which the loader decides.
func decided(s Service) Service {
	out := Service{
		Entrypoint: s.Entrypoint, Command: s.Command, Workdir: s.Workdir, User: s.User, Env: s.Env, Health: s.Health, Mounts: map[string]Mount{},
		After: s.After, Ports: slices.Sorted(slices.Values(s.Ports)), Image: s.Image,
	}
	if s.Build != nil {
		out.Build = &Build{Context: s.Build.Context, Target: s.Build.Target, Args: s.Build.Args}
	}
	for target, m := range s.Mounts {
		out.Mounts[target] = Mount{Kind: m.Kind, Path: m.Path, RO: m.RO}
	}
	return out
}

// composeService is a service as the loader has it.
func composeService(p *types.Project, s types.ServiceConfig, dir string) Service {
	out := Service{
		Entrypoint: s.Entrypoint, Command: s.Command, Workdir: s.WorkingDir, User: s.User, Env: map[string]string{}, Mounts: map[string]Mount{},
		After: map[string]string{}, Build: composeBuild(p, s, dir),
	}
	if out.Build == nil {
		out.Image = s.Image
	}
	for k, v := range s.Environment {
		if v != nil {
			out.Env[k] = *v
		}
	}
	for other, d := range s.DependsOn {
		out.After[other] = conditions[d.Condition]
	}
	for _, port := range s.Ports {
		out.Ports = append(out.Ports, int32(port.Target))
	}
	for _, e := range s.Expose {
		if port, err := strconv.ParseInt(e, 10, 32); err == nil {
			out.Ports = append(out.Ports, int32(port))
		}
	}
	slices.Sort(out.Ports)
	for _, m := range s.Volumes {
		out.Mounts[path.Clean(m.Target)] = composeMount(m, dir)
	}
	if s.ShmSize > 0 {
		out.Mounts["/dev/shm"] = Mount{Kind: "tmpfs"}
	}
	if h := s.HealthCheck; h != nil && len(h.Test) > 1 {
		out.Health = h.Test[1:]
		if h.Test[0] == "CMD-SHELL" {
			out.Health = []string{"/bin/sh", "-c", h.Test[1]}
		}
	}
	return out
}

// composeBuild is the build of a service, or that of another whose image has the same name.
func composeBuild(p *types.Project, s types.ServiceConfig, dir string) *Build {
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		if o := p.Services[name]; s.Build == nil && o.Build != nil && o.Image != "" && o.Image == s.Image {
			s.Build = o.Build
		}
	}
	if s.Build == nil {
		return nil
	}
	context, err := filepath.Rel(dir, s.Build.Context)
	if err != nil {
		return nil
	}
	out := &Build{Context: context, Target: s.Build.Target, Args: map[string]string{}}
	for k, v := range s.Build.Args {
		if v != nil {
			out.Args[k] = *v
		}
	}
	return out
}

func composeMount(m types.ServiceVolumeConfig, dir string) Mount {
	out := Mount{Kind: m.Type, Path: m.Source, RO: m.ReadOnly}
	rel, err := filepath.Rel(dir, m.Source)
	switch {
	case m.Type != types.VolumeTypeBind || err != nil:
	case !filepath.IsLocal(rel):
		out.Kind = "host"
	case exists(dir, rel):
		out.Kind, out.Path = "files", rel
	default:
		out.Kind, out.Path = "empty", rel
	}
	return out
}
