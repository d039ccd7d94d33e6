package main

import (
	"context"
	"time"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/check"
)

// checkLimit is when a check that has not succeeded has failed.
const checkLimit = 40 * time.Second

func (p *program) check(ctx context.Context, _ []string) error {
	c, err := p.find()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := c.check(ctx); err != nil {
		return err
	}
	p.say("all checks passed after %s", since(began))
	return nil
}

// check tries everything, and wants every daemon to be alive before and after:
// without kube-router, for one, new pods are open to each other.
func (c *cluster) check(ctx context.Context) error {
	if err := c.healthy(ctx); err != nil {
		return err
	}
	err := check.Run(ctx, check.Options{Kubeconfig: c.plan.Kubeconfig(), Image: "busybox:1.36", Absent: "absent/absent:0", Limit: checkLimit})
	if err != nil {
		return err
	}
	return c.healthy(ctx)
}
