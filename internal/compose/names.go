package compose

import (
	"cmp"
	"maps"
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

// dashes are what usually replaces the characters that a Kubernetes Service's name cannot have.
var dashes = strings.NewReplacer("_", "-", ".", "-")

// surveyNames collects the additional names of a service, and checks its own.
func (c *converter) surveyNames(s types.ServiceConfig) {
	if c.reserved[c.names[s.Name]] {
		c.refuse(s.Name, "", "", "the name %q is taken by another service's published ports: use another", s.Name)
	}
	c.refuseOwn(s.Name, "", s.Name, c.names[s.Name])
	if strings.ToLower(s.Name) != c.names[s.Name] {
		summary := ""
		if dashes.Replace(strings.ToLower(s.Name)) == c.names[s.Name] {
			summary = "no Kubernetes Service can have these names: in the stack they have - in place of _ and ."
		}
		c.reportAlike(LevelNote, Approximated, s.Name, "", "", summary, "no Kubernetes Service can have this name: it is %s in the stack", c.names[s.Name])
		c.addRename(s.Name, c.names[s.Name])
	}
	c.addFurther(further{service: s.Name, name: s.ContainerName, field: "container_name", by: s.Name})
	for network, n := range s.Networks {
		if n == nil {
			continue
		}
		for _, a := range n.Aliases {
			c.addFurther(further{service: s.Name, name: a, field: "networks." + network + ".aliases", by: s.Name, network: network})
		}
	}
	c.surveyLinks(s)
}

// surveyLinks collects the names that a service gives to others.
func (c *converter) surveyLinks(s types.ServiceConfig) {
	for _, l := range s.Links {
		if to, as, ok := strings.Cut(l, ":"); ok && to != as {
			if _, active := c.compose.Services[to]; active {
				c.addFurther(further{service: to, name: as, field: "links", by: s.Name, client: s.Name})
			}
		}
	}
	c.addFurther(further{service: s.Name, name: s.Hostname, field: "hostname", by: s.Name})
}

// addFurther adds an additional name, unless it is the service's own.
func (c *converter) addFurther(f further) {
	if f.name != "" && f.name != f.service && !strings.EqualFold(f.name, c.names[f.service]) {
		c.further = append(c.further, f)
	}
}

// surveyReserved finds the names of the Services of published ports.
func (c *converter) surveyReserved() {
	for _, name := range c.compose.ServiceNames() {
		if !c.isTestOnly(name) && slices.ContainsFunc(c.compose.Services[name].Ports, func(p types.ServicePortConfig) bool { return p.Published != "" }) {
			c.reserved[c.names[name]+publishedSuffix] = true
		}
	}
}

// further is one more name of a service.
type further struct {
	service, name, field string
	// by is the service whose field has it, dns the name in the stack.
	by, dns string
	// network is the only one on which it resolves, client the only service for which it does; empty for all that share a network with the
	// service.
	network, client string
}

// isValid reports whether a Service can have the name.
func (f *further) isValid() bool { return len(validation.IsDNS1035Label(strings.ToLower(f.name))) == 0 }

// giveNames gives services their additional names: first those that need no other spelling. Host names come last, since they are the only
// ones that may be those of other services.
func (c *converter) giveNames() {
	rank := func(f further) int {
		switch {
		case f.field == "hostname":
			return 3
		case f.isValid():
			return 0
		case f.field == "container_name":
			return 2
		}
		return 1
	}
	slices.SortStableFunc(c.further, func(a, b further) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(a.by, b.by), cmp.Compare(a.network, b.network))
	})
	for i := range c.further {
		f := &c.further[i]
		switch low := strings.ToLower(f.name); {
		case f.field == "hostname":
			c.hostname(f)
		case !f.isValid():
			c.respell(f)
		case c.refuseOwn(f.by, f.field, f.name, low):
		case c.reserved[low]:
			c.refuse(f.by, f.field, f.name, "the name %q is taken by another service's published ports: use another", f.name)
		case c.spelled[low] != "" && c.spelled[low] != low:
			c.refuse(f.by, f.field, f.name, "%q is what %q is called in the stack: use another name", f.name, c.spelled[low])
		default:
			c.alias(f, low)
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(c.aliases)) {
		c.hostNames.resolves[alias] = true
		for _, service := range c.aliases[alias] {
			c.namesOf[service] = append(c.namesOf[service], alias)
		}
	}
	for dns := range c.taken {
		c.hostNames.resolves[dns] = true
	}
}

// alias gives a service one more name in the stack.
func (c *converter) alias(f *further, dns string) {
	f.dns, c.spelled[dns] = dns, strings.ToLower(f.name)
	c.given[dns] = c.given[dns] || f.field != "hostname"
	if dns != c.names[f.service] && !slices.Contains(c.aliases[dns], f.service) {
		c.aliases[dns] = append(c.aliases[dns], f.service)
	}
}

// respell gives a service the nearest name to one that no Kubernetes Service can have. Texts that use it are rewritten; for the name of a
// container, which few use, the service's own name does.
func (c *converter) respell(f *further) {
	own, to := c.names[f.service], dnsName(f.name)
	have, isKnown := c.hostNames.renamed[f.name]
	switch {
	case isKnown && have == own:
	case isKnown && c.spelled[have] != strings.ToLower(f.name):
		c.refuse(f.by, f.field, f.name, "no Kubernetes Service can have the name %q, which %s has, too: use another name for one of them", f.name, c.taken[have])
	case isKnown:
		c.alias(f, have)
	case f.field == "container_name":
		c.report(LevelInfo, Approximated, f.by, f.field, f.name, "no Kubernetes Service can have the name %q: where it is the host of an address it is written %s", f.name, own)
		c.addRename(f.name, own)
	case c.refuseOwn(f.by, f.field, f.name, to):
	case c.reserved[to] || c.spelled[to] != "" && c.spelled[to] != strings.ToLower(f.name):
		c.note(f.by, f.field, f.name, "no Kubernetes Service can have the name %q, so it does not resolve in the stack: %s does, and replaces it where it is the host of an address", f.name, own)
		c.addRename(f.name, own)
	default:
		c.note(f.by, f.field, f.name, "no Kubernetes Service can have the name %q, so it does not resolve in the stack: %s does, and replaces it where it is the host of an address", f.name, to)
		c.addRename(f.name, to)
		c.alias(f, to)
	}
}

// hostname gives a service the name that its pods have. Docker resolves that name, too, and if it is also another service's, to either: in the
// stack it stays the other's.
func (c *converter) hostname(f *further) {
	first, _, isDotted := strings.Cut(f.name, ".")
	low := strings.ToLower(first)
	if c.refuseOwn(f.by, f.field, first, low) {
		return
	}
	f.name = first
	isTaken := c.reserved[low] || c.taken[low] != "" || c.given[low]
	switch full := c.compose.Services[f.service].Hostname; {
	case c.hostNames.renamed[full] != "":
	case isDotted || !f.isValid():
		c.report(LevelInfo, Approximated, f.by, f.field, "", "no Kubernetes Service can have the name %q: where it is the host of an address it is written %s", full, c.names[f.service])
		c.addRename(full, c.names[f.service])
	case isTaken && !slices.Contains(c.aliases[low], f.service):
		c.note(f.by, f.field, "", "%q is also a name of another service, and Docker resolves it to either: in the stack it is the other's alone. Write %s for this one", full, c.names[f.service])
	}
	if f.isValid() && !isTaken {
		c.alias(f, low)
	}
}
