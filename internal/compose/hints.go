package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// hostNames is what names and addresses in the texts of a project are in its stack.
type hostNames struct {
	// renamed maps names that no Kubernetes Service can have to the names used instead.
	renamed map[string]string
	// services maps services to their names in the stack, pods to the services whose network they use.
	services, pods map[string]string
	// resolves are all names that the stack resolves, in lower case.
	resolves map[string]bool
	// published maps the ports that services publish on Docker's machine to where they are in the stack, exposed the ports of all pods.
	published, exposed endpoints
	// listens are the ports of each pod.
	listens map[string]map[string]bool
	// shares are the pods of several services.
	shares map[string]bool
	// fixed maps the addresses that services have on their networks to these services.
	fixed map[string]string
}

// endpoint is a port of a service. The service is empty if there are several.
type endpoint struct{ service, port string }

// endpoints are the endpoints that a port on Docker's machine leads to.
type endpoints map[string]endpoint

func (es endpoints) add(port string, e endpoint) {
	if have, ok := es[port]; ok && have != e {
		e.service = ""
	}
	es[port] = e
}

// dockerHosts are names and addresses of the machine that Docker runs on: https://docs.docker.com/desktop/features/networking/ and the gateways
// of Docker's first networks.
var dockerHosts = map[string]bool{
	"host.docker.internal": true, "gateway.docker.internal": true, "docker.for.mac.localhost": true, "docker.for.mac.host.internal": true,
	"docker.for.win.localhost": true, "host.containers.internal": true, "172.17.0.1": true, "172.18.0.1": true,
}

// surveyPorts finds the ports of all services, by the numbers with which texts name them.
func (c *converter) surveyPorts() {
	n := &c.hostNames
	n.services, n.pods = c.names, map[string]string{}
	n.published, n.exposed, n.listens, n.shares, n.fixed = endpoints{}, endpoints{}, map[string]map[string]bool{}, map[string]bool{}, map[string]string{}
	for name, s := range c.compose.Services {
		pod := c.podOf(name)
		n.pods[name] = pod
		if pod != name {
			n.shares[pod] = true
		}
		if n.listens[pod] == nil {
			n.listens[pod] = map[string]bool{}
		}
		for _, net := range s.Networks {
			if net != nil && net.Ipv4Address != "" {
				n.fixed[net.Ipv4Address] = name
			}
		}
		for _, p := range s.Ports {
			target := strconv.Itoa(int(p.Target))
			n.listens[pod][target] = true
			n.published.add(p.Published, endpoint{pod, target})
		}
		for _, e := range slices.Concat(s.Expose, c.o.ImageConfigs[s.Image].ExposedPorts) {
			port, _, _ := strings.Cut(e, "/")
			n.listens[pod][port] = true
		}
		for host, addresses := range s.ExtraHosts {
			n.resolves[host] = n.resolves[host] || !slices.Contains(addresses, "host-gateway")
		}
		if own := s.Environment["PORT"]; own != nil {
			n.listens[pod][*own] = true
		}
	}
	for pod, ports := range n.listens {
		for port := range ports {
			n.exposed.add(port, endpoint{pod, port})
		}
	}
}

// hint is what the author of a text should know about a word in it that names a host which the stack does not have; empty for other words.
func (n *hostNames) hint(p phrase, from, to int, service string) string {
	switch word := p.text[from:to]; {
	case n.fixed[word] != "" && !subnet.MatchString(p.text[to:min(len(p.text), to+2)]):
		return n.fixedHint(word, service)
	case strings.IndexByte("hgd1", word[0]) >= 0 && dockerHosts[word]:
		return n.dockerHint(p, from, to)
	case word == "localhost", word == "127.0.0.1":
		return n.localHint(p, from, to, service)
	case word[len(word)-1] >= '0' && word[len(word)-1] <= '9' && len(word) < maxContext:
		return n.containerHint(p, from, to)
	}
	return ""
}

// subnet matches what follows the address of a network.
var subnet = regexp.MustCompile(`^/[0-9]`)

// fixedHint is about an address that a service has on a network of the file. Networks may give the same address to several services.
func (n *hostNames) fixedHint(address, service string) string {
	owner := n.fixed[address]
	if n.pods[owner] == n.pods[service] {
		return fmt.Sprintf("no pod has the address %s, so %s cannot listen on it: write 0.0.0.0", address, owner)
	}
	return fmt.Sprintf("no pod has the address %s: write %s", address, n.services[n.pods[owner]])
}

// dockerHint is about a name or an address of the machine that Docker runs on.
func (n *hostNames) dockerHint(p phrase, from, to int) string {
	if p.usage(from, to) == notHost || n.resolves[p.text[from:to]] {
		return ""
	}
	write := "the name of the service that it should reach"
	if e := n.published[portAfter(p.text[to:])]; e.service != "" {
		write = n.services[e.service] + ":" + e.port
	}
	return fmt.Sprintf("a stack has no Docker host, so %q does not lead to its services: write %s", p.text[from:to], write)
}

// ownAddress matches keys of the addresses that a service listens on or gives to others.
var ownAddress = regexp.MustCompile(`(?i)listen|bind|advertise`)

// localHint is about a port of another service, addressed as on the machine that Docker runs on.
func (n *hostNames) localHint(p phrase, from, to int, service string) string {
	port := portAfter(p.text[to:])
	if port == "" || p.isOwn || ownAddress.MatchString(p.key) {
		return ""
	}
	if key, _ := keyBefore(p.text[max(0, from-maxContext):from]); ownAddress.MatchString(key) {
		return ""
	}
	pod := n.pods[service]
	e, ok := n.published[port]
	if !ok {
		e = n.exposed[port]
	}
	if e.service == "" || e.service == pod || n.listens[pod][port] {
		return ""
	}
	return fmt.Sprintf("in the stack %s is the container itself, and port %s is that of %s: write %s:%s", p.text[from:to], port, e.service, n.services[e.service], e.port)
}

// containerHint is about the name that docker compose gives a container, such as PROJECT-web-1 or, in version 1, PROJECT_web_1.
func (n *hostNames) containerHint(p phrase, from, to int) string {
	word := p.text[from:to]
	name := strings.TrimRight(word, "0123456789")
	if !endsWith(name, "-_") || n.resolves[strings.ToLower(word)] {
		return ""
	}
	separator := name[len(name)-1:]
	name = name[:len(name)-1]
	for i := strings.Index(name, separator); i > 0; {
		service := name[i+1:]
		if dns, ok := n.services[service]; ok && p.usage(from, to) != notHost {
			return fmt.Sprintf("%q is a name that docker compose gives a container, and the stack does not have it: write %s", word, dns)
		}
		next := strings.Index(service, separator)
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return ""
}

// advertising matches keys of addresses that a service gives to its clients.
var advertising = regexp.MustCompile(`ADVERTISE|[Aa]dvertise`)

// listener is an address that a service gives to its clients, such as PLAINTEXT://localhost:9092.
var listener = regexp.MustCompile(`^(?:[A-Za-z0-9_]+://)?([^:/]*)(?::([0-9]+))?/?$`)

// advertised is what the author should know about addresses that a service gives to its clients. One of several may be for clients on
// Docker's machine.
func (n *hostNames) advertised(p phrase, service string) string {
	key, value := p.key, p.text
	if strings.HasPrefix(value, "--") {
		key, value, _ = strings.Cut(value, "=")
	}
	if service == "" || len(value) > maxContext || len(key) < len("advertise") || !advertising.MatchString(key) || n.shares[n.pods[service]] {
		return ""
	}
	owner, port := service, ""
	for _, address := range strings.Split(value, ",") {
		m := listener.FindStringSubmatch(strings.TrimSpace(address))
		if m == nil || m[1] != "localhost" && m[1] != "127.0.0.1" {
			return ""
		}
		if port == "" && m[2] != "" {
			port = ":" + m[2]
			if e := n.published[m[2]]; e.service != "" && e.service != n.pods[service] && !n.listens[n.pods[service]][m[2]] {
				owner, port = e.service, ":"+e.port
			}
		}
	}
	return fmt.Sprintf("others in the stack cannot reach %s at localhost: advertise %s%s", owner, n.services[owner], port)
}
