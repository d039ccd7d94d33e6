//go:build cluster

// These tests make, kill and end real clusters: go test -tags cluster .
// They need root, and the programs and images that `build` and `images` make.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

// The clusters of these tests, beside whatever else runs on this machine.
const one, two = "test-one", "test-two"

var command string // this program

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cluster-test-")
	if err != nil {
		panic(err)
	}
	command = filepath.Join(dir, "cluster")
	if output, err := exec.Command("go", "build", "-o", command, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, output))
	}
	code := m.Run()
	for _, name := range []string{one, two} {
		if output, err := runCluster(name, "down"); err != nil {
			fmt.Printf("down %s: %v\n%s", name, err, output)
			code = 1
		}
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func clusterCommand(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(command, args...)
	cmd.Env = append(os.Environ(), "CLUSTER=", "CLUSTER_NAME="+name)
	return cmd
}

func runCluster(name string, args ...string) (string, error) {
	output, err := clusterCommand(name, args...).CombinedOutput()
	return string(output), err
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, err := runCluster(name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
	return output
}

// find answers a cluster of these tests.
func find(t *testing.T, name string) *cluster {
	t.Helper()
	p, err := newProgram(new(bytes.Buffer), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	p.name = name
	c, err := p.find()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pids are the pids of all daemons.
func pids(t *testing.T, c *cluster) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, name := range node.Daemons() {
		found[name], _ = c.group.Pid(name)
	}
	return found
}

// nothingLeft fails when anything of a cluster is on this machine.
func nothingLeft(t *testing.T, p plan.Plan) {
	t.Helper()
	var left []string
	for _, pattern := range []string{p.Dir, "/run/netns/" + p.NetNS, "/sys/class/net/" + p.HostIf, "/sys/fs/cgroup/" + p.NetNS, "/sys/fs/cgroup/*/" + p.NetNS} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), p.Dir+"/") {
		left = append(left, "mounts below "+p.Dir)
	}
	routes, err := exec.Command("ip", "route").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, cidr := range []string{p.PodCIDR, p.ServiceCIDR} {
		if strings.Contains(string(routes), cidr) {
			left = append(left, "route to "+cidr)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		if text, _ := os.ReadFile(file); bytes.Contains(text, []byte(p.Dir+"/")) {
			left = append(left, fmt.Sprintf("%s: %q", file, text))
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func TestUpTwiceChangesNothing(t *testing.T) {
	must(t, one, "up")
	c := find(t, one)
	before := pids(t, c)
	must(t, one, "up")
	if diff := cmp.Diff(before, pids(t, c)); diff != "" {
		t.Errorf("the second up changed what runs (-before +after):\n%s", diff)
	}
	must(t, one, "status")
	must(t, one, "check")
}

// TestUpRepairs kills one daemon after another. Status and check must report
// it, and up must repair it.
func TestUpRepairs(t *testing.T) {
	must(t, one, "up")
	c := find(t, one)
	for _, name := range []string{node.KubeRouter, node.Kubelet, node.Containerd, node.APIServer, node.Etcd, node.Hub} {
		t.Run(name, func(t *testing.T) {
			if err := c.group.Stop(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"status", "check"} {
				if output, err := runCluster(one, command); err == nil || !strings.Contains(output, name) {
					t.Errorf("%s without %s: %v\n%s", command, name, err, output)
				}
			}
			must(t, one, "up")
		})
	}
}

// TestUpAfterTheNamespaceIsGone takes away what nothing can be repaired in.
func TestUpAfterTheNamespaceIsGone(t *testing.T) {
	must(t, one, "up")
	c := find(t, one)
	if err := c.group.Stop(t.Context(), node.Holder); err != nil {
		t.Fatal(err)
	}
	must(t, one, "up")
	must(t, one, "status")
}

// TestKilledUp kills `up` at random moments, and then lets another finish, or
// takes down what there is.
func TestKilledUp(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 6 {
		moment := time.Duration(random.Int64N(int64(7 * time.Second)))
		t.Run(fmt.Sprintf("after %s", moment.Round(time.Millisecond)), func(t *testing.T) {
			must(t, one, "down")
			killAfter(t, clusterCommand(one, "up"), moment)
			if i%2 == 1 {
				p := planned(t, one)
				must(t, one, "down")
				nothingLeft(t, p)
				return
			}
			must(t, one, "up")
			must(t, one, "status")
		})
	}
}

// TestKilledDown kills `down` at random moments; the next one does the rest.
func TestKilledDown(t *testing.T) {
	for range 3 {
		must(t, one, "up")
		p := find(t, one).plan
		killAfter(t, clusterCommand(one, "down"), rand.N(500*time.Millisecond))
		must(t, one, "down")
		nothingLeft(t, p)
	}
}

// planned is the plan that a cluster has or would get.
func planned(t *testing.T, name string) plan.Plan {
	t.Helper()
	p, err := newProgram(new(bytes.Buffer), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	found, ok, err := plan.Find(p.root, name)
	if err != nil {
		t.Fatal(err)
	}
	if !ok { // killed before it was planned
		found, err = plan.New(p.root, name, plan.Clusters-1)
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func killAfter(t *testing.T, cmd *exec.Cmd, moment time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(moment) // the moment is what is tested, nothing is waited for
	_ = cmd.Process.Kill()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it failed before it was killed: %v", err)
	}
}

// TestTwoClusters has two clusters beside each other that share nothing, and
// uses the second as a user's own.
func TestTwoClusters(t *testing.T) {
	must(t, one, "up")
	must(t, two, "up")
	a, b := find(t, one), find(t, two)

	first, err := a.group.Members()
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.group.Members()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range first {
		if slices.Contains(second, pid) {
			t.Errorf("process %d is in both", pid)
		}
	}
	for _, kind := range []string{"net", "mnt"} {
		if x, y := namespaceOf(t, a, kind), namespaceOf(t, b, kind); x == y {
			t.Errorf("both have %s namespace %s", kind, x)
		}
	}

	kubectl(t, a, "create", "namespace", "only-in-one")
	if output := kubectl(t, b, "get", "namespaces"); strings.Contains(output, "only-in-one") {
		t.Errorf("the second cluster has the first one's namespace:\n%s", output)
	}
	must(t, one, "image", "-binary", command, "-name", "conductor/only:in-one")
	if found, _ := filepath.Glob(b.plan.Path("registry", "docker", "registry", "v2", "repositories", "conductor", "*")); len(found) > 0 {
		t.Errorf("the second registry has %v", found)
	}

	existing := exec.Command(command, "up")
	existing.Env = append(os.Environ(), "CLUSTER=existing", "KUBECONFIG="+b.plan.Kubeconfig())
	if output, err := existing.CombinedOutput(); err != nil || !strings.Contains(string(output), b.plan.Server()) {
		t.Errorf("CLUSTER=existing: %v\n%s", err, output)
	}
	down := exec.Command(command, "down")
	down.Env = existing.Env
	if output, err := down.CombinedOutput(); err == nil {
		t.Errorf("down of an existing cluster was done:\n%s", output)
	}

	must(t, one, "down")
	nothingLeft(t, a.plan)
	must(t, two, "status")
	must(t, two, "check")
	must(t, two, "down")
	nothingLeft(t, b.plan)
}

// namespaceOf names the kernel's namespace that a cluster's kubelet is in.
func namespaceOf(t *testing.T, c *cluster, kind string) string {
	t.Helper()
	pid, ok := c.group.Pid(node.Kubelet)
	if !ok {
		t.Fatalf("cluster %s has no kubelet", c.plan.Name)
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func kubectl(t *testing.T, c *cluster, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.plan.Path("bin", "kubectl"), append([]string{"--kubeconfig=" + c.plan.Kubeconfig()}, args...)...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, output)
	}
	return string(output)
}
