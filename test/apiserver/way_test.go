//go:build apiserver

package apiserver

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

func TestARunGoesTheWholeWay(t *testing.T) {
	w := newWorld(t)
	w.process()
	run := w.until(w.start(), "the run passes and its stack is kept", kept)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
	for _, st := range stage.Table {
		c := st.Condition
		if !is(run, c, metav1.ConditionTrue) {
			t.Errorf("%s is not True: %s", c, reason(run, c))
		}
	}
	for _, i := range run.Status.Images {
		if want := "registry.example/acme/shop/" + i.Name + "@" + digest("build/"+i.Name); i.Reference() != want {
			t.Errorf("image %s is %s, want %s", i.Name, i.Reference(), want)
		}
	}
	if got := w.github.commentsOn(issueNumber); len(got) != 1 || !strings.Contains(got[0], run.Name) {
		t.Errorf("comments on the issue: %q", got)
	}
	for name, c := range w.github.checkRuns() {
		if c.Status != "completed" || c.Conclusion != "success" {
			t.Errorf("check run %s is %s, %s", name, c.Status, c.Conclusion)
		}
	}
	if left := w.buildThings(run); len(left) > 0 {
		t.Errorf("the builds left %s", strings.Join(left, ", "))
	}
	if again := record.twice(w.set.Namespace); len(again) > 0 {
		t.Errorf("made more than once: %s", strings.Join(again, ", "))
	}
}

func TestTestsThatFailMakeARunThatFailed(t *testing.T) {
	w := newWorld(t)
	w.node.set("test/integration", exits(3, ""))
	w.process()
	run := w.until(w.start(), "the run fails", kept)
	if run.Status.Outcome != v1alpha1.OutcomeFailed || reason(run, v1alpha1.ConditionTestsPassed) != v1alpha1.ReasonTestsFailed {
		t.Errorf("outcome %q, TestsPassed %s", run.Status.Outcome, reason(run, v1alpha1.ConditionTestsPassed))
	}
	s := run.Status.Suites[0]
	if s.ExitCode == nil || *s.ExitCode != 3 || s.Outcome != v1alpha1.OutcomeFailed {
		t.Errorf("suite = %+v", s)
	}
	if got := w.github.commentsOn(issueNumber); len(got) != 1 || !strings.Contains(got[0], "exit code 3") {
		t.Errorf("comments on the issue: %q", got)
	}
	for name, c := range w.github.checkRuns() {
		if c.Conclusion != "failure" {
			t.Errorf("check run %s: %s", name, c.Conclusion)
		}
	}
}

// Each service starts as soon as its image is built and its dependencies are met, and not before.
func TestServicesStartAsSoonAsTheyCanAndNoSooner(t *testing.T) {
	w := newWorld(t)
	for _, what := range []string{"build", "service/redis", "service/migrate", "service/backend"} {
		w.node.set(what, pending)
	}
	w.process()
	run := w.start()
	now := func(what string, started ...string) {
		t.Helper()
		w.eventually(what, func() bool {
			var services []string
			for _, s := range w.node.started() {
				if name, ok := strings.CutPrefix(s, "service/"); ok {
					services = append(services, name)
				}
			}
			return slices.Equal(services, started)
		})
		waits := w.get(run)
		for _, s := range waits.Status.Services {
			if slices.Contains(started, s.Name) == (s.State == v1alpha1.ServiceWaiting) {
				t.Errorf("%s: %s is %s: %s", what, s.Name, s.State, s.Message)
			}
		}
	}
	now("redis starts while every image is still being built", "redis")
	w.eventually("all builds start at once", func() bool {
		started := w.node.started()
		return slices.Contains(started, "build/backend") && slices.Contains(started, "build/frontend") && slices.Contains(started, "build/tests")
	})
	w.node.set("build/backend", exits(0, digest("build/backend")))
	w.until(run, "the backend's image is known", func(r *v1alpha1.Run) bool { return r.Status.Images[0].Digest != "" })
	now("migrate waits for redis to have started", "redis")
	w.node.set("service/redis", running)
	now("migrate starts: redis has, and need not be healthy", "redis", "migrate")
	w.node.set("service/redis", ready)
	w.until(run, "redis is ready", func(r *v1alpha1.Run) bool { return state(r, "redis") == v1alpha1.ServiceReady })
	now("backend waits for migrate to end", "redis", "migrate")
	w.node.set("service/migrate", exits(0, ""))
	now("backend starts while the frontend's image is still being built", "redis", "migrate", "backend")
	w.node.set("build/frontend", exits(0, digest("build/frontend")))
	w.node.set("service/backend", running)
	w.until(run, "the frontend's image is known", func(r *v1alpha1.Run) bool { return r.Status.Images[1].Digest != "" })
	now("frontend waits for a healthy backend", "redis", "migrate", "backend")
	w.node.set("service/backend", ready)
	now("frontend starts", "redis", "migrate", "backend", "frontend")
	w.until(run, "the stack is up before the tests' image is", func(r *v1alpha1.Run) bool {
		return is(r, v1alpha1.ConditionStackReady, metav1.ConditionTrue) && !is(r, v1alpha1.ConditionImagesBuilt, metav1.ConditionTrue)
	})
	w.node.set("build/tests", exits(0, digest("build/tests")))
	if run = w.until(run, "the run passes", kept); run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
}
