package compose

import (
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

var (
	lowerCase     = regexp.MustCompile(`^[a-z]+$`)
	containerLike = regexp.MustCompile(`[a-zA-Z0-9][a-zA-Z0-9_.-]+`)
)

// consistent reports whether compose-go would find no fault with how the parts of a project go together.
func consistent(p *types.Project) bool {
	for _, all := range []types.Services{p.Services, p.DisabledServices} {
		for _, s := range all {
			if s.ContainerName != "" && !containerLike.MatchString(s.ContainerName) {
				return false
			}
		}
	}
	for name, s := range p.Services {
		if !hasRunnable(s) || !knowsAll(p, s) || !numbersAgree(s) || !mountsOnce(s) {
			return false
		}
		p.Services[name] = s
	}
	return ordered(p)
}

func hasRunnable(s types.ServiceConfig) bool {
	if s.Build == nil && s.Image == "" || s.Build != nil && s.Build.DockerfileInline != "" && s.Build.Dockerfile != "" {
		return false
	}
	if s.HealthCheck != nil && len(s.HealthCheck.Test) > 0 {
		switch s.HealthCheck.Test[0] {
		case "CMD", "CMD-SHELL", "NONE":
		default:
			return false
		}
	}
	return true
}

// knowsAll reports whether everything that a service names is there.
func knowsAll(p *types.Project, s types.ServiceConfig) bool {
	if s.NetworkMode != "" && len(s.Networks) > 0 {
		return false
	}
	for network := range s.Networks {
		if _, ok := p.Networks[network]; !ok {
			return false
		}
	}
	for dep, d := range s.DependsOn {
		if _, ok := p.Services[dep]; ok {
			continue
		}
		if _, ok := p.DisabledServices[dep]; !ok || d.Required {
			return false
		}
	}
	if to, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix); ok && p.Services[to].Name == "" {
		return false
	}
	for _, v := range s.Volumes {
		if _, ok := p.Volumes[v.Source]; !ok && v.Type == types.VolumeTypeVolume && v.Source != "" {
			return false
		}
	}
	for _, c := range s.Configs {
		if _, ok := p.Configs[c.Source]; !ok {
			return false
		}
	}
	for _, c := range s.Secrets {
		if _, ok := p.Secrets[c.Source]; !ok {
			return false
		}
	}
	return true
}

// numbersAgree reports whether what can be set in two places is not set differently. The number of pods is then set in both.
func numbersAgree(s types.ServiceConfig) bool {
	if s.Scale != nil && *s.Scale < 0 || s.GetScale() > 1 && s.ContainerName != "" {
		return false
	}
	d := s.Deploy
	if d == nil {
		return true
	}
	if d.Replicas != nil && (*d.Replicas < 0 || s.Scale != nil && *s.Scale != *d.Replicas) {
		return false
	}
	if s.Scale != nil {
		d.Replicas = s.Scale
	}
	limits, reserved := d.Resources.Limits, d.Resources.Reservations
	if limits != nil && (s.CPUS != 0 && limits.NanoCPUs.Value() != s.CPUS || s.MemLimit != 0 && limits.MemoryBytes != s.MemLimit ||
		s.PidsLimit != 0 && limits.Pids != s.PidsLimit) {
		return false
	}
	return reserved == nil || s.MemReservation == 0 || reserved.MemoryBytes == s.MemReservation
}

// mountsOnce reports whether a service mounts one thing at each target.
func mountsOnce(s types.ServiceConfig) bool {
	seen := map[string]bool{}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		if seen[target] {
			return false
		}
		seen[target] = true
	}
	for _, v := range s.Volumes {
		if seen[v.Target] {
			return false
		}
		seen[v.Target] = true
	}
	return true
}

// ordered reports whether no service waits for itself in the end.
func ordered(p *types.Project) bool {
	const begun, done = 1, 2
	state := map[string]int{}
	var visit func(name string) bool
	visit = func(name string) bool {
		if state[name] != 0 {
			return state[name] == done
		}
		state[name] = begun
		for dep := range p.Services[name].DependsOn {
			if _, ok := p.Services[dep]; ok && !visit(dep) {
				return false
			}
		}
		state[name] = done
		return true
	}
	for name := range p.Services {
		if !visit(name) {
			return false
		}
	}
	return true
}
