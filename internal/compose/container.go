package compose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ownImage is the reference that the container runs.
func (u *unit) ownImage() string {
	if given := u.c.o.Images[u.s.Name]; given != "" {
		if u.s.Build == nil {
			u.named(u.s.Image)
		}
		return given
	}
	if u.s.Build == nil {
		return u.named(u.s.Image)
	}
	name := u.c.builtName(u.s.Name)
	_, err := reference.ParseNormalizedNamed(name)
	switch {
	case err == nil:
	case u.s.Image == "":
		return u.c.compose.Name + "-" + u.name
	default:
		u.refuse("image", "", "%q is not a valid image reference: %v", name, err)
	}
	return name
}

// named is the reference for an image that the file names. It must be in the operator's registries, unless a service builds it.
func (u *unit) named(image string) string {
	if builder, ok := u.c.Builder(image); ok {
		return cmp.Or(u.c.o.Images[builder], image)
	}
	if why := RefusesImage(image, u.c.o); why != "" {
		u.refuse("image", "", "%s", why)
	}
	return image
}

// RefusesImage returns the reason why a stack may not run an image, or "".
func RefusesImage(name string, o Options) string {
	ref, err := reference.ParseNormalizedNamed(name)
	switch own := o.OwnRegistry; {
	case err != nil:
		return fmt.Sprintf("%q is not a valid image reference: %v", name, err)
	case !allowed(o.Ceilings.Registries, ref.Name()):
		return fmt.Sprintf("%s is not in the registries that the operator allows (stacks.registries): %s", ref.Name(), strings.Join(o.Ceilings.Registries, ", "))
	case own != "" && allowed([]string{own}, ref.Name()) && !allowed([]string{o.OwnProject}, ref.Name()):
		return fmt.Sprintf("%s belongs to another repository: of %s a stack runs only what is below %s", ref.Name(), own, o.OwnProject)
	}
	return ""
}

// allowed reports whether an image's repository is below one of the prefixes. Without prefixes every repository is.
func allowed(prefixes []string, name string) bool {
	return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool {
		p = strings.TrimSuffix(p, "/")
		return name == p || strings.HasPrefix(name, p+"/")
	})
}

// literal keeps Kubernetes from expanding $(NAME) in s; it reads $$ as $.
// https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
func literal(s string) string {
	if !strings.Contains(s, "$(") && !strings.Contains(s, "$$") {
		return s
	}
	return strings.ReplaceAll(s, "$", "$$")
}

// argv sets what is run: ENTRYPOINT is Kubernetes' command, CMD its args.
func (u *unit) argv() {
	cleared := u.s.Entrypoint != nil && len(u.s.Entrypoint) == 0
	switch {
	case cleared && len(u.s.Command) > 0:
		u.container.Command = u.allExpanded("command", u.s.Command)
	case cleared && len(u.c.o.ImageConfigs[u.image].Cmd) > 0:
		u.container.Command = u.allExpanded("command", u.c.o.ImageConfigs[u.image].Cmd)
	case cleared && u.c.pending(u.s.Name):
	case cleared:
		u.refuse("entrypoint", "", "an empty entrypoint needs a command: the image's own is not known")
	default:
		u.container.Command, u.container.Args = u.allExpanded("entrypoint", u.s.Entrypoint), u.allExpanded("command", u.s.Command)
	}
	u.container.WorkingDir = u.s.WorkingDir
	u.container.TTY, u.container.Stdin = u.s.Tty, u.s.StdinOpen
}

func (u *unit) environment() {
	for _, k := range slices.Sorted(maps.Keys(u.s.Environment)) {
		v := u.s.Environment[k]
		switch {
		case len(validation.IsRelaxedEnvVarName(k)) > 0:
			u.refuse("environment", k, "%q cannot be the name of a variable", k)
		case v == nil && slices.Contains(u.c.o.Tests[u.s.Name].Sets, k) && !u.c.o.Tests[u.s.Name].InStack:
		case v == nil:
			u.report(LevelNote, Approximated, "environment", k, "%s has no value here, and no variable of that name is set: it is left out. Set it with %s", k, u.c.hints.setting(k))
		default:
			if pieces := u.c.pieces(*v); len(pieces) == 1 && pieces[0].secret != "" {
				u.variables[k] = pieces[0].secret
			} else {
				u.container.Env = append(u.container.Env, corev1.EnvVar{Name: k, Value: u.expanded(u.renamed("environment", phrase{text: *v, key: k}))})
			}
		}
	}
}

// baselineCaps are the capabilities that Pod Security's baseline lets a container add.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
var baselineCaps = strings.Fields("AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT")

// baselineSysctls are the kernel parameters that it lets a pod set.
var baselineSysctls = strings.Fields(`kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.ip_unprivileged_port_start net.ipv4.tcp_syncookies
	net.ipv4.ping_group_range net.ipv4.ip_local_reserved_ports net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout
	net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes`)

// security sets the user, capabilities and other limits of the process.
func (u *unit) security() {
	sc := &corev1.SecurityContext{}
	pod := &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	u.pod.SecurityContext = pod
	if u.s.User != "" {
		u.user(sc)
	}
	for _, g := range u.s.GroupAdd {
		if id, ok := numeric(g); ok {
			pod.SupplementalGroups = append(pod.SupplementalGroups, id)
		} else {
			u.refuse("group_add", g, "the group %s is given by name, and the image's /etc/group is not read: use its number", g)
		}
	}
	u.capabilities(sc)
	u.privileges(sc)
	if u.s.ReadOnly {
		sc.ReadOnlyRootFilesystem = new(true)
	}
	for _, k := range slices.Sorted(maps.Keys(u.s.Ulimits)) {
		u.report(LevelNote, Dropped, "ulimits", k, "pods run with the node's limits: %s is not set", k)
	}
	for _, o := range u.s.SecurityOpt {
		u.securityOpt(sc, o)
	}
	if sc.AllowPrivilegeEscalation != nil && (sc.Privileged != nil || sc.Capabilities != nil && slices.Contains(sc.Capabilities.Add, "SYS_ADMIN")) {
		sc.AllowPrivilegeEscalation = nil
		u.report(LevelNote, Dropped, "security_opt", "no-new-privileges", "Kubernetes rejects no-new-privileges for a container with these privileges")
	}
	for _, k := range slices.Sorted(maps.Keys(u.s.Sysctls)) {
		if slices.Contains(baselineSysctls, k) {
			pod.Sysctls = append(pod.Sysctls, corev1.Sysctl{Name: k, Value: u.s.Sysctls[k]})
		} else if u.allow(AllowSysctls, "sysctls", k, "set %s, which is not among the parameters of Pod Security's baseline", k) {
			pod.Sysctls = append(pod.Sysctls, corev1.Sysctl{Name: k, Value: u.s.Sysctls[k]})
			u.note("sysctls", k, "the pod runs only where the node's kubelet allows %s (allowedUnsafeSysctls)", k)
		}
	}
	if *sc != (corev1.SecurityContext{}) {
		u.container.SecurityContext = sc
	}
}

// user sets the numeric user and group. If only one is set, the kubelet takes the other from the image.
func (u *unit) user(sc *corev1.SecurityContext) {
	name, group, _ := strings.Cut(u.s.User, ":")
	uid, ok := numeric(name)
	gid, gok := numeric(group)
	if _, err := strconv.Atoi(name); err == nil && !ok {
		u.refuse("user", "", "%s is not a valid user id", u.s.User)
		return
	}
	var names []string
	if name != "" && !ok {
		names = append(names, name)
	}
	if group != "" && !gok {
		names = append(names, group)
	}
	if len(names) > 0 && u.s.User != u.c.o.ImageConfigs[u.image].User && !u.c.pending(u.s.Name) {
		u.report(LevelNote, Dropped, "user", "", "%s: ignored, since the image's /etc/passwd is not read; the image's own USER applies. Use uid:gid", strings.Join(names, " and "))
	}
	if gok {
		sc.RunAsGroup = &gid
	}
	if !ok {
		return
	}
	sc.RunAsUser = &uid
	if !gok {
		gid = uid
	}
	if uid != 0 {
		// Docker gives a new volume the owner that the image's directory has; this lets the user write to it.
		u.fsGroup = &gid
	}
}

// numeric parses a user or group id. Every image maps root to 0, and all distributions map "nobody" to 65534.
func numeric(s string) (int64, bool) {
	if s == "root" {
		return 0, true
	}
	if s == "nobody" {
		return 65534, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n <= math.MaxInt32
}

func (u *unit) capabilities(sc *corev1.SecurityContext) {
	caps := &corev1.Capabilities{}
	for _, k := range u.s.CapAdd {
		name := strings.TrimPrefix(strings.ToUpper(k), "CAP_")
		if slices.Contains(baselineCaps, name) {
			caps.Add = append(caps.Add, corev1.Capability(name))
		} else if u.allow(AllowCapabilities, "cap_add", k, "have the capability %s, which is not among those of Pod Security's baseline", name) {
			caps.Add = append(caps.Add, corev1.Capability(name))
		}
	}
	for _, k := range u.s.CapDrop {
		caps.Drop = append(caps.Drop, corev1.Capability(strings.TrimPrefix(strings.ToUpper(k), "CAP_")))
	}
	if len(caps.Add)+len(caps.Drop) > 0 {
		sc.Capabilities = caps
	}
}

func (u *unit) securityOpt(sc *corev1.SecurityContext, o string) {
	key, value, _ := strings.Cut(strings.Replace(o, "=", ":", 1), ":")
	switch {
	case key == "no-new-privileges" && value != "false":
		sc.AllowPrivilegeEscalation = new(false)
	case key == "no-new-privileges", key == "seccomp" && value == "builtin":
	case key == "label":
		u.report(LevelNote, Dropped, "security_opt", o, "the node decides about SELinux labels")
	case value == "unconfined" && (key == "seccomp" || key == "apparmor"):
		if !u.allow(AllowUnconfined, "security_opt", o, "be without a profile: %s", o) {
			return
		}
		if key == "seccomp" {
			sc.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		} else {
			sc.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
		}
	default:
		u.refuse("security_opt", o, "%s cannot be converted", o)
	}
}

// namespaces refuses what reaches out of the pod.
func (u *unit) namespaces() {
	u.networkMode()
	if ipc := u.s.Ipc; ipc == "host" {
		u.pod.HostIPC = u.allow(AllowHostNamespaces, "ipc", "", "use the node's shared memory")
	} else if ipc != "" && ipc != "private" && ipc != "shareable" && ipc != "none" {
		u.refuse("ipc", "", "%s: containers of different pods cannot share memory", ipc)
	}
	if u.s.Cgroup == "host" {
		u.refuse("cgroup", "", "a stack's pods may not use the node's control groups")
	}
}

// hosts sets /etc/hosts and DNS.
func (u *unit) hosts() {
	byIP := map[string][]string{}
	for _, host := range slices.Sorted(maps.Keys(u.s.ExtraHosts)) {
		if u.c.refuseOwn(u.s.Name, "extra_hosts", host, strings.ToLower(host)) {
			continue
		}
		for _, ip := range u.s.ExtraHosts[host] {
			if ip == "host-gateway" {
				u.report(LevelNote, Dropped, "extra_hosts", host,
					"host-gateway is the machine that Docker runs on, and a stack does not reach its node: %s does not resolve. Put what runs there into a service", host)
			} else if _, err := netip.ParseAddr(ip); err != nil {
				u.refuse("extra_hosts", host, "%q is not an IP address", ip)
			} else if len(validation.IsDNS1123Subdomain(host)) > 0 {
				u.refuse("extra_hosts", host, "Kubernetes does not take the host name %q", host)
			} else {
				byIP[ip] = append(byIP[ip], host)
			}
		}
	}
	for _, ip := range slices.Sorted(maps.Keys(byIP)) {
		u.pod.HostAliases = append(u.pod.HostAliases, corev1.HostAlias{IP: ip, Hostnames: byIP[ip]})
	}
	u.dns()
	if host, _, dotted := strings.Cut(u.s.Hostname, "."); host != "" {
		if u.pod.Hostname = strings.ToLower(host); len(validation.IsDNS1123Label(u.pod.Hostname)) > 0 {
			u.pod.Hostname = dnsName(host)
		}
		if dotted {
			u.note("hostname", "", "pods have the cluster's domain: the host name is %s", u.pod.Hostname)
		} else if u.pod.Hostname != host {
			u.note("hostname", "", "no pod can have the host name %q: it is %s", host, u.pod.Hostname)
		}
	}
}

// dns adds to the cluster's own DNS, which names of services need.
func (u *unit) dns() {
	dns := &corev1.PodDNSConfig{}
	for _, domain := range u.s.DNSSearch {
		switch {
		case domain == "" || domain == ".":
			u.note("dns_search", "", "the cluster's own domains are searched, since services are found in them")
		case len(validation.IsDNS1123SubdomainWithUnderscore(domain)) > 0:
			u.refuse("dns_search", domain, "%q is not a domain name", domain)
		default:
			dns.Searches = append(dns.Searches, domain)
		}
	}
	for _, s := range u.s.DNS {
		if _, err := netip.ParseAddr(s); err != nil {
			u.refuse("dns", s, "%q is not an IP address", s)
			continue
		}
		dns.Nameservers = append(dns.Nameservers, s)
	}
	if len(dns.Nameservers) > 2 {
		u.note("dns", "", "Kubernetes allows three servers and the cluster's own is the first: only two of these are kept")
		dns.Nameservers = dns.Nameservers[:2]
	}
	for _, o := range u.s.DNSOpts {
		name, value, has := strings.Cut(o, ":")
		if name == "" {
			u.refuse("dns_opt", "", "%q is not a DNS option", o)
			continue
		}
		opt := corev1.PodDNSConfigOption{Name: name}
		if has {
			opt.Value = &value
		}
		dns.Options = append(dns.Options, opt)
	}
	if len(dns.Nameservers)+len(dns.Searches)+len(dns.Options) > 0 {
		u.pod.DNSConfig = dns
	}
}

// ceilSeconds rounds up to whole seconds, of which there is at least one.
func ceilSeconds(d types.Duration) int32 {
	s := (time.Duration(d) + time.Second - 1) / time.Second
	return int32(min(max(s, 1), math.MaxInt32))
}
