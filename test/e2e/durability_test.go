//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestPausedAPIServer delivers while nothing can be stored: GitHub must get an error, and its redelivery must work.
func TestPausedAPIServer(t *testing.T) {
	r := idle(t)
	event := r.undelivered()
	resume := func() { _ = here.Signal("kube-apiserver", syscall.SIGCONT) }
	t.Cleanup(resume)
	if err := here.Signal("kube-apiserver", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	res := post(t, signed("push", event.GUID, event.Payload))
	took := time.Since(began)
	resume()
	if res.status < 500 || took > 10*time.Second {
		t.Errorf("without an API server the webhook answered %d after %s, want 5xx before GitHub gives up after 10 s: %s", res.status, took, res.body)
	}
	eventually(t, patience, func() error {
		if res := post(t, signed("push", event.GUID, event.Payload)); res.status != 202 {
			return fmt.Errorf("a redelivery is answered %d %s", res.status, res.body)
		}
		return nil
	})
	if run := r.finished(1); run.Spec.Trigger.Delivery != event.GUID {
		t.Errorf("the run is of delivery %s, want %s", run.Spec.Trigger.Delivery, event.GUID)
	}
}

// TestALostCommentIsActedOn loses the delivery of a comment: Conductor finds it in GitHub's log.
func TestALostCommentIsActedOn(t *testing.T) {
	r := idle(t)
	if err := here.GitHub.LoseDeliveries(here.App.ID, 1); err != nil {
		t.Fatal(err)
	}
	comment := r.commentAs(r.User.Login, r.Issue, "/conductor help")
	contains(t, "answer", r.answer(r.Issue, comment), "/conductor test")
	for _, d := range r.deliveries() {
		if c := d.Spec.Event.Comment; c == nil || c.ID != comment {
			t.Errorf("an unexpected delivery: %+v", d.Spec)
		}
	}
}

// undelivered pushes the tag so that its event is in GitHub's log but did not arrive.
func (r *repo) undelivered() githubtest.Delivery {
	r.t.Helper()
	if err := here.GitHub.LoseDeliveries(here.App.ID, 1); err != nil {
		r.t.Fatal(err)
	}
	r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
	d := one(r.t, "delivery", r.answered("push", 1))
	if d.StatusCode != 0 {
		r.t.Fatalf("the delivery that should be lost was answered %d", d.StatusCode)
	}
	return d
}

// TestKilled kills every replica while one run's tests are running and GitHub has just got the 202 for another. Neither may be lost, and
// no effect may happen twice.
func TestKilled(t *testing.T) {
	tested := small(t, map[string]string{"test.sh": "sleep 2\necho ended while nobody looked\nexit 6\n"})
	accepted := small(t, nil)
	event := accepted.undelivered()
	tested.push(tag, fmt.Sprintf("Run the tests for #%d", tested.Issue))
	tested.await(1, "testing", func(run *v1alpha1.Run) bool { return run.Status.Phase == v1alpha1.PhaseTesting })
	victims := replicas(t)
	if res := post(t, signed("push", event.GUID, event.Payload)); res.status != 202 {
		t.Fatalf("answered %d %s", res.status, res.body)
	}
	kill(t, victims)

	run := tested.finished(1)
	if run.Status.Outcome != v1alpha1.OutcomeFailed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	contains(t, "check run", tested.check(run, "smoke").Text, "ended while nobody looked")
	tested.once(run)

	run = accepted.finished(1)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	accepted.once(run)
}

// TestRestartAnswersEveryDelivery restarts Conductor as an upgrade does, while deliveries arrive: GitHub does not resend a delivery that
// was not answered.
func TestRestartAnswersEveryDelivery(t *testing.T) {
	if _, err := here.Kubectl(t.Context(), "-n", lab.Namespace, "rollout", "restart", "deployment/conductor"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := here.Kubectl(context.Background(), "-n", lab.Namespace, "rollout", "status", "deployment/conductor", "--timeout=90s")
		done <- err
	}()
	ping := signed("ping", newGUID(t), []byte(`{"zen":"Keep it logically awesome.","hook_id":1}`)).having("Connection", "close")
	sent, last := 0, time.Time{}
	for last.IsZero() || time.Now().Before(last) {
		if res := post(t, ping); res.status != 200 {
			t.Errorf("delivery %d was answered %d %s", sent, res.status, res.body)
		}
		sent++
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			// The last old replica is still terminating.
			last = time.Now().Add(3 * time.Second)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Logf("%d deliveries were answered during the restart", sent)
}

// once checks that each visible effect of a run happened once.
func (r *repo) once(run *v1alpha1.Run) {
	r.t.Helper()
	if n := len(r.comments(r.Issue)); n != 1 {
		r.t.Errorf("%d comments, want 1: %+v", n, r.comments(r.Issue))
	}
	r.check(run, "smoke")
	suites := slices.DeleteFunc(pods(r.t, run.Status.Namespace), func(p corev1.Pod) bool { return p.Labels[v1alpha1.LabelStage] != "test" })
	if len(suites) != 1 {
		r.t.Errorf("%d pods ran the tests, want 1", len(suites))
	}
	if d := r.deliveries(); len(d) != 1 || d[0].Status.Run != run.Name {
		r.t.Errorf("deliveries %+v, want one that became %s", d, run.Name)
	}
}

// replicas are Conductor's pods.
func replicas(t *testing.T) []corev1.Pod {
	t.Helper()
	found := slices.DeleteFunc(pods(t, lab.Namespace), func(p corev1.Pod) bool {
		return p.Labels["app.kubernetes.io/name"] != "conductor" || p.DeletionTimestamp != nil
	})
	if len(found) != 2 {
		t.Fatalf("%d replicas, want two", len(found))
	}
	return found
}

// kill kills Conductor on all replicas at any point of its work. The lease stays with the dead leader. After the test they are running
// again.
func kill(t *testing.T, replicas []corev1.Pod) {
	t.Helper()
	for _, p := range replicas {
		if err := here.Kill(p.UID, "/conductor"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := here.Kubectl(context.Background(), "-n", lab.Namespace, "rollout", "status", "deployment/conductor", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
}
