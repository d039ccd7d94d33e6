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
	u.report(LevelInfo, Approximated, "ports", p.Published, "port %s is not published on a node: in the stack it is %s:%d, and %s:%s",
		p.Published, u.name, p.Target, u.name+publishedSuffix, p.Published)
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

func (c *converter) aliasServices() []client.Object {
	var out []client.Object
	for _, alias := range slices.Sorted(maps.Keys(c.aliases)) {
		if c.isShared(alias) {
			out = append(out, c.headless(alias, "", map[string]string{labelAlias + alias: "true"}, nil))
		}
	}
	return out
}
