package compose

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// port is one port of a container.
type port struct {
	number   int32
	protocol corev1.Protocol
	name     string
	app      string
}

// openPort identifies a port.
type openPort struct {
	number   int32
	protocol corev1.Protocol
}

// publication is a port that is published under another number.
type publication struct {
	port
	target int32
}

// publishedSuffix ends the name of the Service that has the published numbers.
const publishedSuffix = "-published"

// ports collects the ports of a container from the file and the image.
func (u *unit) ports() {
	for _, p := range u.s.Ports {
		u.addPort(port{number: int32(p.Target), protocol: protocol(p.Protocol), name: p.Name, app: p.AppProtocol}, "ports", p.Published)
		u.publish(p)
	}
	u.expose()
	for _, e := range u.c.o.ImageConfigs[u.image].ExposedPorts {
		number, proto, _ := strings.Cut(e, "/")
		if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 && protocol(proto) != "" {
			u.addPort(port{number: int32(n), protocol: protocol(proto)}, "expose", "")
		}
	}
	sortPorts(u.open)
	for _, p := range u.open {
		u.container.Ports = append(u.container.Ports, corev1.ContainerPort{ContainerPort: p.number, Protocol: p.protocol})
	}
}

// expose adds the ports of expose, which compose-go leaves as ranges.
func (u *unit) expose() {
	for _, e := range u.s.Expose {
		numbers, proto, _ := strings.Cut(e, "/")
		from, to, ok := portRange(numbers)
		if !ok {
			u.refuse("expose", e, "%q is not a port or a range of ports", e)
			continue
		}
		for n := from; n <= to && !u.isOverfull; n++ {
			u.addPort(port{number: int32(n), protocol: protocol(proto)}, "expose", e)
		}
	}
}

func sortPorts(ports []port) {
	slices.SortFunc(ports, func(a, b port) int {
		if a.number != b.number {
			return int(a.number - b.number)
		}
		return strings.Compare(string(a.protocol), string(b.protocol))
	})
}

// listPorts notes the TCP and UDP ports of all containers in the pod.
func (u *unit) listPorts() {
	sortPorts(u.open)
	for _, p := range u.open {
		if !slices.Contains(u.out.Ports, p.number) && p.protocol != corev1.ProtocolSCTP {
			u.out.Ports = append(u.out.Ports, p.number)
		}
	}
}

// publish adds a port that the file publishes under another number.
func (u *unit) publish(p types.ServicePortConfig) {
	n, err := strconv.ParseUint(p.Published, 10, 16)
	if err != nil || n == 0 || uint32(n) == p.Target {
		return
	}
	pub := publication{port{number: int32(n), protocol: protocol(p.Protocol)}, int32(p.Target)}
	if pub.protocol == "" || !u.addPublished(pub, p.Published) {
		return
	}
	name, published := u.name, u.name+publishedSuffix
	u.c.reportAlike(LevelInfo, Approximated, u.s.Name, "ports", p.Published,
		fmt.Sprintf("ports are not published on a node: in the stack they are those of %s, and under their published numbers those of %s", name, published),
		"port %s is not published on a node: in the stack it is %s:%d, and %s:%s", p.Published, name, p.Target, published, p.Published)
}

// addPublished adds a published number, once, and reports whether it is new.
func (u *unit) addPublished(p publication, hint string) bool {
	switch {
	case slices.Contains(u.published, p):
		return false
	case len(u.published) < maxPorts:
		u.published = append(u.published, p)
		return true
	}
	u.refuseOverfull("ports", hint)
	return false
}

// publicationService gives the published numbers of ports an address, beside the service's own name.
func (u *unit) publicationService() *corev1.Service {
	name := cutTo(u.name, maxLabel-len(publishedSuffix)) + publishedSuffix
	s := &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: u.c.meta(name, u.s.Name)}
	s.Spec.Selector = map[string]string{labelName: u.name}
	for _, p := range u.published {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: fmt.Sprintf("%s-%d", strings.ToLower(string(p.protocol)), p.number), Port: p.number, Protocol: p.protocol, TargetPort: intstr.FromInt32(p.target),
		})
	}
	return s
}

func (u *unit) addPort(p port, field, hint string) {
	if p.number < 1 || p.number > 65535 {
		u.refuse(field, "", "%d is not a port", p.number)
		return
	}
	if p.protocol == "" {
		u.refuse(field, "", "port %d has none of the protocols tcp, udp and sctp", p.number)
		return
	}
	key := openPort{p.number, p.protocol}
	switch {
	case u.isOpen[key]:
	case len(u.open) < maxPorts:
		u.open, u.isOpen[key] = append(u.open, p), true
	default:
		u.refuseOverfull(field, hint)
	}
}

// refuseOverfull refuses too many ports. Thousands more may follow: one finding is enough.
func (u *unit) refuseOverfull(field, hint string) {
	if !u.isOverfull {
		u.isOverfull = true
		u.refuse(field, hint, "the service has more than %d ports, with those that its image exposes and those of services that share its network", maxPorts)
	}
}

// protocol is empty for one that Kubernetes does not support.
func protocol(s string) corev1.Protocol {
	switch p := corev1.Protocol(strings.ToUpper(s)); p {
	case "":
		return corev1.ProtocolTCP
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		return p
	}
	return ""
}

// headless is the Service that a name resolves to. It resolves to the pods' addresses, so that every port can be reached, as under compose,
// and includes pods that are not ready: compose does not hide them, and dependents wait for health elsewhere.
func (c *converter) headless(name, service string, selector map[string]string, open []port) *corev1.Service {
	s := &corev1.Service{TypeMeta: typeMeta("v1", "Service"), ObjectMeta: c.meta(name, service)}
	s.Spec = corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Selector: selector}
	names := map[string]bool{}
	for _, p := range open {
		sp := corev1.ServicePort{Name: p.name, Port: p.number, Protocol: p.protocol, TargetPort: intstr.FromInt32(p.number)}
		if len(validation.IsDNS1123Label(sp.Name)) > 0 || names[sp.Name] {
			sp.Name = fmt.Sprintf("%s-%d", strings.ToLower(string(p.protocol)), p.number)
		}
		names[sp.Name] = true
		if p.app != "" && len(validation.IsQualifiedName(p.app)) == 0 {
			sp.AppProtocol = &p.app
		}
		s.Spec.Ports = append(s.Spec.Ports, sp)
	}
	return s
}

// services are the objects that a service's names resolve to. Names that several services share come from aliasServices.
func (u *unit) services() []client.Object {
	selector := map[string]string{labelName: u.name}
	var out []client.Object
	if _, shared := u.c.aliases[u.name]; !shared {
		out = append(out, u.c.headless(u.name, u.s.Name, selector, u.open))
	}
	for _, alias := range u.c.namesOf[u.s.Name] {
		if u.c.isShared(alias) {
			u.labels[labelAlias+alias] = "true"
		} else {
			out = append(out, u.c.headless(alias, u.s.Name, selector, u.open))
		}
	}
	if u.c.isShared(u.name) {
		u.labels[labelAlias+u.name] = "true"
	}
	if len(u.published) > 0 {
		out = append(out, u.publicationService())
	}
	return out
}

// isShared reports whether a name belongs to several services: Docker answers with the addresses of all.
func (c *converter) isShared(alias string) bool {
	return len(c.aliases[alias]) > 1 || len(c.aliases[alias]) == 1 && c.taken[alias] != ""
}

// checkShared compares what a name of several services resolves to, for each service: in Docker to those with which it shares the network
// that has the name, in the stack to all.
func (c *converter) checkShared() {
	owners := map[string][]further{}
	for _, f := range c.further {
		if f.dns != "" && c.isShared(f.dns) {
			owners[f.dns] = append(owners[f.dns], f)
		}
	}
	if len(owners) == 0 {
		return
	}
	users := c.hostUsers(owners)
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		list := owners[name]
		if service := c.taken[name]; service != "" {
			list = append(list, further{service: service, dns: name})
		}
		if c.isUniform(list) {
			continue
		}
		c.checkClients(name, list, users[name])
	}
}

// isUniform reports whether a name belongs to the same services on each network that has it.
func (c *converter) isUniform(owners []further) bool {
	services, on := map[string]bool{}, map[string]map[string]bool{}
	for _, f := range owners {
		services[f.service] = true
		for _, n := range c.resolvesOn(f) {
			if on[n] == nil {
				on[n] = map[string]bool{}
			}
			on[n][f.service] = true
		}
	}
	for _, n := range on {
		if len(n) < len(services) {
			return false
		}
	}
	return true
}

// resolvesOn are the networks on which a name resolves. A link is like a network that only its client is on.
func (c *converter) resolvesOn(f further) []string {
	switch {
	case f.client != "":
		return []string{linkNetwork + c.podOf(f.client)}
	case f.network != "":
		return []string{f.network}
	}
	return c.networksOf(f.service)
}

// linkNetwork + client is the network of its links, which has a name that no other can have.
const linkNetwork = "\x00"

// checkClients refuses a name of several services if one that uses it should reach only some of them. If none does, it notes that.
func (c *converter) checkClients(name string, owners []further, users map[string]bool) {
	on, all := map[string][]string{}, map[string]bool{}
	for _, f := range owners {
		all[f.service] = true
		for _, n := range c.resolvesOn(f) {
			on[n] = append(on[n], f.service)
		}
	}
	var client string
	var sees []string
	for _, pod := range c.compose.ServiceNames() {
		if c.podOf(pod) != pod || !users[pod] && (client != "" || all[pod]) {
			continue
		}
		seen := setOf(on[linkNetwork+pod])
		for _, n := range c.networksOf(pod) {
			if len(on[linkNetwork+pod]) == 0 {
				maps.Copy(seen, setOf(on[n]))
			}
		}
		if len(seen) > 0 && len(seen) < len(all) {
			client, sees = pod, slices.Sorted(maps.Keys(seen))
		}
		if users[client] {
			break
		}
	}
	if client == "" {
		return
	}
	f, use := owners[0], ""
	if users[client] {
		use = ", which uses it,"
	}
	reason := fmt.Sprintf("%q is a name of %s, and in the stack it resolves to all of them: with Docker %s%s reaches only %s by it. Give each of them a name of its own",
		name, strings.Join(slices.Sorted(maps.Keys(all)), " and of "), client, use, strings.Join(sees, " and "))
	if users[client] {
		c.refuse(f.by, f.field, name, "%s", reason)
	} else {
		c.note(f.by, f.field, name, "%s", reason)
	}
}

// hostUsers are the pods whose settings use these names as hosts, by name.
func (c *converter) hostUsers(names map[string][]further) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, service := range c.compose.ServiceNames() {
		s := c.compose.Services[service]
		var phrases []phrase
		for k, v := range s.Environment {
			if v != nil {
				phrases = append(phrases, phrase{text: *v, key: k})
			}
		}
		for _, args := range [][]string{s.Command, s.Entrypoint, testOf(s)} {
			for i := range args {
				phrases = append(phrases, argument(args, i))
			}
		}
		for _, p := range phrases {
			for from, to := range words(p.text) {
				name := strings.ToLower(p.text[from:to])
				if renamed := c.hostNames.renamed[name]; renamed != "" {
					name = renamed
				}
				if _, ok := names[name]; ok && p.usage(from, to) == isHost {
					if out[name] == nil {
						out[name] = map[string]bool{}
					}
					out[name][c.podOf(service)] = true
				}
			}
		}
	}
	return out
}

// testOf is the command of a service's own health check.
func testOf(s types.ServiceConfig) []string {
	if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
		return nil
	}
	return s.HealthCheck.Test[1:]
}

func (c *converter) aliasServices() []client.Object {
	var out []client.Object
	for _, alias := range slices.Sorted(maps.Keys(c.aliases)) {
		if c.isShared(alias) {
			out = append(out, c.headless(alias, "", map[string]string{labelAlias + alias: "true"}, nil))
		}
	}
	return out
}
