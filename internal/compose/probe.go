package compose

import (
	"fmt"
	"math"
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

// health turns a health check into probes. The startup probe looks often, so that what waits for the service starts
// without delay, and gives up never: compose restarts nothing for being unhealthy, and Kubernetes would. After the first
// success the readiness probe looks as often as the file says.
func (u *unit) health() {
	h := u.s.HealthCheck
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
	u.out.Probe = fmt.Sprintf("%s, every %ds, at most %ds", strings.Join(h.Test[1:], " "), interval, timeout)
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
		return test[1:]
	case "CMD-SHELL":
		if len(test) != 2 {
			u.refuse("healthcheck", "", "CMD-SHELL needs one text")
			return nil
		}
		return []string{"/bin/sh", "-c", test[1]}
	}
	u.refuse("healthcheck", "", "test begins with NONE, CMD or CMD-SHELL, not with %q", test[0])
	return nil
}

func or(d *types.Duration, otherwise types.Duration) types.Duration {
	if d == nil || *d <= 0 {
		return otherwise
	}
	return *d
}
