//go:build apiserver

package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// ended checks how a Run ended, and that the issue and the check run explain it in the same words.
func (w *world) ended(run *v1alpha1.Run, outcome v1alpha1.Outcome, condition, why string, words ...string) {
	w.t.Helper()
	if run.Status.Outcome != outcome {
		w.t.Errorf("outcome %q, want %q: %s", run.Status.Outcome, outcome, run.Status.Message)
	}
	if got := reason(run, condition); got != why {
		w.t.Errorf("%s is False for %s, want %s", condition, got, why)
	}
	comments := strings.Join(w.github.commentsOn(issueNumber), "\n")
	plain := strings.NewReplacer("\\", "", "`", "").Replace(comments)
	for _, word := range words {
		if !strings.Contains(run.Status.Message, word) {
			w.t.Errorf("the run's message does not say %q: %s", word, run.Status.Message)
		}
		if !strings.Contains(plain, word) {
			w.t.Errorf("the issue does not say %q: %s", word, comments)
		}
	}
	if strings.Contains(comments, errDown.Error()) {
		w.t.Error("the cause, which is for operators, is on the issue")
	}
	for name, c := range w.github.checkRuns() {
		if c.Status != "completed" || c.Conclusion == "success" {
			w.t.Errorf("check run %s is %s, %s", name, c.Status, c.Conclusion)
		}
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	for _, op := range []string{"Archive", "CloneToken", "Ping", "Hints", "UpsertCheckRun", "UpsertComment"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.fail(op, fault{err: errDown}, fault{err: errDown}, fault{err: failure.Waitingf(v1alpha1.ReasonUnavailable, 100*time.Millisecond, "GitHub asked to wait")})
			w.process()
			w.once(w.until(w.start(), "the run passes", kept))
		})
	}
}

func TestWhatDoesNotPassEndsTheRunAtTheStagesDeadline(t *testing.T) {
	for _, tc := range []struct{ op, condition string }{
		{"Archive", v1alpha1.ConditionCheckedOut}, {"CloneToken", v1alpha1.ConditionImagesBuilt}, {"Ping", v1alpha1.ConditionImagesBuilt},
	} {
		t.Run(tc.op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.failAlways(tc.op, errDown)
			w.process()
			run := w.until(w.start(), "the stage is tried again", func(r *v1alpha1.Run) bool {
				return is(r, tc.condition, metav1.ConditionUnknown) && w.github.count(tc.op) > 2
			})
			w.later(9*time.Minute, run)
			before := w.github.count(tc.op)
			w.eventually("it is still tried after nine minutes", func() bool { return w.github.count(tc.op) > before })
			if run = w.get(run); run.Status.Outcome != "" {
				t.Errorf("ended before its time: %s", run.Status.Message)
			}
			w.later(2*time.Minute, run)
			run = w.until(run, "the run ends", reported)
			w.ended(run, v1alpha1.OutcomeError, tc.condition, v1alpha1.ReasonTimeout, "did not answer", "10m0s")
		})
	}
}

func TestWhatOnlyAPersonCanMendEndsTheRunAtOnce(t *testing.T) {
	w := newWorld(t)
	w.github.failAlways("Archive", failure.Terminalf(v1alpha1.ReasonNotFound, errDown, "The App is not installed on acme/shop"))
	w.process()
	run := w.until(w.start(), "the run ends", over)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionCheckedOut, v1alpha1.ReasonNotFound, "The App is not installed on acme/shop")
	if n := w.github.count("Archive"); n != 1 {
		t.Errorf("tried %d times", n)
	}
	w.nothingLeft(run)
}

func TestABadRepositoryGetsTheLineOfItsMistake(t *testing.T) {
	for _, tc := range []struct {
		name, file, text, condition, why string
		words                            []string
	}{
		{"no .conductor.yaml", ".conductor.yaml", "", v1alpha1.ConditionCheckedOut, v1alpha1.ReasonNotFound, []string{".conductor.yaml"}},
		{"bad YAML", ".conductor.yaml", "version: 1\ntests: [", v1alpha1.ConditionCheckedOut, v1alpha1.ReasonInvalidConfig, []string{".conductor.yaml:2"}},
		{"no compose file", "docker-compose.qa.yml", "", v1alpha1.ConditionCheckedOut, v1alpha1.ReasonInvalidCompose, []string{"docker-compose.qa.yml"}},
		{"a refused field", "docker-compose.qa.yml", "services:\n  redis:\n    image: redis\n    privileged: true\n", v1alpha1.ConditionCheckedOut, v1alpha1.ReasonInvalidCompose, []string{"docker-compose.qa.yml:4", "privileged"}},
		{"no directory to build", "backend/Dockerfile", "", v1alpha1.ConditionCheckedOut, v1alpha1.ReasonInvalidCompose, []string{"docker-compose.qa.yml:6", "backend"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.github.files = maps.Clone(shop)
			if w.github.files[tc.file] = tc.text; tc.text == "" {
				delete(w.github.files, tc.file)
			}
			w.process()
			run := w.until(w.start(), "the run ends", over)
			w.ended(run, v1alpha1.OutcomeError, tc.condition, tc.why, tc.words...)
			w.nothingLeft(run)
		})
	}
}

func TestABuildThatFailsEndsTheRunAndTheOtherBuilds(t *testing.T) {
	w := newWorld(t)
	w.node.set("build", running)
	w.process()
	run := w.until(w.start(), "the stack begins", func(r *v1alpha1.Run) bool { return r.Status.Namespace != "" })
	w.node.set("build/frontend", exits(1, ""))
	run = w.until(run, "the run ends", kept)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonBuildFailed, "frontend", "exit code 1")
	if left := w.buildThings(run); len(left) > 0 {
		t.Errorf("the builds left %s", strings.Join(left, ", "))
	}
}

func TestABuildWhoseJobIsDeletedIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.node.set("build/backend", running)
	w.process()
	run := w.until(w.start(), "the build runs", func(r *v1alpha1.Run) bool { return len(r.Status.Images) > 2 && r.Status.Images[2].Digest != "" })
	w.must(admin.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(w.set.Builds.Namespace), client.MatchingLabels{v1alpha1.LabelImage: "backend"}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	var pods corev1.PodList
	w.eventually("its pod goes", func() bool {
		w.must(admin.List(t.Context(), &pods, client.InNamespace(w.set.Builds.Namespace), client.MatchingLabels{v1alpha1.LabelImage: "backend"}))
		return len(pods.Items) == 0
	})
	w.later(10*time.Second, run)
	run = w.until(run, "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionImagesBuilt, v1alpha1.ReasonBuildFailed, "backend", "deleted")
}

func TestAnImageThatCannotBePulledIsNamed(t *testing.T) {
	w := newWorld(t)
	w.node.set("service/redis", fate{waiting: "ErrImagePull", message: "manifest unknown"})
	w.process()
	run := w.until(w.start(), "redis waits for its image", func(r *v1alpha1.Run) bool {
		return len(r.Status.Services) > 0 && strings.Contains(w.messages(r), "manifest unknown")
	})
	w.later(30*time.Second, run)
	run = w.until(run, "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonImageUnavailable, "redis:7", "manifest unknown")
}

// messages are the messages of a Run's services.
func (w *world) messages(run *v1alpha1.Run) string {
	var all []string
	for _, s := range run.Status.Services {
		all = append(all, s.Name+": "+s.Message)
	}
	return strings.Join(all, "\n")
}

func TestAHealthGateThatDoesNotOpenNamesTheServiceAndTheCause(t *testing.T) {
	w := newWorld(t)
	w.node.set("service/backend", running)
	w.process()
	run := w.until(w.start(), "only the backend's health is waited for", func(r *v1alpha1.Run) bool {
		return is(r, v1alpha1.ConditionImagesBuilt, metav1.ConditionTrue) && strings.Contains(w.messages(r), "health check")
	})
	w.later(11*time.Minute, run)
	run = w.until(run, "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonUnhealthy, "backend", "health check", "stack.ready.timeout")
}

func TestAOneShotServiceThatFailsEndsTheRun(t *testing.T) {
	w := newWorld(t)
	w.node.set("service/migrate", exits(2, ""))
	w.process()
	run := w.until(w.start(), "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonCrashed, "migrate", "exit code 2")
}

func TestTestsThatDoNotEndAreEnded(t *testing.T) {
	w := newWorld(t)
	w.node.set("test", running)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.later(31*time.Minute, run)
	run = w.until(run, "the run ends", kept)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionTestsPassed, v1alpha1.ReasonTimeout, "integration", "30m0s")
	if !w.gone(&batchv1.Job{}, jobs.StackName(run), jobs.TestName(evidence.AttemptKey{Suite: "integration", Number: 1}, 1)) {
		t.Error("the tests still run")
	}
}

func TestARunThatTakesTooLongIsEndedWhereverItIs(t *testing.T) {
	for _, h := range halts {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ceilings.RunTimeout.Duration = time.Minute
			h.hold(w)
			w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			w.later(time.Minute, run)
			run = w.until(run, "the run ends", reported)
			if run.Status.Outcome != v1alpha1.OutcomeError || !strings.Contains(run.Status.Message, "1m0s") {
				t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
			}
			run = w.until(run, "it is decided what stays", func(r *v1alpha1.Run) bool { return !is(r, v1alpha1.ConditionStackKept, metav1.ConditionUnknown) })
			if left := w.buildThings(run); len(left) > 0 {
				t.Errorf("the builds left %s", strings.Join(left, ", "))
			}
		})
	}
}

// A status that the custom resource does not allow is refused on every attempt.
func TestARunWhoseStatusIsRefusedEndsWithTheCause(t *testing.T) {
	w := newWorld(t)
	w.process(func(p *power) { p.before = tooManySuites })
	run := w.until(w.start(), "the run is reported and nothing is left", over)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionTestsPassed, v1alpha1.ReasonRefused,
		"could not store this run's status", "must have at most 64 items")
	w.nothingLeft(run)
}

// tooManySuites changes every status with suites so that it has more than a Run allows.
func tooManySuites(req *http.Request) {
	if req.Method != http.MethodPatch || !strings.HasSuffix(req.URL.Path, "/status") || req.Body == nil {
		return
	}
	sent, _ := io.ReadAll(req.Body)
	var patch map[string]any
	if json.Unmarshal(sent, &patch) == nil {
		if status, ok := patch["status"].(map[string]any); ok && status["suites"] != nil {
			var suites []map[string]any
			for i := range 65 {
				suites = append(suites, map[string]any{"name": fmt.Sprint("suite-", i)})
			}
			status["suites"] = suites
			sent, _ = json.Marshal(patch)
		}
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
}
