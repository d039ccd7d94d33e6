package compose

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Allowance is an exception to Pod Security's baseline. Pods get only those in Options.Allow.
type Allowance = v1alpha1.Allowance

// The allowances.
const (
	AllowPrivileged     = v1alpha1.AllowPrivileged
	AllowHostNetwork    = v1alpha1.AllowHostNetwork
	AllowHostNamespaces = v1alpha1.AllowHostNamespaces
	AllowHostPaths      = v1alpha1.AllowHostPaths
	AllowEngine         = v1alpha1.AllowEngine
	AllowDevices        = v1alpha1.AllowDevices
	AllowCapabilities   = v1alpha1.AllowCapabilities
	AllowSysctls        = v1alpha1.AllowSysctls
	AllowUnconfined     = v1alpha1.AllowUnconfined
)

// Allowances are all there are, in the order of the documentation.
func Allowances() []Allowance { return v1alpha1.Allowances() }

// allowRows are the fields that the table refuses and an allowance converts.
var allowRows = map[string]Allowance{
	"privileged": AllowPrivileged, "post_start.privileged": "", "pre_stop.privileged": "", "devices": AllowDevices, "pid": AllowHostNamespaces,
}

// allowed reports whether the operator allows a, and records its use.
func (c *converter) allowed(a Allowance) bool {
	if a == "" || !slices.Contains(c.o.Allow, a) {
		return false
	}
	c.used[a] = true
	return true
}

// allowHint ends the reason of a refusal with the setting that would allow it, if the caller has one.
func (c *converter) allowHint(a Allowance) string {
	if a == "" || c.o.AllowSetting == "" {
		return ""
	}
	return fmt.Sprintf("; the operator can allow it (%s: %s)", c.o.AllowSetting, a)
}

// allow reports whether a pod may do something, and refuses it if not; what ends the sentence.
func (u *unit) allow(a Allowance, field, hint, what string, args ...any) bool {
	if u.c.allowed(a) {
		return true
	}
	u.refuse(field, hint, "a stack's pods may not %s%s", fmt.Sprintf(what, args...), u.c.allowHint(a))
	return false
}

// privileges converts what only an allowance gives.
func (u *unit) privileges(sc *corev1.SecurityContext) {
	if u.s.Privileged && u.c.allowed(AllowPrivileged) {
		sc.Privileged = new(true)
	}
	if u.s.Pid == "host" && u.c.allowed(AllowHostNamespaces) {
		u.pod.HostPID = true
	} else if u.s.Pid != "" && u.c.allowed(AllowHostNamespaces) {
		u.refuse("pid", "", "%s: pods cannot see each other's processes", u.s.Pid)
	}
	if len(u.s.Devices) > 0 && u.c.allowed(AllowDevices) {
		for _, d := range u.s.Devices {
			u.hostPath("devices", d.Source, corev1.VolumeMount{MountPath: d.Target})
			if !u.s.Privileged {
				u.note("devices", d.Source, "%s exists, but Kubernetes lets only a privileged container open it", d.Target)
			}
		}
	}
}

// hostPath mounts a path of the node.
func (u *unit) hostPath(field, source string, vm corev1.VolumeMount) {
	u.attach(field, objectName("host-", strings.Trim(source, "/")), corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: source}}, vm)
}
