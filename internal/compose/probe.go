package compose

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// Docker's defaults. https://docs.docker.com/reference/dockerfile/#healthcheck
const (
	defaultInterval = types.Duration(30 * time.Second)
	defaultTimeout  = types.Duration(30 * time.Second)
	defaultRetries  = 3
)

// health converts a health check to probes. The startup probe runs often, so that dependents start without delay, and never gives up:
// unlike Kubernetes, compose does not restart unhealthy containers. After the first success the readiness probe runs at the file's
// interval.
func (u *unit) health() {
	h := u.healthcheck()
	if h == nil || h.Disable {
		return
	}
	argv := u.testArgv(h.Test)
	if len(argv) == 0 {
		return
	}
	run := corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: argv}}
	timeout, interval := ceilSeconds(or(h.Timeout, defaultTimeout)), ceilSeconds(or(h.Interval, defaultInterval))
	retries := int32(defaultRetries)
	if h.Retries != nil && *h.Retries > 0 {
		retries = int32(min(*h.Retries, math.MaxInt32))
	}
	u.container.ReadinessProbe = &corev1.Probe{
		ProbeHandler: run, PeriodSeconds: interval, TimeoutSeconds: timeout, FailureThreshold: retries, SuccessThreshold: 1,
	}
	u.container.StartupProbe = &corev1.Probe{
		ProbeHandler: run, PeriodSeconds: min(interval, ceilSeconds(or(h.StartInterval, 0))), TimeoutSeconds: timeout,
		FailureThreshold: math.MaxInt32, SuccessThreshold: 1,
	}
	u.out.Probe = fmt.Sprintf("%s, every %ds, at most %ds", readable(strings.Join(h.Test[1:], " ")), interval, timeout)
}

// testArgv is the command of a health check; empty when there is none.
func (u *unit) testArgv(test []string) []string {
	if len(test) == 0 {
		return nil
	}
	switch test[0] {
	case "NONE":
		return nil
	case "CMD":
		if len(test) == 1 {
			u.refuse("healthcheck", "", "CMD needs a command")
		}
		return u.run("healthcheck", test[1:])
	case "CMD-SHELL":
		if len(test) == 1 {
			u.refuse("healthcheck", "", "CMD-SHELL needs a text")
			return nil
		}
		return u.shellTest(test[1], test[2:])
	}
	u.refuse("healthcheck", "", "test begins with NONE, CMD or CMD-SHELL, not with %q", test[0])
	return nil
}

// shellTest runs a text in the image's SHELL, as Docker does, which also passes the texts after it: they are $0, $1 and so on, and not
// arguments of the command. Compose interpolates variables before a shell reads the text. For secrets a first shell does that here, and runs
// the second one with the result.
func (u *unit) shellTest(text string, further []string) []string {
	shell := u.c.o.ImageConfigs[u.image].Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	text = u.renamed("healthcheck", phrase{text: text, isCommand: true, isProgram: true})
	if len(further) > 0 {
		u.note("healthcheck", "", "with CMD-SHELL only the first text is a command: %q runs without %q, as with Docker. Write one text, or CMD",
			text, strings.Join(further, " "))
	}
	if !hasSecret(u.c.pieces(text + strings.Join(further, ""))) {
		return append(append(slices.Clone(shell), text), further...)
	}
	pieces := u.c.pieces(text)
	script := "exec"
	for _, word := range shell {
		script += " " + quote(word)
	}
	return []string{"/bin/sh", "-c", script + " " + u.quoted(pieces)}
}

// healthcheck is the service's health check, completed from the image's.
func (u *unit) healthcheck() *types.HealthCheckConfig {
	return u.c.healthcheck(u.s, u.image)
}

func (c *converter) healthcheck(s types.ServiceConfig, image string) *types.HealthCheckConfig {
	h, own := s.HealthCheck, c.o.ImageConfigs[image].Healthcheck
	if own == nil || h != nil && (h.Disable || len(h.Test) > 0) {
		return h
	}
	out := types.HealthCheckConfig{
		Test: own.Test, Interval: new(types.Duration(own.Interval)), Timeout: new(types.Duration(own.Timeout)),
		StartInterval: new(types.Duration(own.StartInterval)),
	}
	if own.Retries > 0 {
		out.Retries = new(uint64(own.Retries))
	}
	if h != nil {
		out.Interval, out.Timeout = cmp.Or(h.Interval, out.Interval), cmp.Or(h.Timeout, out.Timeout)
		out.StartInterval, out.Retries = cmp.Or(h.StartInterval, out.StartInterval), cmp.Or(h.Retries, out.Retries)
	}
	return &out
}

// hasHealth reports whether a container in a service's pod has a health check.
func (c *converter) hasHealth(service string) bool {
	return slices.ContainsFunc(c.members(service), func(name string) bool {
		s := c.services[name]
		h := c.healthcheck(s, cmp.Or(c.o.Images[name], s.Image))
		return h != nil && !h.Disable && len(h.Test) > 0 && h.Test[0] != "NONE"
	})
}

// pending reports whether the configuration of an image in a service's pod is not known yet.
func (c *converter) pending(service string) bool {
	return slices.ContainsFunc(c.members(service), func(name string) bool {
		return slices.Contains(c.o.ImagesPending, name)
	})
}

func or(d *types.Duration, otherwise types.Duration) types.Duration {
	if d == nil || *d <= 0 {
		return otherwise
	}
	return *d
}
