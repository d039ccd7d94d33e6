package v1alpha1

import "slices"

// Allowance is one permitted exception from Pod Security's baseline level.
//
// +kubebuilder:validation:Enum=privileged;hostNetwork;hostNamespaces;hostPaths;containerEngine;devices;capabilities;sysctls;unconfined
type Allowance string

// The allowances. A stack has none unless the operator grants it.
const (
	AllowPrivileged     Allowance = "privileged"
	AllowHostNetwork    Allowance = "hostNetwork"
	AllowHostNamespaces Allowance = "hostNamespaces"
	AllowHostPaths      Allowance = "hostPaths"
	// AllowEngine allows the container engine's socket, which gives control of the whole node.
	AllowEngine       Allowance = "containerEngine"
	AllowDevices      Allowance = "devices"
	AllowCapabilities Allowance = "capabilities"
	AllowSysctls      Allowance = "sysctls"
	AllowUnconfined   Allowance = "unconfined"
)

// Allowances returns all allowances in the order of the documentation.
func Allowances() []Allowance {
	return []Allowance{
		AllowPrivileged, AllowHostNetwork, AllowHostNamespaces, AllowHostPaths, AllowEngine, AllowDevices, AllowCapabilities, AllowSysctls, AllowUnconfined,
	}
}

// Both returns the allowances that are in both a and b.
func Both(a, b []Allowance) []Allowance {
	var out []Allowance
	for _, one := range a {
		if slices.Contains(b, one) {
			out = append(out, one)
		}
	}
	return out
}
