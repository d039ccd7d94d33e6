package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/hub"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

// status lists the daemons and fails unless all of them run and the node is
// ready.
func (p *program) status(ctx context.Context, _ []string) error {
	c, err := p.find()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	for _, name := range node.Daemons() {
		state := "not running"
		if pid, ok := c.group.Pid(name); ok {
			state = fmt.Sprintf("running, pid %d", pid)
		}
		fmt.Fprintf(w, "%s\t%s\n", name, state)
	}
	healthy := c.healthy(ctx)
	state := "healthy"
	if healthy != nil {
		state = "not healthy"
	}
	fmt.Fprintf(w, "cluster %s\t%s\n", c.plan.Name, state)
	return errors.Join(healthy, w.Flush())
}

// healthy is nil when every daemon runs, the API server answers and the node
// is ready.
func (c *cluster) healthy(ctx context.Context) error {
	var failed []error
	if !node.NetworkUp(c.plan) {
		failed = append(failed, errors.New("the node's network is gone"))
	}
	for _, name := range node.Daemons() {
		if !c.group.Running(name) {
			failed = append(failed, fmt.Errorf("%s does not run; see %s", name, c.group.LogFile(name)))
		}
	}
	if len(failed) == 0 {
		client, err := c.client()
		if err != nil {
			return err
		}
		failed = append(failed, nodeReady(ctx, client))
	}
	return errors.Join(failed...)
}

// find answers the cluster that is on this machine.
func (p *program) find() (*cluster, error) {
	pl, ok, err := plan.Find(p.root, p.name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("there is no cluster %s; `up` makes it", p.name)
	}
	return newCluster(pl), nil
}

// env prints the cluster's settings as shell commands.
func (p *program) env(_ context.Context, _ []string) error {
	c, err := p.find()
	if err != nil {
		return err
	}
	users, err := hub.UsersFile(c.plan.Path("registry-users.json"), false)
	if err != nil {
		return err
	}
	for _, s := range c.settings(users) {
		fmt.Fprintf(p.out, "export %s='%s'\n", s[0], s[1])
	}
	fmt.Fprintf(p.out, "export PATH='%s':\"$PATH\"\n", c.plan.Path("bin"))
	return nil
}

func (c *cluster) settings(users hub.Users) [][2]string {
	pl := c.plan
	return [][2]string{
		{"KUBECONFIG", pl.Kubeconfig()},
		{"CONDUCTOR_REGISTRY", pl.Registry()},
		{"CONDUCTOR_REGISTRY_USER", hub.Pusher},
		{"CONDUCTOR_REGISTRY_PASSWORD", users[hub.Pusher]},
		{"CONDUCTOR_REGISTRY_PULL_USER", hub.Puller},
		{"CONDUCTOR_REGISTRY_PULL_PASSWORD", users[hub.Puller]},
		{"CONDUCTOR_HOST_IP", pl.HostIP},
		{"CONDUCTOR_NODE_IP", pl.NodeIP},
		{"CONDUCTOR_POD_CIDR", pl.PodCIDR},
		{"CONDUCTOR_SERVICE_CIDR", pl.ServiceCIDR},
		{"CONDUCTOR_KANIKO_IMAGE", kanikoImage},
		{"CONDUCTOR_REGISTRY_HOSTS", pl.RegistryHosts()},
		{"CONDUCTOR_CLUSTER_LOGS", pl.Path("log")},
		{"KUBEBUILDER_ASSETS", pl.Path("bin")},
	}
}

const kanikoImage = "gcr.io/kaniko-project/executor:v1.24.0"
