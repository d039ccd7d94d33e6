package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/process"
)

// Holder is the name of the daemon that keeps the node's mount namespace.
const Holder = "namespace"

// hold makes a mount namespace in which the node has directories of its own
// where daemons insist on fixed paths, switches on what a node's kernel must
// do, and stays. Mounts that containers and volumes need are made in this
// namespace, so they end with the last process in it. $1 is the cluster's
// directory.
const hold = `set -e
mount --make-rprivate /
mount --bind "$1/run" /run
mount --bind "$1/log/node" /var/log
mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
exec sleep infinity`

// Hold starts the namespace's holder and waits until the namespace is as it
// should be.
func Hold(ctx context.Context, g process.Group, p plan.Plan) error {
	for _, dir := range []string{p.Path("run"), p.Path("log", "node")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	err := g.Start(process.Daemon{Name: Holder, Args: []string{
		"/usr/bin/nsenter", "--net=" + namespaces + "/" + p.NetNS,
		"/usr/bin/unshare", "--mount", "/bin/sh", "-c", hold, "sh", p.Dir,
	}})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		pid, ok := g.Pid(Holder)
		if !ok {
			break
		}
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "sleep" {
			return nil // it becomes this when it has done the rest
		}
	}
	return fmt.Errorf("the node's namespace was not made; see %s", g.LogFile(Holder))
}

// within is the prefix that runs a program on the node: in its network and
// mount namespaces, and in nothing else of its own.
func within(g process.Group) ([]string, error) {
	pid, ok := g.Pid(Holder)
	if !ok {
		return nil, fmt.Errorf("the node's namespace is gone")
	}
	return []string{"/usr/bin/nsenter", fmt.Sprintf("--target=%d", pid), "--net", "--mount"}, nil
}
