package node

import (
	"fmt"
	"strconv"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/pki"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/process"
)

// The daemons, by the names that status, pid files and logs know them by.
const (
	Registry    = "registry"
	Hub         = "hub"
	Etcd        = "etcd"
	Containerd  = "containerd"
	APIServer   = "kube-apiserver"
	Controllers = "kube-controller-manager"
	Scheduler   = "kube-scheduler"
	Kubelet     = "kubelet"
	Proxy       = "kube-proxy"
	KubeRouter  = "kube-router"
	Provisioner = "hostpath"
)

// Daemons are all daemons of a healthy cluster.
func Daemons() []string {
	return []string{Holder, Registry, Hub, Etcd, Containerd, APIServer, Controllers, Scheduler, Kubelet, Proxy, KubeRouter, Provisioner}
}

// Start starts one of the node's daemons, those that run in its namespaces.
func Start(g process.Group, p plan.Plan, b parts.Binaries, name string) error {
	args, err := arguments(p, b, name)
	if err != nil {
		return err
	}
	prefix, err := within(g)
	if err != nil {
		return err
	}
	return g.Start(process.Daemon{Name: name, Args: append(prefix, args...)})
}

// arguments is the command line of a daemon on the node.
func arguments(p plan.Plan, b parts.Binaries, name string) ([]string, error) {
	switch name {
	case Containerd:
		return []string{"/usr/bin/containerd", "--config", p.Path("config", "containerd.toml")}, nil
	case Etcd:
		return append([]string{b[Etcd]}, etcdFlags(p)...), nil
	case APIServer:
		return append([]string{b[APIServer]}, apiServerFlags(p)...), nil
	case Controllers:
		return append([]string{b[Controllers]}, controllerFlags(p)...), nil
	case Scheduler:
		return []string{b[Scheduler],
			"--kubeconfig=" + kubeconfigOf(p, pki.Scheduler), "--bind-address=127.0.0.1", "--leader-elect=false",
			"--kube-api-qps=300", "--kube-api-burst=500", "--profiling=false"}, nil
	case Kubelet:
		return []string{b[Kubelet],
			"--kubeconfig=" + kubeconfigOf(p, pki.Kubelet), "--config=" + p.Path("config", "kubelet.yaml"),
			"--root-dir=" + p.Path("kubelet"), "--cert-dir=" + p.Path("kubelet", "pki"),
			"--hostname-override=" + plan.Node, "--node-ip=" + p.NodeIP}, nil
	case Proxy:
		return []string{b[Proxy], "--config=" + p.Path("config", "kube-proxy.yaml")}, nil
	case KubeRouter:
		return append([]string{b[KubeRouter]}, kubeRouterFlags(p)...), nil
	case Provisioner:
		return []string{b[Provisioner],
			"-kubeconfig", kubeconfigOf(p, pki.Provisioner), "-dir", p.Path("volumes"), "-node", plan.Node}, nil
	}
	return nil, fmt.Errorf("%s is no daemon of the node", name)
}

func etcdFlags(p plan.Plan) []string {
	const client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return []string{
		"--name=n1", "--data-dir=" + p.Path("etcd"), "--log-level=warn",
		"--unsafe-no-fsync", // a test cluster's data need not survive the machine
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=n1=" + peer,
	}
}

func apiServerFlags(p plan.Plan) []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=" + p.NodeIP, "--advertise-address=" + p.NodeIP, "--secure-port=" + strconv.Itoa(plan.APIServerPort),
		"--service-cluster-ip-range=" + p.ServiceCIDR,
		"--allow-privileged",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + p.Path("pki", "ca.crt"),
		"--tls-cert-file=" + p.Path("pki", "apiserver.crt"), "--tls-private-key-file=" + p.Path("pki", "apiserver.key"),
		"--kubelet-client-certificate=" + p.Path("pki", "apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + p.Path("pki", "apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.Path("pki", "ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file=" + p.Path("pki", "front-proxy.crt"), "--proxy-client-key-file=" + p.Path("pki", "front-proxy.key"),
		"--requestheader-client-ca-file=" + p.Path("pki", "ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.Path("pki", "sa.pub"), "--service-account-signing-key-file=" + p.Path("pki", "sa.key"),
		"--profiling=false", "--event-ttl=1h",
	}
}

func controllerFlags(p plan.Plan) []string {
	return []string{
		"--kubeconfig=" + kubeconfigOf(p, pki.Controllers), "--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials", "--service-account-private-key-file=" + p.Path("pki", "sa.key"),
		"--root-ca-file=" + p.Path("pki", "ca.crt"),
		"--cluster-signing-cert-file=" + p.Path("pki", "ca.crt"), "--cluster-signing-key-file=" + p.Path("pki", "ca.key"),
		"--node-monitor-period=1s", "--allocate-node-cidrs=false",
		"--kube-api-qps=300", "--kube-api-burst=500", "--profiling=false",
	}
}

// kubeRouterFlags switches on kube-router's firewall, which enforces network
// policies, and nothing else of it.
func kubeRouterFlags(p plan.Plan) []string {
	return []string{
		"--kubeconfig=" + kubeconfigOf(p, pki.KubeRouter), "--hostname-override=" + plan.Node,
		"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
		"--enable-ipv4=true", "--enable-ipv6=false",
		"--service-cluster-ip-range=" + p.ServiceCIDR, "--service-node-port-range=30000-32767",
		"--health-port=0", "--metrics-addr=127.0.0.1", "--metrics-port=0", "--iptables-sync-period=5m", "--v=1",
	}
}

// StartRegistry starts the registry and the hub in front of it. They run on
// the host, as the registry of a company would beside its clusters. Self is
// this program, which is the hub when it is called with serve.
func StartRegistry(g process.Group, p plan.Plan, self, serve string) error {
	err := g.Start(process.Daemon{Name: Registry, Args: []string{"/usr/bin/docker-registry", "serve", p.Path("config", "registry.yml")}})
	if err != nil {
		return err
	}
	return g.Start(process.Daemon{Name: Hub, Args: []string{self, serve, p.Registry(), p.Store(),
		p.Path("pki", pki.Tokens+".crt"), p.Path("pki", pki.Tokens+".key"), p.Path("registry-users.json")}})
}
