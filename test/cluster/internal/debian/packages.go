// Package debian gets programs and files out of Debian's packages: some are
// installed, since the cluster's node runs them, others only unpacked, since
// images are made of them.
package debian

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
)

// needs maps what a node runs to the package that holds it.
var needs = map[string]string{
	"/usr/bin/containerd":      "containerd",
	"/usr/bin/ctr":             "containerd",
	"/usr/sbin/runc":           "runc",
	"/usr/lib/cni/bridge":      "containernetworking-plugins",
	"/usr/sbin/iptables":       "iptables",
	"/usr/sbin/ipset":          "ipset",
	"/usr/sbin/conntrack":      "conntrack",
	"/usr/sbin/ethtool":        "ethtool",
	"/usr/bin/socat":           "socat",
	"/usr/bin/docker-registry": "docker-registry",
	"/bin/ip":                  "iproute2",
	"/usr/bin/nsenter":         "util-linux",
	"/bin/mount":               "mount",
}

// Install installs the packages whose programs are missing, and logs it.
func Install(ctx context.Context, out io.Writer) error {
	missing := map[string]bool{}
	for file, name := range needs {
		if _, err := os.Stat(file); err != nil {
			missing[name] = true
		}
	}
	if _, err := exec.LookPath("npm"); err != nil { // often there, and not from Debian
		missing["npm"] = true
	}
	if len(missing) == 0 {
		return nil
	}
	names := sorted(missing)
	if os.Geteuid() != 0 {
		return fmt.Errorf("these Debian packages are missing, and only root can install them: %s", strings.Join(names, " "))
	}
	fmt.Fprintf(out, "installing %s (about 15 seconds)\n", strings.Join(names, " "))
	if err := update(ctx); err != nil {
		return err
	}
	args := append([]string{"install", "-y", "--no-install-recommends"}, names...)
	return apt(ctx, "/", args...)
}

// Fetch downloads packages and unpacks them into one tree below dir. Nothing
// is installed and no script of theirs runs.
func Fetch(ctx context.Context, dir string, names ...string) error {
	debs, err := os.MkdirTemp("", "conductor-debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if err := os.Chmod(debs, 0o777); err != nil { // apt downloads as a user of its own
		return err
	}
	if err := apt(ctx, debs, append([]string{"download"}, names...)...); err != nil {
		if err := update(ctx); err != nil { // the lists may be missing, or older than the mirror
			return err
		}
		if err := apt(ctx, debs, append([]string{"download"}, names...)...); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != len(names) {
		return fmt.Errorf("asked for %d packages, got %d: %s", len(names), len(files), strings.Join(files, " "))
	}
	for _, f := range files {
		if output, err := exec.CommandContext(ctx, "dpkg-deb", "-x", f, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(f), err, output)
		}
	}
	return nil
}

// update fetches the package lists. One at a time, as apt has one lock.
func update(ctx context.Context) error {
	unlock, err := cache.Lock(filepath.Join(os.TempDir(), "conductor-apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	lists, err := os.Stat("/var/lib/apt/lists/partial")
	if err == nil && time.Since(lists.ModTime()) < time.Minute {
		return nil // another process has just done it
	}
	return apt(ctx, "/", "update")
}

func apt(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

func sorted(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
