//go:build apiserver

package apiserver

import (
	"math"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// stackOf is a repository with services on one line each, and one suite.
func stackOf(services string) map[string]string {
	return map[string]string{
		".conductor.yaml": "version: 1\ntests: {integration: {image: node, command: x}}\n", "docker-compose.qa.yml": "services: {" + services + "}\n",
	}
}

// again is a container that ended with exit code 0 and was restarted.
func again() fate {
	now := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	return fate{name: "again", as: container(corev1.PodRunning, 1, now, stoppedBy(0, "Completed", ""))}
}

// A Deployment whose container ends with exit code 0 is completed and scaled to 0, and stays so when another process takes over.
func TestAServerThatEndsIsCompleted(t *testing.T) {
	for _, restart := range []string{"'no'", "on-failure"} {
		t.Run(restart, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.files = stackOf("web: {image: 'redis:7', ports: ['80:80'], restart: " + restart + "}, db: {image: 'redis:7', restart: always}")
			w.node.set("service/web", again())
			w.node.set("test", running)
			first := w.process()
			run := w.until(w.start(), "the tests run", halts[3].reached)
			w.eventually("it is scaled to 0", func() bool { return *w.deployment(run, "web").Spec.Replicas == 0 })
			first.kill(t)
			w.process()
			w.node.set("test", exits(0, ""))
			run = w.until(run, "the run passes and its stack is healthy", func(r *v1alpha1.Run) bool { return kept(r) && healthy(r, metav1.ConditionTrue) })
			if run.Status.Outcome != v1alpha1.OutcomePassed || state(run, "web") != v1alpha1.ServiceCompleted || state(run, "db") != v1alpha1.ServiceReady {
				t.Errorf("outcome %q: %s; web is %s, db %s", run.Status.Outcome, run.Status.Message, state(run, "web"), state(run, "db"))
			}
			if n := *w.deployment(run, "web").Spec.Replicas; n != 0 {
				t.Errorf("web has %d replicas", n)
			}
		})
	}
}

// A server that ends while the tests run has completed, too, and so has a Job.
func TestServicesMayEndDuringTheTests(t *testing.T) {
	w := newWorld(t)
	w.github.files = stackOf("web: {image: 'redis:7', ports: ['80:80']}, worker: {image: 'redis:7', command: [work]}")
	w.node.set("service", ready)
	w.node.set("test", running)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	if state(run, "web") != v1alpha1.ServiceReady || state(run, "worker") != v1alpha1.ServiceReady {
		t.Errorf("web is %s, worker %s", state(run, "web"), state(run, "worker"))
	}
	w.node.set("service/web", again())
	w.node.set("service/worker", exits(0, ""))
	w.until(run, "both are completed", func(r *v1alpha1.Run) bool {
		return state(r, "web") == v1alpha1.ServiceCompleted && state(r, "worker") == v1alpha1.ServiceCompleted
	})
	w.eventually("web is scaled to 0", func() bool { return *w.deployment(run, "web").Spec.Replicas == 0 })
	w.node.set("test", exits(0, ""))
	run = w.until(run, "the run passes", kept)
	if notes := strings.Join(run.Status.Notes, "\n"); run.Status.Outcome != v1alpha1.OutcomePassed || strings.Contains(notes, "unhealthy") {
		t.Errorf("outcome %q: %s; notes %q", run.Status.Outcome, run.Status.Message, notes)
	}
}

// Conductor counts the failures of a Job: the kubelet restarts its container, and the Job controller never gives up.
func TestAJobFailsAsOftenAsItsRestartPolicyAllows(t *testing.T) {
	w := newWorld(t)
	w.github.files = stackOf("seed: {image: 'busybox:1', command: [seed], restart: 'on-failure:2'}")
	w.node.set("service/seed", loops(2, 1, "Error", ""))
	w.process()
	run := w.until(w.start(), "two failures are seen", func(r *v1alpha1.Run) bool { return strings.Contains(w.messages(r), "crashed twice") })
	if run.Status.Outcome != "" {
		t.Fatalf("the run ended: %s", run.Status.Message)
	}
	var job batchv1.Job
	w.must(admin.Get(t.Context(), client.ObjectKey{Namespace: jobs.StackName(run), Name: "seed"}, &job))
	if *job.Spec.BackoffLimit != math.MaxInt32 || job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		t.Errorf("backoffLimit %d, restartPolicy %s", *job.Spec.BackoffLimit, job.Spec.Template.Spec.RestartPolicy)
	}
	w.node.set("service/seed", loops(3, 1, "Error", ""))
	run = w.until(run, "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonCrashed, "seed", "crashed 3 times", "exit code 1")
}
