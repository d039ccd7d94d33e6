// Package plan computes the names, addresses and directories of a test
// cluster from its name and index, so that two clusters never share any of
// them.
package plan

import (
	"fmt"
	"path/filepath"
	"regexp"
)

// Clusters is how many clusters the address plan has room for on one machine.
const Clusters = 16

// Node is the name of every cluster's only node.
const Node = "node1"

// Ports that the cluster's servers listen on. Each cluster has its own
// addresses, so the ports are the same in all of them.
const (
	APIServerPort = 6443
	RegistryPort  = 5000
	StorePort     = 5001
)

// Plan is one cluster's names, addresses and directories.
type Plan struct {
	Name  string // what the user calls it: CLUSTER_NAME
	Index int    // 0 to Clusters-1; decides the addresses

	NetNS  string // name of its network namespace, and of its cgroup
	HostIf string // the host's end of the link into the namespace

	NodeIP string // the node, inside the namespace
	HostIP string // the host as the cluster sees it: registry, false outside systems

	PodCIDR     string
	ServiceCIDR string
	APIServerIP string // the Service `kubernetes`
	DNSIP       string // the Service `kube-dns`

	Dir string // all of its state
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,29}$`)

// New plans the cluster of this name and index below the directory root.
func New(root, name string, index int) (Plan, error) {
	if !nameRule.MatchString(name) {
		return Plan{}, fmt.Errorf("cluster name %q: want lower-case letters, digits and dashes, 30 at most", name)
	}
	if index < 0 || index >= Clusters {
		return Plan{}, fmt.Errorf("cluster %s: index %d is outside 0 to %d", name, index, Clusters-1)
	}
	return Plan{
		Name:        name,
		Index:       index,
		NetNS:       "conductor-" + name,
		HostIf:      fmt.Sprintf("conductor%d", index),
		NodeIP:      fmt.Sprintf("10.245.%d.1", index),
		HostIP:      fmt.Sprintf("10.245.%d.254", index),
		PodCIDR:     fmt.Sprintf("10.244.%d.0/20", index*16),
		ServiceCIDR: fmt.Sprintf("10.%d.0.0/16", 96+index),
		APIServerIP: fmt.Sprintf("10.%d.0.1", 96+index),
		DNSIP:       fmt.Sprintf("10.%d.0.10", 96+index),
		Dir:         filepath.Join(root, name),
	}, nil
}

// Path joins elements to the cluster's directory.
func (p Plan) Path(elements ...string) string {
	return filepath.Join(append([]string{p.Dir}, elements...)...)
}

// Server is the API server's URL.
func (p Plan) Server() string { return fmt.Sprintf("https://%s:%d", p.NodeIP, APIServerPort) }

// Registry is the registry's host and port, as image references begin.
func (p Plan) Registry() string { return fmt.Sprintf("%s:%d", p.HostIP, RegistryPort) }

// Store is the host and port of docker-registry itself, behind Registry.
func (p Plan) Store() string { return fmt.Sprintf("%s:%d", p.HostIP, StorePort) }

// Kubeconfig is the administrator's kubeconfig.
func (p Plan) Kubeconfig() string { return p.Path("admin.kubeconfig") }

// ContainerdSocket is where this cluster's containerd listens.
func (p Plan) ContainerdSocket() string { return p.Path("containerd.sock") }

// RegistryHosts is containerd's directory of registry host settings
// (`certs.d`): a test that has a registry of its own adds a directory here.
func (p Plan) RegistryHosts() string { return p.Path("config", "certs.d") }
