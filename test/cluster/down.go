package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

// down stops the cluster. It also cleans up after an incomplete one, and
// reports if there is none.
func (p *program) down(ctx context.Context, _ []string) error {
	began := time.Now()
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	pl, ok, err := plan.Find(p.root, p.name)
	if err != nil {
		return err
	}
	if !ok {
		p.say("there is no cluster %s", p.name)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := newCluster(pl).remove(ctx); err != nil {
		return err
	}
	p.say("cluster %s is gone after %s", pl.Name, since(began))
	return nil
}

// remove ends every process of the cluster at once, and then takes away what
// the kernel has not: the order is what makes it short. Mounts live in the
// node's own namespace and end with its processes.
func (c *cluster) remove(ctx context.Context) error {
	if err := c.group.KillAll(ctx); err != nil {
		return err
	}
	err := errors.Join(
		node.RemoveNetwork(ctx, c.plan),
		node.Unmount(c.plan.Dir),
		c.removeCgroups(ctx),
	)
	if err != nil {
		return err
	}
	return removeDir(c.plan.Dir)
}

// removeCgroups tries for a moment: the kernel empties a cgroup a little after
// its last process has ended.
func (c *cluster) removeCgroups(ctx context.Context) error {
	return c.poll(ctx, 5*time.Second, 20*time.Millisecond, "cgroups are empty", c.group.Remove)
}

// removeDir removes the cluster's directory, the file that names its index
// last, so that a removal that is killed half-way can be repeated.
func removeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		if !strings.EqualFold(e.Name(), "index") {
			failed = append(failed, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
