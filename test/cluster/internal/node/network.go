// Package node makes a cluster's node: its network and mount namespaces, the
// settings of everything that runs in them, and the list of its daemons.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

const namespaces = "/run/netns" // where ip-netns(8) keeps names

// inside is the name of the namespace's end of the link to the host.
const inside = "eth0"

// MakeNetwork makes the cluster's network namespace and the only link between
// it and the host. It has no default route, so connections of a pod to an
// address outside the cluster fail at once.
func MakeNetwork(ctx context.Context, p plan.Plan) error {
	if err := makeNamespace(ctx, p.NetNS); err != nil {
		return err
	}
	if _, err := os.Stat("/sys/class/net/" + p.HostIf); errors.Is(err, fs.ErrNotExist) {
		if err := ip(ctx, "link", "add", p.HostIf, "type", "veth", "peer", "name", inside, "netns", p.NetNS); err != nil {
			return err
		}
	}
	return errors.Join(
		ip(ctx, "addr", "replace", p.HostIP+"/24", "dev", p.HostIf),
		ip(ctx, "link", "set", p.HostIf, "up"),
		ip(ctx, "-n", p.NetNS, "addr", "replace", p.NodeIP+"/24", "dev", inside),
		ip(ctx, "-n", p.NetNS, "link", "set", inside, "up"),
		ip(ctx, "-n", p.NetNS, "link", "set", "lo", "up"),
		// From the host to pods and services. Behind each route lies one that
		// refuses, for the moments in which the link is not there: these
		// addresses must never be looked for outside.
		ip(ctx, "route", "replace", p.PodCIDR, "via", p.NodeIP),
		ip(ctx, "route", "replace", p.ServiceCIDR, "via", p.NodeIP),
		ip(ctx, "route", "replace", "unreachable", p.PodCIDR, "metric", "9999"),
		ip(ctx, "route", "replace", "unreachable", p.ServiceCIDR, "metric", "9999"),
		makeServiceRoute(ctx, p),
	)
}

// makeServiceRoute routes the services' addresses, within, onto a bridge that
// has no ports. Kube-proxy rewrites what goes to a service, but a sender on
// the node needs a route before that; and what no one rewrites ends there.
func makeServiceRoute(ctx context.Context, p plan.Plan) error {
	const nowhere = "services"
	if ip(ctx, "-n", p.NetNS, "link", "show", nowhere) != nil {
		if err := ip(ctx, "-n", p.NetNS, "link", "add", nowhere, "type", "bridge"); err != nil {
			return err
		}
	}
	return errors.Join(
		ip(ctx, "-n", p.NetNS, "link", "set", nowhere, "up"),
		ip(ctx, "-n", p.NetNS, "route", "replace", p.ServiceCIDR, "dev", nowhere, "src", p.NodeIP),
	)
}

// makeNamespace makes a named network namespace. A name without a namespace
// behind it is what a killed `ip netns add` leaves.
func makeNamespace(ctx context.Context, name string) error {
	if isNamespace(name) {
		return nil
	}
	if err := os.Remove(filepath.Join(namespaces, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ip(ctx, "netns", "add", name)
}

func isNamespace(name string) bool {
	var s unix.Statfs_t
	return unix.Statfs(filepath.Join(namespaces, name), &s) == nil && s.Type == unix.NSFS_MAGIC
}

// RemoveNetwork removes what MakeNetwork made.
func RemoveNetwork(ctx context.Context, p plan.Plan) error {
	var failed []error
	if _, err := os.Stat("/sys/class/net/" + p.HostIf); err == nil {
		failed = append(failed, ip(ctx, "link", "del", p.HostIf)) // its other end and its routes go with it
	}
	for _, cidr := range []string{p.PodCIDR, p.ServiceCIDR} {
		if output, err := exec.CommandContext(ctx, "ip", "route", "show", "type", "unreachable", cidr).Output(); err == nil && len(output) > 0 {
			failed = append(failed, ip(ctx, "route", "del", "unreachable", cidr, "metric", "9999"))
		}
	}
	if isNamespace(p.NetNS) {
		failed = append(failed, ip(ctx, "netns", "del", p.NetNS))
	} else if err := os.Remove(filepath.Join(namespaces, p.NetNS)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// NetworkUp reports whether the namespace and its link are there.
func NetworkUp(p plan.Plan) bool {
	_, err := os.Stat("/sys/class/net/" + p.HostIf)
	return err == nil && isNamespace(p.NetNS)
}

func ip(ctx context.Context, args ...string) error {
	if output, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
