package compose

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// jobRetries is how often a one-shot service is retried if the file does not limit it: Kubernetes' default.
const jobRetries = 6

// restartPolicy is when compose starts a container again.
type restartPolicy struct {
	// condition is one of compose's words, empty for compose's default, which is no.
	condition string
	// retries is the limit of on-failure, -1 for none.
	retries int32
	// field is the field that sets it.
	field string
}

// alwaysRestarts reports whether a container is started again whatever its exit code.
func (p restartPolicy) alwaysRestarts() bool {
	return p.condition == types.RestartPolicyAlways || p.condition == types.RestartPolicyUnlessStopped
}

// maxFailures is how many failed ends a service may have before it has failed for good; 0 if the file does not limit them.
func (p restartPolicy) maxFailures(awaited bool) int32 {
	switch {
	case p.condition == types.RestartPolicyOnFailure && p.retries >= 0:
		return min(p.retries, math.MaxInt32-1) + 1
	case p.condition == types.RestartPolicyOnFailure:
		return jobRetries + 1
	case awaited:
		return 1
	}
	return 0
}

// restart is when a service's container is restarted. The field restart overrides deploy.restart_policy. A number that is not valid counts
// as 0; checkRestart refuses it.
func restart(s types.ServiceConfig) restartPolicy {
	if s.Restart != "" {
		condition, number, limited := strings.Cut(s.Restart, ":")
		if !limited {
			return restartPolicy{condition, -1, "restart"}
		}
		n, _ := strconv.ParseInt(number, 10, 32)
		return restartPolicy{condition, int32(max(n, 0)), "restart"}
	}
	p := restartPolicy{retries: -1, field: "deploy.restart_policy"}
	if s.Deploy == nil || s.Deploy.RestartPolicy == nil {
		return p
	}
	if n := s.Deploy.RestartPolicy.MaxAttempts; n != nil {
		p.retries = int32(min(*n, math.MaxInt32))
	}
	switch s.Deploy.RestartPolicy.Condition {
	case "none":
		p.condition = types.RestartPolicyNo
	case "on-failure":
		p.condition = types.RestartPolicyOnFailure
	default:
		p.condition = types.RestartPolicyAlways
	}
	return p
}

// checkRestart refuses a number of retries that is not one.
func (u *unit) checkRestart() {
	_, number, limited := strings.Cut(u.s.Restart, ":")
	if n, err := strconv.ParseInt(number, 10, 32); limited && (err != nil || n < 0) {
		u.refuse("restart", "", "%q is not a number of retries", number)
	}
}

// isOneShot reports whether a service's pod runs to its end. The containers of one pod end together, so one that keeps running is enough to
// make the pod a Deployment.
func (c *converter) isOneShot(service string) bool {
	return c.awaited[service] || !slices.ContainsFunc(c.members(service), c.keepsRunning)
}

// keepsRunning reports whether a service is a server by what the file and its image show.
func (c *converter) keepsRunning(name string) bool {
	if c.awaited[name] {
		return false
	}
	return c.isServer(name) || c.dependsOnImage(name) && c.imageServes(name)
}

// isServer reports whether the file alone shows that a service keeps running.
func (c *converter) isServer(name string) bool {
	s := c.services[name]
	return restart(s).alwaysRestarts() || len(s.Ports) > 0 || len(s.Expose) > 0 || checksHealth(s.HealthCheck) || c.healthAwaited[name]
}

// dependsOnImage reports whether only its image shows if a service keeps running.
func (c *converter) dependsOnImage(name string) bool {
	s := c.services[name]
	return !c.awaited[name] && !c.isServer(name) && s.Command == nil && s.Entrypoint == nil
}

// isProvisional reports whether the kind of a service's pod may change once more images are known.
func (c *converter) isProvisional(host string) bool {
	return !c.awaited[host] && slices.ContainsFunc(c.members(host), func(name string) bool {
		return slices.Contains(c.o.ImagesPending, name) && c.dependsOnImage(name)
	})
}

// imageServes reports whether an image that runs its own command is a server: it exposes a port or has a health check. An image whose
// configuration is unknown counts as one, since that is what most images with a command of their own are.
func (c *converter) imageServes(name string) bool {
	config, known := c.imageConfig(name)
	return !known || len(config.ExposedPorts) > 0 || checksHealth(c.healthcheck(c.services[name], c.reference(name)))
}

// imageConfig is what is known of the image of a service. It is the place for what else reveals it, such as the Dockerfile of a build.
func (c *converter) imageConfig(name string) (config ImageConfig, known bool) {
	config, known = c.o.ImageConfigs[c.reference(name)]
	return config, known
}

// reference is the image that a service's container runs, as ownImage has it.
func (c *converter) reference(name string) string {
	s := c.services[name]
	switch {
	case c.o.Images[name] != "":
		return c.o.Images[name]
	case s.Build != nil:
		return c.builtName(name)
	}
	if builder, ok := c.Builder(s.Image); ok {
		return cmp.Or(c.o.Images[builder], s.Image)
	}
	return s.Image
}

// checksHealth reports whether a health check is one that runs.
func checksHealth(h *types.HealthCheckConfig) bool {
	return h != nil && !h.Disable && (len(h.Test) == 0 || h.Test[0] != "NONE")
}

// noteKind notes where the end of a container has another effect than under compose.
func (u *unit) noteKind(isJob bool) {
	u.checkRestart()
	name, host, p := u.s.Name, u.c.podOf(u.s.Name), restart(u.s)
	if u.c.isProvisional(host) {
		return
	}
	switch {
	case isJob && p.condition == types.RestartPolicyOnFailure && p.retries < 0:
		u.note(p.field, "", "on-failure without a number: it is retried %d times", jobRetries)
	case isJob && p.alwaysRestarts():
		u.note(p.field, "", "others wait for this service to complete: it runs once")
	case isJob || p.alwaysRestarts():
	case host != name && !u.c.keepsRunning(name) && !u.c.awaited[name]:
		u.note("network_mode", "", "the container is restarted when it ends: the pod of %s keeps running. A run does not count exit code 0 as a crash", host)
	case p.condition == types.RestartPolicyNo || p.condition == types.RestartPolicyOnFailure:
		u.note(p.field, "", "the container is restarted when it ends: this is a Deployment. A run takes exit code 0 for completion and scales it to 0")
	}
	if isJob || !u.c.isUnknown(name) || !u.c.wouldEnd(host) {
		return
	}
	field := "image"
	if u.s.Build != nil {
		field = "build"
	}
	u.report(LevelInfo, Converted, field, "",
		"the image's configuration is not known here, so this is a Deployment. A run makes it a Job if the image neither exposes a port nor has a HEALTHCHECK")
}

// isUnknown reports whether the kind of a service depends on an image's configuration that is not known.
func (c *converter) isUnknown(name string) bool {
	_, known := c.imageConfig(name)
	return !known && c.dependsOnImage(name)
}

// wouldEnd reports whether only containers with unknown images make a pod a Deployment.
func (c *converter) wouldEnd(host string) bool {
	return !slices.ContainsFunc(c.members(host), func(name string) bool { return c.keepsRunning(name) && !c.isUnknown(name) })
}

// mayEnd are the containers of a Deployment's pod that may end with exit code 0: they are not restarted under compose.
func (c *converter) mayEnd(service string) []string {
	var out []string
	for _, name := range c.members(service) {
		if !restart(c.services[name]).alwaysRestarts() {
			out = append(out, c.names[name])
		}
	}
	return out
}
