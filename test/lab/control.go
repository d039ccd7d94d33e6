package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Command returns a command for a program that comes with the cluster, such as kubectl or helm, as the cluster's administrator.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return c.tool(ctx, name, args...)
}

// Signal sends a signal to one of the cluster's daemons, such as kube-apiserver. It works only for clusters of test/cluster.
func (c *Cluster) Signal(daemon string, s syscall.Signal) error {
	logs := c.env["CONDUCTOR_CLUSTER_LOGS"]
	if logs == "" {
		return fmt.Errorf("the daemons of this cluster cannot be reached")
	}
	// The file is a copy of /proc/PID/stat from the daemon's start; fields that may contain spaces come after the pid.
	data, err := os.ReadFile(filepath.Join(filepath.Dir(logs), "pids", daemon+".stat"))
	if err != nil {
		return fmt.Errorf("find %s: %w", daemon, err)
	}
	field, _, _ := strings.Cut(string(data), " ")
	pid, err := strconv.Atoi(field)
	if err != nil {
		return fmt.Errorf("find %s: %w", daemon, err)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(name), daemon) {
		return fmt.Errorf("%s does not run: process %d is %q", daemon, pid, name)
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("signal %s: %w", daemon, err)
	}
	return nil
}

// Add starts an optional part, such as traefik; see test/cluster. It works only for clusters of test/cluster.
func (c *Cluster) Add(ctx context.Context, name string) error {
	return clusterTool(ctx, os.Stderr, "add", name)
}

// Drop removes an optional part.
func (c *Cluster) Drop(ctx context.Context, name string) error {
	return clusterTool(ctx, os.Stderr, "drop", name)
}

// Program builds a program that tests run, such as oras, and returns its path.
func Program(ctx context.Context, name string) (string, error) {
	var out bytes.Buffer
	cmd := clusterCommand(ctx, "program", name)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("test/cluster program %s: %w", name, err)
	}
	return strings.TrimSpace(out.String()), nil
}

// Kill kills the processes of a pod's container with SIGKILL; the kubelet restarts it. It works only for pods on this machine.
func (c *Cluster) Kill(pod types.UID, program string) error {
	pids, err := c.Processes(pod, program)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		// A planning process ends together with its parent.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s of pod %s: %w", program, pod, err)
		}
	}
	return nil
}

// Files lists the files of a pod's container that match a pattern, as its program sees them. It works only for pods on this machine.
func (c *Cluster) Files(pod types.UID, program, pattern string) ([]string, error) {
	pids, err := c.Processes(pod, program)
	if err != nil {
		return nil, err
	}
	root := fmt.Sprintf("/proc/%d/root", pids[0])
	found, err := filepath.Glob(root + pattern)
	if err != nil {
		return nil, fmt.Errorf("look into pod %s: %w", pod, err)
	}
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], root)
	}
	return found, nil
}

// Processes lists the ids on this machine of a pod's processes that were started as program. Without any it returns an error. It works
// only for pods on this machine.
func (c *Cluster) Processes(pod types.UID, program string) ([]int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find the processes of pod %s: %w", pod, err)
	}
	var pids []int
	for _, file := range found {
		// A process may end while it is read.
		group, _ := os.ReadFile(file)
		if !strings.Contains(string(group), "/pod"+string(pod)+"/") {
			continue
		}
		dir := filepath.Dir(file)
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if name, _, _ := strings.Cut(string(line), "\x00"); name != program {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, fmt.Errorf("find the processes of pod %s: %w", pod, err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("pod %s has no process %s on this machine", pod, program)
	}
	return pids, nil
}

// Reinstall upgrades Conductor with other values, and waits until it is ready.
func (l *Lab) Reinstall(ctx context.Context, values map[string]any) error {
	in := l.Install
	in.Values = values
	return l.Cluster.Install(ctx, in, os.Stderr)
}

// settled waits until the replicas of an earlier installation are gone, which may still lead or get requests for some seconds, and
// until the webhook's address is served by the others.
func (c *Cluster) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// Each request gets a connection of its own, so that each is routed separately.
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	for good := 0; good < 10; {
		leaving, err := c.Kubectl(ctx, "-n", Namespace, "get", "pods", "-l", "app.kubernetes.io/name=conductor", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")
		if err == nil && leaving == "" {
			err = c.ready(ctx, fresh)
		}
		if good++; err != nil || leaving != "" {
			good = 0
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("conductor does not settle: %w (%v)", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// ready checks the readiness of the replica that the webhook's address is routed to.
func (c *Cluster) ready(ctx context.Context, with *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.WebhookURL(), "/webhook")+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	res, err := with.Do(req)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}
