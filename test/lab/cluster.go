// Package lab assembles the real parts for the end-to-end tests, the demo and the benchmark: a Kubernetes cluster of test/cluster, a
// GitHub of test/github, and Conductor, built from this source and installed with its chart.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Cluster is a running cluster, as `test/cluster env` describes it.
type Cluster struct {
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Registry is the registry's host:port, with a credential that can push everywhere and one that can only pull.
	Registry, PushUser, PushPassword, PullUser, PullPassword string
	// HostIP is the address of this machine for pods, NodeIP that of the node for this machine.
	HostIP, NodeIP string
	// KanikoImage is the executor's image.
	KanikoImage string
	// env is everything that env printed.
	env map[string]string
}

// root is the directory of the repository, from the path of this source file or, in a program that was built with -trimpath, from the
// working directory.
func root() string {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		return filepath.Dir(filepath.Dir(filepath.Dir(file)))
	}
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "charts", "conductor")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// clusterTool runs test/cluster's program.
func clusterTool(ctx context.Context, out io.Writer, args ...string) error {
	cmd := clusterCommand(ctx, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("test/cluster %s: %w", args[0], err)
	}
	return nil
}

// lean are the flags with which Conductor and the lab's tools are compiled: the same for all, to share Go's build cache, and without
// debug information.
var lean = []string{"-trimpath", "-gcflags", "all=-dwarf=false"}

func clusterCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"-C", filepath.Join(root(), "test", "cluster"), "run"}, lean, []string{"."}, args)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// Up starts the cluster, or attaches to a running one.
func Up(ctx context.Context, out io.Writer) (*Cluster, error) {
	if err := clusterTool(ctx, out, "up"); err != nil {
		return nil, err
	}
	return Attach(ctx)
}

// Attach returns a running cluster.
func Attach(ctx context.Context) (*Cluster, error) {
	var out bytes.Buffer
	if err := clusterTool(ctx, &out, "env"); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out.String())
	}
	env := parseEnv(out.String())
	c := &Cluster{
		Kubeconfig: env["KUBECONFIG"], Registry: env["CONDUCTOR_REGISTRY"],
		PushUser: env["CONDUCTOR_REGISTRY_USER"], PushPassword: env["CONDUCTOR_REGISTRY_PASSWORD"],
		PullUser: env["CONDUCTOR_REGISTRY_PULL_USER"], PullPassword: env["CONDUCTOR_REGISTRY_PULL_PASSWORD"],
		HostIP: env["CONDUCTOR_HOST_IP"], NodeIP: env["CONDUCTOR_NODE_IP"], KanikoImage: env["CONDUCTOR_KANIKO_IMAGE"], env: env,
	}
	for name, value := range map[string]string{"KUBECONFIG": c.Kubeconfig, "CONDUCTOR_REGISTRY": c.Registry, "CONDUCTOR_HOST_IP": c.HostIP, "CONDUCTOR_NODE_IP": c.NodeIP, "CONDUCTOR_KANIKO_IMAGE": c.KanikoImage} {
		if value == "" {
			return nil, fmt.Errorf("test/cluster env does not say %s", name)
		}
	}
	return c, nil
}

// parseEnv reads lines of `export NAME=value`, with or without quotes.
func parseEnv(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if ok {
			env[name] = strings.NewReplacer(`"`, "", "'", "").Replace(value)
		}
	}
	return env
}

// tool returns a command for a program that comes with the cluster, such as kubectl or helm.
func (c *Cluster) tool(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	if p := c.env["PATH"]; p != "" {
		dirs := strings.ReplaceAll(p, "$PATH", os.Getenv("PATH"))
		cmd.Env = append(cmd.Env, "PATH="+dirs)
		for _, d := range filepath.SplitList(dirs) {
			if st, err := os.Stat(filepath.Join(d, name)); err == nil && !st.IsDir() {
				cmd.Path = filepath.Join(d, name)
				cmd.Err = nil
				break
			}
		}
	}
	return cmd
}

// Kubectl runs kubectl and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := c.tool(ctx, "kubectl", args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
