package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// surveyShared finds the services that use another's network: their containers run in its pod.
func (c *converter) surveyShared() {
	for _, name := range c.compose.ServiceNames() {
		host := c.networkHost(name, map[string]bool{})
		if host == "" || host == name || c.isTestOnly(name) {
			continue
		}
		c.hosts[name] = host
		c.guests[host] = append(c.guests[host], name)
	}
	for guest, host := range c.hosts {
		for _, s := range []string{guest, host} {
			if c.awaited[s] {
				c.refuse(guest, "network_mode", "", "%s runs to completion, and the containers of one pod end together: it cannot share a network", s)
			}
		}
	}
}

// networkHost is the service whose network a service uses: itself if it has its own, empty if the service does not exist.
func (c *converter) networkHost(name string, seen map[string]bool) string {
	s, ok := c.compose.Services[name]
	if !ok || seen[name] {
		return ""
	}
	seen[name] = true
	if to, ok := strings.CutPrefix(s.NetworkMode, types.ServicePrefix); ok {
		return c.networkHost(to, seen)
	}
	if to, ok := strings.CutPrefix(s.NetworkMode, types.ContainerPrefix); ok {
		return c.networkHost(c.serviceByContainerName(to), seen)
	}
	return name
}

// serviceByContainerName is the service with a container_name, or empty.
func (c *converter) serviceByContainerName(name string) string {
	for _, s := range c.compose.ServiceNames() {
		if c.compose.Services[s].ContainerName == name {
			return s
		}
	}
	return ""
}

// podOf is the service in whose pod a service's container runs.
func (c *converter) podOf(service string) string {
	if host, ok := c.hosts[service]; ok {
		return host
	}
	return service
}

// members are the services whose containers run in a service's pod.
func (c *converter) members(service string) []string {
	return append([]string{service}, c.guests[service]...)
}

// edges are the dependencies of a pod's containers, by pod. A guest's dependency that itself waits for the pod is left out: the containers
// of a pod start together.
func (c *converter) edges(service string) map[string]types.ServiceDependency {
	out := map[string]types.ServiceDependency{}
	for _, member := range c.members(service) {
		for name, d := range c.compose.Services[member].DependsOn {
			to := c.podOf(name)
			if to == service || member != service && c.dependantsOf(service)[to] {
				continue
			}
			if have, ok := out[to]; ok && rank(have.Condition) >= rank(d.Condition) {
				d.Condition = have.Condition
				d.Required = d.Required || have.Required
			}
			out[to] = d
		}
	}
	return out
}

// rank orders conditions by strictness.
func rank(condition string) int {
	return slices.Index([]string{ConditionStarted, ConditionHealthy, ConditionCompleted}, condition)
}

// dependantsOf are a pod and those that start after it, by the services' own depends_on.
func (c *converter) dependantsOf(service string) map[string]bool {
	if found, ok := c.after[service]; ok {
		return found
	}
	if c.dependants == nil {
		c.dependants = map[string][]string{}
		for name, s := range c.compose.Services {
			for dep := range s.DependsOn {
				c.dependants[c.podOf(dep)] = append(c.dependants[c.podOf(dep)], name)
			}
		}
	}
	found := map[string]bool{service: true}
	for next := []string{service}; len(next) > 0; {
		for _, name := range c.dependants[next[0]] {
			if !found[name] {
				found[name] = true
				next = append(next, name)
			}
		}
		next = next[1:]
	}
	c.after[service] = found
	return found
}

// guest converts the container of a service that shares a pod.
func (c *converter) guest(name string, host *unit) *unit {
	s := c.services[name]
	c.noteSharedPod(s, host.s.Name)
	s.Hostname, s.DNS, s.DNSSearch, s.DNSOpts = "", nil, nil, nil
	g := c.unit(s, c.names[name])
	g.out = Service{Name: name, Object: g.name, Replicas: host.out.Replicas}
	g.image = g.ownImage()
	g.out.Image = g.image
	g.fill(g.name)
	g.noteKind(host.out.OneShot)
	g.preStart()
	return g
}

// join puts a guest's container into the pod.
func (u *unit) join(g *unit) {
	u.adopt(g)
	u.containers = append(u.containers, g.container)
	u.inits = append(u.inits, g.inits...)
	u.out.Shares = append(u.out.Shares, g.s.Name)
	for _, p := range g.open {
		u.addPort(p, "expose", "")
	}
	for _, p := range g.published {
		u.addPublished(p, "")
	}
	maps.Copy(u.labels, without(g.labels, u.labels))
	if g.fsGroup != nil && u.fsGroup == nil {
		u.fsGroup = g.fsGroup
	}
	u.pod.TerminationGracePeriodSeconds = new(max(*u.pod.TerminationGracePeriodSeconds, *g.pod.TerminationGracePeriodSeconds))
	for k, v := range g.pod.NodeSelector {
		if have, ok := u.pod.NodeSelector[k]; ok && have != v {
			g.refuse("platform", "", "%s, whose network it shares, runs on another platform", u.s.Name)
			continue
		}
		u.pod.NodeSelector = merged(u.pod.NodeSelector, map[string]string{k: v})
	}
	if g.pod.ShareProcessNamespace != nil && !u.pod.HostPID {
		u.pod.ShareProcessNamespace = g.pod.ShareProcessNamespace
	}
	if g.out.Probe != "" {
		u.out.Probe = strings.TrimPrefix(u.out.Probe+"; "+g.out.Probe, "; ")
	}
}

// adopt adds the volumes and pod-level settings of another unit to the pod.
func (u *unit) adopt(g *unit) {
	names := map[string]string{}
	for _, v := range g.pod.Volumes {
		names[v.Name] = u.volume(v.Name, v.VolumeSource, g.name)
	}
	for _, c := range append([]*corev1.Container{&g.container}, pointers(g.inits)...) {
		for i, m := range c.VolumeMounts {
			c.VolumeMounts[i].Name = names[m.Name]
		}
	}
	for _, claim := range g.claims {
		u.addClaim(claim)
	}
	for _, b := range g.brought {
		b.volume = names[b.volume]
		u.bring(b)
	}
	sc, add := u.pod.SecurityContext, g.pod.SecurityContext
	sc.SupplementalGroups = union(sc.SupplementalGroups, add.SupplementalGroups, func(id int64) int64 { return id })
	sc.Sysctls = union(sc.Sysctls, add.Sysctls, func(s corev1.Sysctl) corev1.Sysctl { return s })
	u.pod.HostAliases = union(u.pod.HostAliases, g.pod.HostAliases, func(h corev1.HostAlias) string { return h.IP + " " + strings.Join(h.Hostnames, " ") })
}

// union is a, and the elements of b whose key is not in it.
func union[T any, K comparable](a, b []T, key func(T) K) []T {
	if len(b) == 0 {
		return a
	}
	has := make(map[K]bool, len(a))
	for _, x := range a {
		has[key(x)] = true
	}
	for _, x := range b {
		if !has[key(x)] {
			has[key(x)] = true
			a = append(a, x)
		}
	}
	return a
}

func pointers(list []corev1.Container) []*corev1.Container {
	var out []*corev1.Container
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// without is m without the keys of other.
func without(m, other map[string]string) map[string]string {
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(k, _ string) bool { _, ok := other[k]; return ok })
	return out
}

// noteSharedPod notes the settings that do not apply to a container in another service's pod.
func (c *converter) noteSharedPod(s types.ServiceConfig, host string) {
	c.note(s.Name, "network_mode", "", "the container runs in the pod of %s: they start together and are ready together", host)
	if s.GetScale() != 1 {
		c.note(s.Name, "scale", "", "there are as many containers as %s has pods", host)
	}
	for field, set := range map[string]bool{
		"hostname": s.Hostname != "", "dns": len(s.DNS) > 0, "dns_search": len(s.DNSSearch) > 0, "dns_opt": len(s.DNSOpts) > 0,
	} {
		if set {
			c.report(LevelNote, Dropped, s.Name, field, "", "the pod uses the setting of %s", host)
		}
	}
}
