//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// unspoken has a health check only in its image, which the run builds from a Dockerfile in the compose file: Kaniko writes it into the
// image's configuration. It passes after four seconds.
const unspoken = `services:
  slow:
    image: shop/slow
    build:
      context: .
      dockerfile_inline: |
        FROM busybox:1.36
        COPY test.sh /copied.sh
        EXPOSE 8080
        HEALTHCHECK --interval=1s --timeout=2s --retries=30 CMD test -f /tmp/up
        CMD ["sh", "-c", "test -s /copied.sh && sleep 4 && touch /tmp/up; exec sleep 1000"]
    stop_grace_period: 0s
  after:
    image: shop/slow:latest
    command: sleep 1000
    pre_start: [{image: 'busybox:1.36', command: "sh -c 'test ! -e /copied.sh && echo hooked > /shared/by'"}]
    volumes: [/shared]
    healthcheck: {test: "grep -q hooked /shared/by && test -s /copied.sh"}
    stop_grace_period: 0s
    depends_on: {slow: {condition: service_healthy}}
`

// TestTheHealthCheckOfAnImageHoldsTheGate runs a stack whose file has no health checks, and in which one service runs the image that
// another builds, after a hook with an image of its own.
func TestTheHealthCheckOfAnImageHoldsTheGate(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{"docker-compose.qa.yml": unspoken, "test.sh": "exit 0\n"})
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	var began, followed time.Time
	images := map[string]string{}
	for _, p := range pods(t, run.Status.Namespace) {
		c := p.Spec.Containers[0]
		images[p.Labels[v1alpha1.LabelService]] = c.Image
		switch p.Labels[v1alpha1.LabelService] {
		case "slow":
			began = p.Status.ContainerStatuses[0].State.Running.StartedAt.Time
			if c.ReadinessProbe == nil || strings.Join(c.ReadinessProbe.Exec.Command, " ") != "/bin/sh -c test -f /tmp/up" {
				t.Errorf("slow is asked %+v", c.ReadinessProbe)
			}
			if len(c.Ports) != 1 || c.Ports[0].ContainerPort != 8080 {
				t.Errorf("slow has the ports %v, and its image exposes 8080", c.Ports)
			}
		case "after":
			followed = p.CreationTimestamp.Time
			if inits := p.Spec.InitContainers; len(inits) == 0 || !strings.HasPrefix(inits[len(inits)-1].Image, "busybox:1.36@sha256:") {
				t.Errorf("the hook does not run busybox by a digest, but %+v", inits)
			}
		}
	}
	if images["slow"] != images["after"] || !strings.Contains(images["slow"], "@sha256:") {
		t.Errorf("images %v: both run what slow builds", images)
	}
	// Both times are in whole seconds.
	if waited := followed.Sub(began); began.IsZero() || waited < 3*time.Second {
		t.Errorf("after was made %s after slow had started, and slow is healthy 4 s after", waited)
	}
	if len(run.Status.Notes) > 0 {
		t.Errorf("notes: %q", run.Status.Notes)
	}
}
