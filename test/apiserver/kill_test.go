//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// split makes a world whose suite has two shards, of which the second passes at its second attempt, and whose commit is the head of a
// branch.
func split(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.github.files = map[string]string{}
	for name, text := range shop {
		w.github.files[name] = text
	}
	w.github.files[".conductor.yaml"] = "version: 1\ntests:\n  integration: {command: yarn test, shards: 2, retry: 1}\n"
	w.github.hints.Branches = []string{"main"}
	w.agents.cases["integration/1"] = []evidence.Case{{Name: "checkout", Status: evidence.Failed}}
	w.agents.cases["integration/2"] = []evidence.Case{{Name: "checkout", Status: evidence.Passed}}
	w.node.set("test", running)
	w.endTests(func(shard, number string) int32 {
		if shard == "1" && number == "1" {
			return 3
		}
		return 0
	})
	return w
}

// endTests ends each attempt that was permitted to start, with its own exit code.
func (w *world) endTests(code func(shard, number string) int32) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.endAllowed(ctx, code)
			time.Sleep(25 * time.Millisecond)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) endAllowed(ctx context.Context, code func(shard, number string) int32) {
	spaces, _, _ := w.node.stacks(ctx) // Errors are retried.
	for _, ns := range spaces {
		var pods corev1.PodList
		_ = admin.List(ctx, &pods, client.InNamespace(ns.Name), client.MatchingLabels{v1alpha1.LabelStage: jobs.StageTest})
		for i := range pods.Items {
			p := &pods.Items[i]
			if ended(p) != nil || p.Status.Phase != corev1.PodRunning || !w.agents.lets(ns.Name, p.OwnerReferences[0].Name) {
				continue
			}
			p.Status = podStatus(p, exits(code(p.Labels[v1alpha1.LabelShard], p.Labels[v1alpha1.LabelAttempt]), ""))
			_ = admin.Status().Update(ctx, p)
		}
	}
}

// onceSplit fails the test if any visible effect of a Run of a split suite happened more than once, or not at all. others is the number
// of earlier Runs of the world.
func (w *world) onceSplit(run *v1alpha1.Run, others int) {
	w.t.Helper()
	if run.Status.Outcome != v1alpha1.OutcomePassed || len(run.Status.Suites) != 1 {
		w.t.Fatalf("outcome %q of %d suites: %s", run.Status.Outcome, len(run.Status.Suites), run.Status.Message)
	}
	space := jobs.StackName(run)
	made := map[string]int{
		"the namespace":         record.times("Namespace", "", space),
		"the Job migrate":       record.times("Job", space, "migrate"),
		"the backend":           record.times("Deployment", space, "backend"),
		"the comment":           w.commentsOf(run),
		"the check run":         w.checksOf(run),
		"the entry of history":  w.entriesOf(run),
		"the record":            min(1, len(w.shelf.layers(run))),
		"what is a record's":    len(w.shelf.pushed) - others,
		"a comment on anything": len(w.github.commentsOn(issueNumber)) - others,
	}
	for _, a := range []evidence.AttemptKey{{Suite: "integration", Number: 1}, {Suite: "integration", Shard: 1, Number: 1}, {Suite: "integration", Shard: 1, Number: 2}} {
		made[fmt.Sprintf("attempt %d of shard %d", a.Number, a.Shard)] = record.times("Job", space, jobs.TestName(a, 2))
	}
	for _, i := range run.Status.Images {
		made["the build of "+i.Name] = record.times("Job", w.set.Builds.Namespace, i.Job)
		made["the link of "+i.Name] = w.linksOf(i.Reference())
	}
	for what, n := range made {
		if n != 1 {
			w.t.Errorf("%s was made %d times", what, n)
		}
	}
	if n := len(run.Status.Suites[0].Attempts); n != 3 {
		w.t.Errorf("the suite is said to have %d attempts: %+v", n, run.Status.Suites[0].Attempts)
	}
	if again := record.twice(space); len(again) > 0 {
		w.t.Errorf("made more than once: %s", strings.Join(again, ", "))
	}
	if left := w.buildThings(run); len(left) > 0 {
		w.t.Errorf("the builds left %s", strings.Join(left, ", "))
	}
}

func (w *world) commentsOf(run *v1alpha1.Run) (n int) {
	for _, body := range w.github.commentsOn(issueNumber) {
		n += strings.Count(body, "conductor:run="+run.Name+" -->")
	}
	return n
}

// checksOf counts the check runs of a Run's suite that concluded with success.
func (w *world) checksOf(run *v1alpha1.Run) (n int) {
	w.github.mu.Lock()
	defer w.github.mu.Unlock()
	for _, c := range w.github.checks {
		if c.ExternalID == run.Name+"/integration" && c.Conclusion == "success" {
			n++
		}
	}
	return n
}

func (w *world) entriesOf(run *v1alpha1.Run) (n int) {
	for _, e := range w.shelf.history("main", "integration").Runs {
		if e.Run == run.Name {
			n++
		}
	}
	return n
}

func (w *world) linksOf(image string) int {
	w.shelf.mu.Lock()
	defer w.shelf.mu.Unlock()
	if w.shelf.linked[image] != "" {
		return 1
	}
	return 0
}
