package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// maxNeighbors is how many compose files besides those of the project are searched for a service.
const maxNeighbors = 10

// references checks a project for what compose-go's own check would refuse, and finds all of it.
type references struct {
	*reader
	p *types.Project
	// neighbors maps services to the file that defines them, of the compose files that are not loaded; nil until they are read.
	neighbors map[string]string
}

// checkReferences refuses what services need and the files do not define, and fields that exclude each other.
func (r *reader) checkReferences(p *types.Project) {
	c := &references{reader: r, p: p}
	for _, name := range p.ServiceNames() {
		s := p.Services[name]
		c.image(s)
		c.definitions(s)
		c.dependencies(s)
		c.conflicts(s)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
		if s := p.Secrets[name]; !bool(s.External) && s.File == "" && s.Environment == "" {
			c.refuse(r.sources.find("", "secrets", name), "", "secrets."+name, "the secret needs file or environment")
		}
	}
	c.cycles()
}

// fault refuses a field of a service. Hint is in the item of a list at fault.
func (c *references) fault(service, field, hint, format string, args ...any) {
	path := append([]string{"services", service}, strings.Split(field, ".")...)
	c.refuse(c.sources.find(hint, path...), service, field, format, args...)
}

func (c *references) image(s types.ServiceConfig) {
	if s.Build == nil && s.Image == "" && s.Provider == nil {
		c.fault(s.Name, "image", "", "there is no image: a service needs image or build")
	}
}

// definitions checks that the top level has what a service uses of it.
func (c *references) definitions(s types.ServiceConfig) {
	for _, n := range slices.Sorted(maps.Keys(s.Networks)) {
		undefined(c, s.Name, "networks", n, "network", c.p.Networks)
	}
	for _, v := range s.Volumes {
		switch {
		case v.Type != types.VolumeTypeVolume || v.Source == "":
		case strings.Contains(v.Source, "/"):
			c.fault(s.Name, "volumes", v.Source, "%s is the name of a volume, which has no slashes: for a path of the repository write ./%[1]s", v.Source)
		default:
			undefined(c, s.Name, "volumes", v.Source, "volume", c.p.Volumes)
		}
	}
	for _, v := range s.Configs {
		undefined(c, s.Name, "configs", v.Source, "config", c.p.Configs)
	}
	for _, v := range s.Secrets {
		undefined(c, s.Name, "secrets", v.Source, "secret", c.p.Secrets)
	}
	if s.Build != nil {
		for _, v := range s.Build.Secrets {
			undefined(c, s.Name, "build.secrets", v.Source, "secret", c.p.Secrets)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(s.Models)) {
		undefined(c, s.Name, "models", m, "model", c.p.Models)
	}
}

// undefined refuses a name that is not among the definitions of the top level.
func undefined[V any](c *references, service, field, name, what string, defined map[string]V) {
	if _, ok := defined[name]; ok || c.findings.isFull(LevelRefused) {
		return
	}
	if near := nearest.Word(name, slices.Sorted(maps.Keys(defined))); near != "" {
		c.fault(service, field, name, "the %s %s is not defined; did you mean %s?", what, name, near)
		return
	}
	c.fault(service, field, name, "the %s %s is not defined: add it to %ss at the top level", what, name, what)
}

// dependencies checks that the services exist that a service depends on.
func (c *references) dependencies(s types.ServiceConfig) {
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		if _, ok := c.p.Services[name]; ok {
			continue
		}
		disabled, ok := c.p.DisabledServices[name]
		field := c.fieldOf(s, name)
		switch {
		case ok && !s.DependsOn[name].Required, c.findings.isFull(LevelRefused):
		case ok && len(disabled.Profiles) > 0 && field == "depends_on":
			c.fault(s.Name, field, name, "the service %s needs a profile: enable it with %s, or write required: false", name, c.enabling(disabled.Profiles[0]))
		case ok && len(disabled.Profiles) > 0:
			c.fault(s.Name, field, name, "the service %s needs a profile: enable it with %s", name, c.enabling(disabled.Profiles[0]))
		default:
			c.fault(s.Name, field, name, "the service %s is not defined%s", name, c.whereIs(name))
		}
	}
}

// fieldOf is the field that makes a service depend on another.
func (c *references) fieldOf(s types.ServiceConfig, on string) string {
	switch {
	case s.NetworkMode == types.ServicePrefix+on:
		return "network_mode"
	case slices.ContainsFunc(s.Links, func(l string) bool { name, _, _ := strings.Cut(l, ":"); return name == on }):
		return "links"
	case slices.ContainsFunc(s.VolumesFrom, func(v string) bool { name, _, _ := strings.Cut(v, ":"); return name == on }):
		return "volumes_from"
	}
	return "depends_on"
}

// whereIs is a hint at a service that is not defined: the nearest name, or the compose file that defines it.
func (c *references) whereIs(name string) string {
	if near := nearest.Word(name, append(c.p.ServiceNames(), slices.Sorted(maps.Keys(c.p.DisabledServices))...)); near != "" {
		return "; did you mean " + near + "?"
	}
	if c.neighbors == nil {
		c.readNeighbors()
	}
	if file := c.neighbors[name]; file != "" {
		return fmt.Sprintf(": %s defines it: %s", file, c.adding(file))
	}
	return ": add it to services"
}

// readNeighbors reads which services the other compose files beside the first one define.
func (c *references) readNeighbors() {
	c.neighbors = map[string]string{}
	read := 0
	dir := filepath.Dir(c.sources.main().path)
	for _, name := range FilesIn(dir) {
		path := filepath.Join(dir, name)
		if c.sources.byPath(path) != nil || read == maxNeighbors || c.inside(path) != nil {
			continue
		}
		read++
		data, ok := c.read(path, place{file: c.rel(path)}, "", "")
		var doc yaml.Node
		if !ok || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
			continue
		}
		for k := range entries(child(doc.Content[0], "services")) {
			if c.neighbors[k.Value] == "" {
				c.neighbors[k.Value] = c.rel(path)
			}
		}
	}
}

// conflicts checks fields that exclude each other.
func (c *references) conflicts(s types.ServiceConfig) {
	if s.NetworkMode != "" && len(s.Networks) > 0 {
		c.fault(s.Name, "network_mode", "", "network_mode and networks exclude each other: remove one of them")
	}
	if b := s.Build; b != nil && b.DockerfileInline != "" && b.Dockerfile != "" {
		c.fault(s.Name, "build.dockerfile", "", "dockerfile and dockerfile_inline exclude each other: remove one of them")
	}
	if h := s.HealthCheck; h != nil && len(h.Test) > 0 && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
		c.fault(s.Name, "healthcheck.test", "", "a list begins with CMD, CMD-SHELL or NONE, and not with %s", quoted(h.Test[0]))
	}
	if s.GetScale() > 1 && s.ContainerName != "" {
		c.fault(s.Name, "container_name", "", "%d containers cannot have one name: remove container_name, or the number of replicas", s.GetScale())
	}
	if d := s.Deploy; d != nil {
		if s.Scale != nil && d.Replicas != nil && *s.Scale != *d.Replicas {
			c.differs(s.Name, "scale", "deploy.replicas")
		}
		if l := d.Resources.Limits; l != nil && s.CPUS != 0 && l.NanoCPUs.Value() != s.CPUS {
			c.differs(s.Name, "cpus", "deploy.resources.limits.cpus")
		}
		if l := d.Resources.Limits; l != nil && s.MemLimit != 0 && l.MemoryBytes != s.MemLimit {
			c.differs(s.Name, "mem_limit", "deploy.resources.limits.memory")
		}
		if l := d.Resources.Limits; l != nil && s.PidsLimit != 0 && l.Pids != s.PidsLimit {
			c.differs(s.Name, "pids_limit", "deploy.resources.limits.pids")
		}
		if l := d.Resources.Reservations; l != nil && s.MemReservation != 0 && l.MemoryBytes != s.MemReservation {
			c.differs(s.Name, "mem_reservation", "deploy.resources.reservations.memory")
		}
	}
	targets := map[string]bool{}
	for _, v := range s.Volumes {
		if targets[v.Target] {
			c.fault(s.Name, "volumes", v.Target, "%s is the target of two mounts: remove one of them", v.Target)
		}
		targets[v.Target] = true
	}
	for _, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		if targets[target] {
			c.fault(s.Name, "tmpfs", target, "%s is the target of two mounts: remove one of them", target)
		}
		targets[target] = true
	}
}

func (c *references) differs(service, field, other string) {
	c.fault(service, field, "", "it differs from %s: set one of them", other)
}

// cycles refuses the services that depend on each other, each cycle once.
func (c *references) cycles() {
	const visiting, visited = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = visiting
		path = append(path, name)
		for _, on := range slices.Sorted(maps.Keys(c.p.Services[name].DependsOn)) {
			switch state[on] {
			case visiting:
				cycle := append(slices.Clone(path[slices.Index(path, on):]), on)
				c.fault(name, c.fieldOf(c.p.Services[name], on), on, "the services depend on each other in a cycle: %s", strings.Join(shortened(cycle), " -> "))
			case 0:
				visit(on)
			}
		}
		path, state[name] = path[:len(path)-1], visited
	}
	for _, name := range c.p.ServiceNames() {
		if state[name] == 0 {
			visit(name)
		}
	}
}

// shortened leaves out the middle of a long list.
func shortened(list []string) []string {
	const most = 10
	if len(list) <= most {
		return list
	}
	return append(append(slices.Clone(list[:most/2]), "..."), list[len(list)-most/2:]...)
}
