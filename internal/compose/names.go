package compose

import (
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// Keys that the conversion puts on objects.
const (
	labelName = "app.kubernetes.io/name"
	// labelAlias + alias selects the pods of a name shared by several services.
	labelAlias = "alias.conductor.digitalservic.es/"
	// labelVolume + claim marks pods that must run where a claim is mounted.
	labelVolume = "volume.conductor.digitalservic.es/"
	// annotationLabel + key holds a compose label.
	annotationLabel = "compose.conductor.digitalservic.es/"
	// annotationDependsOn describes what a service is started after.
	annotationDependsOn = "conductor.digitalservic.es/depends-on"
)

const maxLabel = validation.DNS1035LabelMaxLength

// ObjectName is the name of the Service and of the Deployment or Job that a compose service is converted to, as Service.Object
// has it. It depends on the service's name alone.
func ObjectName(service string) string { return dnsName(service) }

// dnsName is the name that a service's objects have: its own in lower case if that is a DNS label, which Kubernetes
// wants to start with a letter, else the nearest one with a hash of the name.
func dnsName(name string) string {
	low := strings.ToLower(name)
	if len(validation.IsDNS1035Label(low)) == 0 {
		return low
	}
	s := names.Slug(low)
	if s == "" || s[0] < 'a' {
		s = "s-" + s
	}
	if len(validation.IsDNS1035Label(s)) == 0 {
		return s
	}
	return cut(s, hash(name))
}

// objectName is a name for an object made from raw: readable, and different for different raws.
func objectName(prefix, raw string) string {
	s := names.Slug(raw)
	if s == raw && len(prefix+s) <= maxLabel && s != "" {
		return prefix + s
	}
	return cut(prefix+s, hash(raw))
}

// cut truncates s so that it fits into a label with end appended.
func cut(s, end string) string {
	return strings.TrimLeft(cutTo(s, maxLabel-len(end)-1)+"-"+end, "-")
}

func cutTo(s string, n int) string { return strings.TrimRight(s[:min(len(s), n)], "-") }

func hash(s string) string { return names.Digest(s)[:8] }

// labels are those of every object, and those of a service's.
func (c *converter) labels(service string) map[string]string {
	l := merged(nil, c.o.Labels)
	if service != "" {
		l[labelName], l[v1alpha1.LabelService] = c.names[service], names.LabelValue(service)
	}
	return l
}

// ownPrefix begins the names of Conductor's own objects in each stack: its agent, tests and policies (internal/jobs). A service with such a
// name would replace the agent, and tests would send it their token.
const ownPrefix = "conductor-"

// refuseOwn refuses a name, written dns in the stack, that Conductor has reserved, and reports whether it did.
func (c *converter) refuseOwn(service, field, name, dns string) bool {
	if !strings.HasPrefix(dns, ownPrefix) {
		return false
	}
	written := ""
	if dns != strings.ToLower(name) {
		written = ", in the stack " + dns + ","
	}
	c.refuse(service, field, name, "the name %q%s begins with %s, which is reserved for what Conductor makes in each stack: use one that begins otherwise", name, written, ownPrefix)
	return true
}

// surveyNames collects the additional names of a service, and checks its own.
func (c *converter) surveyNames(s types.ServiceConfig) {
	if c.reserved[c.names[s.Name]] {
		c.refuse(s.Name, "", "", "the name %q is taken by another service's published ports: use another", s.Name)
	}
	c.refuseOwn(s.Name, "", s.Name, c.names[s.Name])
	if strings.ToLower(s.Name) != c.names[s.Name] {
		c.note(s.Name, "", "", "no Kubernetes Service can have this name: it is %s in the stack", c.names[s.Name])
		c.addRename(s.Name, c.names[s.Name])
	}
	c.alias(s.Name, s.ContainerName, "container_name")
	host, _, _ := strings.Cut(s.Hostname, ".")
	c.alias(s.Name, host, "hostname")
	for network, n := range s.Networks {
		if n == nil {
			continue
		}
		for _, a := range n.Aliases {
			if !c.refuseOwn(s.Name, "networks."+network+".aliases", a, strings.ToLower(a)) {
				c.alias(s.Name, a, "networks")
			}
		}
	}
	for _, l := range s.Links {
		if to, as, ok := strings.Cut(l, ":"); ok && to != as {
			if _, active := c.compose.Services[to]; active && !c.refuseOwn(s.Name, "links", as, strings.ToLower(as)) {
				c.alias(to, as, "links")
			}
		}
	}
}

// surveyReserved finds the names of the Services of published ports.
func (c *converter) surveyReserved() {
	for _, name := range c.compose.ServiceNames() {
		if slices.ContainsFunc(c.compose.Services[name].Ports, func(p types.ServicePortConfig) bool { return p.Published != "" }) {
			c.reserved[c.names[name]+publishedSuffix] = true
		}
	}
}

// alias gives a service one more name.
func (c *converter) alias(service, name, field string) {
	low := strings.ToLower(name)
	if name == "" || low == c.names[service] || slices.Contains(c.aliases[low], service) {
		return
	}
	if c.refuseOwn(service, field, name, low) {
		return
	}
	if c.reserved[low] {
		c.refuse(service, field, name, "the name %q is taken by another service's published ports: use another", name)
		return
	}
	if len(validation.IsDNS1035Label(low)) > 0 {
		by := c.referrer(name)
		to := dnsName(name)
		switch {
		case by == "" && field == "container_name" && strings.Contains(name, "."):
			c.report(LevelInfo, Dropped, service, field, name, "no Kubernetes Service can have the name %q", name)
			return
		case by == "" && field == "container_name":
			// Such names are seldom used, but mounted files and suites may use them.
			c.report(LevelInfo, Approximated, service, field, name, "no Kubernetes Service can have the name %q: where it is the host of an address it is written %s", name, c.names[service])
			c.addRename(name, c.names[service])
			return
		case by == "" && (strings.Contains(name, ".") || c.reserved[to]):
			c.report(LevelNote, Dropped, service, field, name, "no Kubernetes Service can have the name %q", name)
			return
		case strings.Contains(name, ".") || c.reserved[to]:
			c.refuse(service, field, name, "the service %s uses the name %q, which no Kubernetes Service can have", by, name)
			return
		}
		if c.refuseOwn(service, field, name, to) {
			return
		}
		c.note(service, field, name, "no Kubernetes Service can have the name %q: it is %s in the stack", name, to)
		c.addRename(name, to)
		if low = to; low == c.names[service] || slices.Contains(c.aliases[low], service) {
			return
		}
	}
	c.aliases[low] = append(c.aliases[low], service)
}

// referrer is a service whose settings seem to reach another by this name: as a host in an address, or as the whole value
// of a variable that is named like one.
func (c *converter) referrer(name string) string {
	if c.users == nil {
		c.users = c.referrers()
	}
	return c.users[name]
}

// referrers maps what could be names of hosts in the settings of services to the first service that has them.
func (c *converter) referrers() map[string]string {
	out := map[string]string{}
	for _, service := range c.compose.ServiceNames() {
		use := func(name string) {
			if _, ok := out[name]; !ok {
				out[name] = service
			}
		}
		s := c.compose.Services[service]
		texts := slices.Concat(s.Command, s.Entrypoint)
		if s.HealthCheck != nil {
			texts = append(texts, s.HealthCheck.Test...)
		}
		for k, v := range s.Environment {
			if v == nil {
				continue
			}
			if hostLike.MatchString(k) {
				use(*v)
			}
			texts = append(texts, *v)
		}
		for _, t := range texts {
			for at := range hostsIn(t) {
				if at.isAddress {
					use(t[at.from:at.to])
				}
			}
		}
	}
	return out
}
