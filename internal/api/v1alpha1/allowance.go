package v1alpha1

import "slices"

// Allowance is one way out of what Pod Security's baseline gives a pod.
//
// +kubebuilder:validation:Enum=privileged;hostNetwork;hostNamespaces;hostPaths;containerEngine;devices;capabilities;sysctls;unconfined
type Allowance string

// The allowances. A stack has none unless the operator gives it.
const (
	AllowPrivileged     Allowance = "privileged"
	AllowHostNetwork    Allowance = "hostNetwork"
	AllowHostNamespaces Allowance = "hostNamespaces"
	AllowHostPaths      Allowance = "hostPaths"
	// AllowEngine allows the container engine's socket, which is the whole node.
	AllowEngine       Allowance = "containerEngine"
	AllowDevices      Allowance = "devices"
	AllowCapabilities Allowance = "capabilities"
	AllowSysctls      Allowance = "sysctls"
	AllowUnconfined   Allowance = "unconfined"
)

// Allowances are all there are, in the order of the documentation.
func Allowances() []Allowance {
	return []Allowance{
		AllowPrivileged, AllowHostNetwork, AllowHostNamespaces, AllowHostPaths, AllowEngine, AllowDevices, AllowCapabilities, AllowSysctls, AllowUnconfined,
	}
}

// Both are the allowances that are in a and in b.
func Both(a, b []Allowance) []Allowance {
	var out []Allowance
	for _, one := range a {
		if slices.Contains(b, one) {
			out = append(out, one)
		}
	}
	return out
}
