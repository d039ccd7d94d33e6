package compose

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// TestService is how a service runs as a test.
type TestService struct {
	// Pods is the number of its pods, of all suites and shards together. 0 means that no test of this run needs one.
	Pods int
	// InStack means that the service is also a part of the stack, as with `docker compose run`.
	InStack bool
	// Sets are the variables that each of its suites sets.
	Sets []string
}

// Test is the pod of a service that runs as a test.
type Test struct {
	// Service is the service's name, Image the reference that its container runs.
	Service, Image string
	// Template has the labels that network policies and volumes select; Services do not select them. The first container is the test.
	Template corev1.PodTemplateSpec
}

// labelTest marks the pods of a service that runs as a test.
const labelTest = "test.conductor.digitalservic.es/service"

// enable removes the profiles of the named services and of the services that they need and that share a profile with them: docker compose
// enables what its command line names.
func enable(model map[string]any, names []string) {
	services, _ := model["services"].(map[string]any)
	for next := slices.Clone(names); len(next) > 0; next = next[1:] {
		service, _ := services[next[0]].(map[string]any)
		profiles, _ := service["profiles"].([]any)
		if len(profiles) == 0 {
			continue
		}
		delete(service, "profiles")
		needs, _ := service["depends_on"].(map[string]any)
		for name := range needs {
			other, _ := services[name].(map[string]any)
			theirs, _ := other["profiles"].([]any)
			if slices.ContainsFunc(theirs, func(p any) bool { return slices.Contains(profiles, p) }) {
				next = append(next, name)
			}
		}
	}
}

// Inactive are the names of the services that no active profile enables, sorted.
func (p *Project) Inactive() []string {
	var out []string
	for name, s := range p.compose.DisabledServices {
		if e, _, _ := extensionOf(s); !e.ignore {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Opens reports whether a service, active or not, publishes or exposes ports.
func (p *Project) Opens(service string) bool {
	s, ok := p.compose.Services[service]
	if !ok {
		s = p.compose.DisabledServices[service]
	}
	return len(s.Ports)+len(s.Expose) > 0
}

// HasEntrypoint reports whether an active service replaces its image's entrypoint.
func (p *Project) HasEntrypoint(service string) bool {
	return len(p.compose.Services[service].Entrypoint) > 0
}

// Dependants are the active services that need a service: by depends_on, links, volumes_from or a shared namespace.
func (p *Project) Dependants(service string) []string {
	container := p.compose.Services[service].ContainerName
	var out []string
	for _, name := range p.compose.ServiceNames() {
		s := p.compose.Services[name]
		d, needs := s.DependsOn[service]
		uses := func(ref string) bool {
			ref, ok := strings.CutPrefix(ref, types.ContainerPrefix)
			ref, _, _ = strings.Cut(ref, ":")
			return ok && container != "" && ref == container
		}
		if needs && d.Required || uses(s.NetworkMode) || slices.ContainsFunc(s.VolumesFrom, uses) {
			out = append(out, name)
		}
	}
	return out
}

// Refusal is a refusal at a key of an active service.
func (p *Project) Refusal(service string, key []string, reason string) Finding {
	at := p.sources.find("", append([]string{"services", service}, key...)...)
	return Finding{File: at.file, Line: at.line, Level: LevelRefused, Service: service, Field: strings.Join(key, "."), Outcome: Refused, Reason: reason}
}

// isTestOnly reports whether a service runs as a test and is not a part of the stack.
func (c *converter) isTestOnly(service string) bool {
	t, ok := c.o.Tests[service]
	return ok && !t.InStack
}

// podsOf is the number of pods with a service's container.
func (c *converter) podsOf(s types.ServiceConfig) int {
	n := c.o.Tests[s.Name].Pods
	if !c.isTestOnly(s.Name) {
		n += s.GetScale()
	}
	return n
}

// tests converts the services that run as tests.
func (c *converter) tests() []Test {
	var out []Test
	for _, name := range slices.Sorted(maps.Keys(c.o.Tests)) {
		s, ok := c.services[name]
		if t := c.o.Tests[name]; ok && t.Pods > 0 && !c.refuseShared(s) {
			out = append(out, c.test(s, t))
		}
	}
	return out
}

// refuseShared refuses a test in the namespace of another service, and reports whether it did. In that service's pod it would be started
// and restarted with the service.
func (c *converter) refuseShared(s types.ServiceConfig) bool {
	to, isService := strings.CutPrefix(s.NetworkMode, types.ServicePrefix)
	container, isContainer := strings.CutPrefix(s.NetworkMode, types.ContainerPrefix)
	switch {
	case isContainer:
		to = c.serviceByContainerName(container)
	case !isService:
		return false
	}
	if _, ok := c.compose.Services[to]; !ok {
		c.refuse(s.Name, "network_mode", "", "%s does not name a service of the stack that has a network", s.NetworkMode)
		return true
	}
	c.refuse(s.Name, "network_mode", "", "%s runs as a test, which has a pod of its own, so it cannot use the network of %s. "+
		"Remove network_mode, and write %s instead of localhost: %s", s.Name, to, c.names[to], c.addressOf(to))
	return true
}

// addressOf is an address of a service for people: with its port, if it has just one.
func (c *converter) addressOf(service string) string {
	s := c.compose.Services[service]
	if len(s.Ports) == 1 && len(s.Expose) == 0 {
		s.Expose = []string{strconv.FormatUint(uint64(s.Ports[0].Target), 10)}
	}
	if len(s.Expose) == 1 && !strings.ContainsAny(s.Expose[0], "-/") {
		return "http://" + c.names[service] + ":" + s.Expose[0]
	}
	return "http://" + c.names[service] + ":PORT"
}

// test converts a service to the pod of a test. What is for services alone is left out: ports, health, restarts and, if the service is up
// as well, its hooks.
func (c *converter) test(s types.ServiceConfig, t TestService) Test {
	s.Ports, s.Expose = nil, nil
	if t.InStack {
		s.PreStart, s.PostStart, s.PreStop = nil, nil, nil
	} else {
		c.noteTest(s)
	}
	s.Restart, s.Scale, s.Deploy = "", nil, resourcesOf(s.Deploy)
	u := c.unit(s, c.names[s.Name])
	u.isTest, u.isCopy, u.labels = true, t.InStack, map[string]string{labelTest: c.names[s.Name]}
	u.out = Service{Name: s.Name, Object: u.name, Replicas: 1}
	u.image = u.ownImage()
	u.out.Image = u.image
	u.fill(u.name)
	u.container.Ports, u.container.LivenessProbe, u.container.ReadinessProbe, u.container.StartupProbe = nil, nil, nil, nil
	u.preStart()
	u.networks()
	u.dependencies() // for its findings
	u.assemble()
	c.totals.pods++
	out := Test{Service: s.Name, Image: u.image, Template: u.template()}
	if size := out.Template.Size(); size > maxObject {
		c.refuse(s.Name, "", "", "the pod of the test has %s; the API server takes objects of at most %s. "+
			"Its variables, commands and mounts are too long", bytesOf(int64(size)), bytesOf(maxObject))
	}
	return out
}

// resourcesOf is deploy without replicas and restarts; nil if nothing else is left.
func resourcesOf(d *types.DeployConfig) *types.DeployConfig {
	if d == nil {
		return nil
	}
	out := *d
	out.Replicas, out.RestartPolicy = nil, nil
	return &out
}

// noteTest reports settings of a service that do not apply to it as a test.
func (c *converter) noteTest(s types.ServiceConfig) {
	if n := s.GetScale(); n > 1 {
		field := "scale"
		if s.Scale == nil {
			field = "deploy.replicas"
		}
		c.note(s.Name, field, "", "the service runs as a test, once and not %d times: the suite's shards are its number of pods", n)
	}
	switch policy, _, _ := strings.Cut(s.Restart, ":"); policy {
	case types.RestartPolicyAlways, types.RestartPolicyUnlessStopped, types.RestartPolicyOnFailure:
		c.report(LevelInfo, Dropped, s.Name, "restart", "",
			"the service runs as a test and is not restarted when it ends: the suite's retry repeats what failed")
	}
}
