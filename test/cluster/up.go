package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/debian"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/hub"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/mirror"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/parts"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/process"
)

// up makes sure of one thing after another. Each step leaves alone what is as
// it should be, so a second `up` changes nothing, and one after a killed `up`
// does the rest.
func (p *program) up(ctx context.Context, _ []string) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: network namespaces, mounts, cgroups")
	}
	began := time.Now()
	ready, err := p.prepare(ctx)
	if err != nil {
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	if err := c.start(ctx, ready); err != nil {
		return fmt.Errorf("%w\nlogs are in %s", err, c.group.Logs)
	}
	p.say("cluster %s is up after %s", c.plan.Name, since(began))
	if err := c.check(ctx); err != nil {
		return err
	}
	p.say("checked after %s; %s", since(began), c.plan.Kubeconfig())
	return nil
}

// built is what a cluster is made of.
type built struct {
	binaries parts.Binaries
	mirror   *mirror.Mirror
}

// prepare gets everything that is needed before a cluster can start; all of
// it stays in the cache.
func (p *program) prepare(ctx context.Context) (built, error) {
	if err := debian.Install(ctx, p.progress); err != nil {
		return built{}, err
	}
	var binaries parts.Binaries
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		binaries, err = parts.Build(groupCtx, p.sources, p.cacheDir, p.progress)
		return err
	})
	group.Go(func() error { return mirror.Fetch(groupCtx, p.cacheDir, p.progress) })
	if err := group.Wait(); err != nil {
		return built{}, err
	}
	m, err := mirror.Build(ctx, p.cacheDir, binaries, p.progress)
	return built{binaries: binaries, mirror: m}, err
}

func (p *program) build(ctx context.Context, _ []string) error {
	_, err := parts.Build(ctx, p.sources, p.cacheDir, p.progress)
	return err
}

func (p *program) images(ctx context.Context, _ []string) error {
	ready, err := p.prepare(ctx)
	if err != nil {
		return err
	}
	for _, name := range ready.mirror.Names() {
		fmt.Fprintln(p.out, name)
	}
	return nil
}

// databases puts images into the registry of a running cluster that only compose projects kept elsewhere need.
func (p *program) databases(ctx context.Context, _ []string) error {
	c, err := p.find()
	if err != nil {
		return err
	}
	m, err := mirror.BuildDatabases(ctx, p.cacheDir, p.progress)
	if err != nil {
		return err
	}
	if err := m.Seed(c.plan.Path("registry")); err != nil {
		return err
	}
	for _, name := range m.Names() {
		fmt.Fprintln(p.out, name)
	}
	return nil
}

// lock keeps a second `up` or `down` of the same cluster waiting.
func (p *program) lock() (func(), error) {
	if err := os.MkdirAll(p.root, 0o755); err != nil {
		return nil, err
	}
	return cache.Lock(filepath.Join(p.root, "."+p.name+".lock"))
}

// cluster is a cluster on this machine.
type cluster struct {
	plan  plan.Plan
	group process.Group
}

func newCluster(pl plan.Plan) *cluster {
	return &cluster{plan: pl, group: process.Group{Name: pl.NetNS, Dir: pl.Path("pids"), Logs: pl.Path("log")}}
}

// take answers the cluster, planned now or before. What is left of one that
// the machine's last boot has ended is cleared away first, and so is one whose
// namespaces are gone: nothing in it could be repaired.
func (p *program) take(ctx context.Context) (*cluster, error) {
	pl, err := plan.Take(p.root, p.name)
	if err != nil {
		return nil, err
	}
	c := newCluster(pl)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	mark, err := os.ReadFile(pl.Path("boot"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	stale := len(mark) > 0 && string(mark) != string(boot)
	broken := len(mark) > 0 && !(node.NetworkUp(pl) && c.group.Running(node.Holder)) && c.begun()
	if stale || broken {
		p.say("clearing away what is left of cluster %s", pl.Name)
		if err := c.remove(ctx); err != nil {
			return nil, err
		}
		if pl, err = plan.Take(p.root, p.name); err != nil {
			return nil, err
		}
	}
	return c, cache.WriteFile(pl.Path("boot"), boot, 0o644)
}

// begun reports whether any daemon was started in the node's namespaces.
func (c *cluster) begun() bool {
	names, err := c.group.Daemons()
	return err != nil || len(names) > 0
}

// start brings up what does not run.
func (c *cluster) start(ctx context.Context, ready built) error {
	if err := c.group.Make(); err != nil {
		return err
	}
	if err := node.MakeNetwork(ctx, c.plan); err != nil {
		return err
	}
	if err := node.Hold(ctx, c.group, c.plan); err != nil {
		return err
	}
	if err := node.WriteFiles(c.plan); err != nil {
		return err
	}
	if _, err := hub.UsersFile(c.plan.Path("registry-users.json"), true); err != nil {
		return err
	}
	if err := c.linkPrograms(ready.binaries); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.startRegistry(ready) })
	group.Go(func() error { return c.startRuntime(groupCtx, ready) })
	group.Go(func() error { return c.startControlPlane(groupCtx, ready) })
	if err := group.Wait(); err != nil {
		return err
	}
	return c.awaitReady(ctx)
}

// wanted are the programs that a user of the cluster wants on the PATH: its clients, and what tests start an API server of their
// own with.
var wanted = []string{"kubectl", "helm", "etcd", "kube-apiserver"}

// linkPrograms puts the wanted programs into one directory.
func (c *cluster) linkPrograms(b parts.Binaries) error {
	dir := c.plan.Path("bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range wanted {
		link := filepath.Join(dir, name)
		if target, err := os.Readlink(link); err == nil && target == b[name] {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(b[name], link); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) startRegistry(ready built) error {
	if err := ready.mirror.Seed(c.plan.Path("registry")); err != nil {
		return err
	}
	if c.group.Running(node.Registry) && c.group.Running(node.Hub) {
		return nil
	}
	self, err := c.copySelf()
	if err != nil {
		return err
	}
	return node.StartRegistry(c.group, c.plan, self, serveHub)
}

// copySelf keeps a copy of this program, as `go run` removes the one it made.
func (c *cluster) copySelf() (string, error) {
	running, err := os.Executable()
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(running)
	if err != nil {
		return "", err
	}
	path := c.plan.Path("bin", "cluster")
	return path, cache.WriteFile(path, program, 0o755)
}

func (c *cluster) startRuntime(ctx context.Context, ready built) error {
	if err := node.Start(c.group, c.plan, ready.binaries, node.Containerd); err != nil {
		return err
	}
	return c.once(ready.mirror.Archives(), "imported", func() error {
		if err := node.AwaitContainerd(ctx, c.plan); err != nil {
			return err
		}
		return node.Import(ctx, c.plan, ready.mirror.Archives()...)
	})
}

// once does something for these inputs unless it was done before in this
// cluster's life, which it marks in a file.
func (c *cluster) once(inputs []string, mark string, do func() error) error {
	want := strings.Join(inputs, "\n")
	if have, err := os.ReadFile(c.plan.Path(mark)); err == nil && string(have) == want {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	return cache.WriteFile(c.plan.Path(mark), []byte(want), 0o644)
}

func (p *program) say(format string, args ...any) {
	fmt.Fprintf(p.progress, strings.TrimSuffix(format, "\n")+"\n", args...)
}

func since(t time.Time) string { return time.Since(t).Round(10 * time.Millisecond).String() }
