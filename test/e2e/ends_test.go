//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// ending is a stack of services that end, each in another way, and of some that serve until the stack is deleted.
const ending = `services:
  # Not idempotent, and no service waits for it.
  seed:
    image: busybox:1.36
    command: sh -c "echo seeded >> /data/lines"
    volumes: ["data:/data"]
  reader:
    image: busybox:1.36
    command: httpd -f -p 8080 -h /data
    expose: ["8080"]
    volumes: ["data:/data"]
    stop_grace_period: 1s
  buckets:
    image: busybox:1.36
    entrypoint: ["sh", "-c", "echo made; exit 0"]
  # The image's own command: a shell, which ends for want of input.
  waiter:
    image: busybox:1.36
  # A server by its ports, which ends.
  once:
    image: busybox:1.36
    command: sh -c "sleep 1; exit 0"
    ports: ["8081:8081"]
  # A Job that serves.
  worker:
    image: busybox:1.36
    command: sh -c "mkdir /www && echo works > /www/index.html && exec httpd -f -p 9000 -h /www"
    stop_grace_period: 1s
  smoke:
    image: busybox:1.36
    command:
      - sh
      - -c
      - |
        until wget -q -O - http://worker:9000/ | grep -x works; do sleep 0.2; done
        until [ -n "$$(wget -q -O - http://reader:8080/lines)" ]; do sleep 0.2; done
        test "$$(wget -q -O - http://reader:8080/lines)" = seeded
volumes: { data: }
`

// TestServicesThatEnd runs a stack whose services end by themselves: as under compose, each of them runs once, and the tests pass.
func TestServicesThatEnd(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{
		".conductor.yaml": "version: 1\ntests:\n  smoke:\n    service: smoke\n    timeout: 2m\n", "docker-compose.qa.yml": ending,
	})
	r.start()
	run := r.until("finished", lab.Settled)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	want := map[string]v1alpha1.ServiceState{
		"seed": v1alpha1.ServiceCompleted, "buckets": v1alpha1.ServiceCompleted, "waiter": v1alpha1.ServiceCompleted, "once": v1alpha1.ServiceCompleted,
		"reader": v1alpha1.ServiceReady, "worker": v1alpha1.ServiceReady,
	}
	eventually(t, patience, func() error {
		run = r.get(run)
		for _, s := range run.Status.Services {
			if s.State != want[s.Name] {
				return fmt.Errorf("%s is %s, want %s: %s", s.Name, s.State, want[s.Name], s.Message)
			}
		}
		d, err := here.Kube.AppsV1().Deployments(run.Status.Namespace).Get(t.Context(), "once", metav1.GetOptions{})
		if err != nil || *d.Spec.Replicas != 0 {
			return fmt.Errorf("once is not scaled to 0: %w", err)
		}
		return nil
	})
	if len(run.Status.Services) != len(want) || strings.Contains(strings.Join(run.Status.Notes, "\n"), "unhealthy") {
		t.Errorf("%d services, notes %q", len(run.Status.Services), run.Status.Notes)
	}
	for _, p := range pods(t, run.Status.Namespace) {
		service := p.Labels[v1alpha1.LabelService]
		if job := want[service] == v1alpha1.ServiceCompleted && service != "once"; job && p.Status.ContainerStatuses[0].RestartCount > 0 {
			t.Errorf("%s ran %d times", service, p.Status.ContainerStatuses[0].RestartCount+1)
		}
	}
	out, err := here.Kubectl(t.Context(), "-n", run.Status.Namespace, "exec", "deployment/reader", "-c", "reader", "--", "cat", "/data/lines")
	if err != nil || strings.TrimSpace(out) != "seeded" {
		t.Errorf("the seed wrote %q, %v", out, err)
	}
}
