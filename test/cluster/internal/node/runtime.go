package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

// AwaitContainerd waits until containerd answers.
func AwaitContainerd(ctx context.Context, p plan.Plan) error {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = os.Stat(p.ContainerdSocket()); err == nil {
			if err = ctr(ctx, p, "version"); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("containerd does not answer: %w", err)
}

// Import puts image archives into containerd's store.
func Import(ctx context.Context, p plan.Plan, archives ...string) error {
	for _, archive := range archives {
		if err := ctr(ctx, p, "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

func ctr(ctx context.Context, p plan.Plan, args ...string) error {
	args = append([]string{"--address", p.ContainerdSocket(), "--namespace", "k8s.io"}, args...)
	if output, err := exec.CommandContext(ctx, "/usr/bin/ctr", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// Unmount takes away every mount at or below dir that this process sees. The
// node's mounts are in a namespace of its own and go with it; this is for one
// that was made in the wrong place.
func Unmount(dir string) error {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // what was mounted last goes first
		fields := strings.Fields(lines[i])
		if len(fields) < 2 || fields[1] != dir && !strings.HasPrefix(fields[1], dir+"/") {
			continue
		}
		if output, err := exec.Command("umount", "--lazy", fields[1]).CombinedOutput(); err != nil {
			return fmt.Errorf("umount %s: %w: %s", fields[1], err, output)
		}
	}
	return nil
}
