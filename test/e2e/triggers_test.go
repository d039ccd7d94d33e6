//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// started accepts any existing run, whatever its state.
func started(*v1alpha1.Run) bool { return true }

// TestTagMovesAndComesBack pushes one tag in every possible way.
func TestTagMovesAndComesBack(t *testing.T) {
	t.Parallel()
	r := idle(t)
	r.push(tag, "")
	first := r.await(1, "started", started)

	r.write(map[string]string{"README.md": "More to test.\n"})
	r.push(tag, "")
	moved := r.await(2, "started", started)
	if moved.Spec.SHA == first.Spec.SHA || moved.Spec.SHA != r.git("rev-parse", "HEAD") {
		t.Errorf("the moved tag runs %s, the first ran %s", moved.Spec.SHA, first.Spec.SHA)
	}

	// Pushes are distinguished by GitHub's time of the push, which is in seconds.
	here.GitHub.Advance(time.Second)
	r.git("push", "-q", "origin", ":refs/tags/"+tag)
	r.answered("push", 3)
	if n := len(r.runs()); n != 2 {
		t.Fatalf("deleting the tag made %d runs of 2", n)
	}
	r.git("push", "-q", "origin", "refs/tags/"+tag)
	again := r.await(3, "started", started)
	if again.Spec.SHA != moved.Spec.SHA || again.Name == moved.Name {
		t.Errorf("the tag pushed again at %s is run %s of %s, which is no new run", moved.Spec.SHA, again.Name, again.Spec.SHA)
	}
	if again.Spec.Trigger.Kind != v1alpha1.TriggerTag || again.Spec.Actor.Login != r.User.Login || again.Spec.Trigger.Delivery == "" {
		t.Errorf("trigger %+v by %+v", again.Spec.Trigger, again.Spec.Actor)
	}
}

// answered waits until n events of a kind were delivered and answered, and returns them oldest first.
func (r *repo) answered(event string, n int) []githubtest.Delivery {
	r.t.Helper()
	var mine []githubtest.Delivery
	eventually(r.t, patience, func() error {
		mine = slices.DeleteFunc(here.GitHub.Deliveries(here.App.ID), func(d githubtest.Delivery) bool {
			return d.Repository != r.ID || d.Event != event || strings.Contains(string(d.Payload), `"ref":"refs/heads/`)
		})
		if len(mine) < n || slices.ContainsFunc(mine, func(d githubtest.Delivery) bool { return !d.Done }) {
			return fmt.Errorf("%d deliveries of %s, want %d, all answered", len(mine), event, n)
		}
		return nil
	})
	return mine
}

// TestTagNamesTheIssue finds the issue in all places that the documentation lists.
func TestTagNamesTheIssue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tag  func(issue int) (name, message string)
	}{
		{"in the message of an annotated tag", func(n int) (string, string) { return tag, fmt.Sprintf("Before the release, see #%d.", n) }},
		{"in the name of the tag", func(n int) (string, string) { return fmt.Sprintf("%s/%d", tag, n), "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := idle(t)
			r.push(c.tag(r.Issue))
			run := r.finished(1)
			if run.Status.Issue != r.Issue {
				t.Errorf("issue %d (%s), want %d", run.Status.Issue, run.Status.IssueSource, r.Issue)
			}
			contains(t, "comment", r.comment(run), "no .conductor.yaml")
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		t.Parallel()
		r := idle(t)
		r.push(tag, "")
		run := r.finished(1)
		if run.Status.Issue != 0 || len(r.comments(r.Issue)) != 0 {
			t.Errorf("issue %d (%s), want none: %+v", run.Status.Issue, run.Status.IssueSource, r.comments(r.Issue))
		}
		contains(t, "check run", r.check(run, "").Summary, "no .conductor.yaml")
	})
}

// TestOtherPushesDoNothing pushes what does not request a run, then what does.
func TestOtherPushesDoNothing(t *testing.T) {
	t.Parallel()
	r := idle(t)
	r.git("push", "-q", "origin", "main:refs/heads/"+tag)
	r.push("v1.0.0", "Please run #1")
	r.push("re"+tag, "")
	for _, d := range r.answered("push", 2) {
		if d.StatusCode != 202 {
			t.Errorf("a delivery that asks for nothing was answered %d %s", d.StatusCode, d.Status)
		}
	}
	r.push(tag, "")
	run := r.await(1, "started", started)
	if d := one(t, "delivery", r.deliveries()); d.Spec.GUID != run.Spec.Trigger.Delivery {
		t.Errorf("run %s is of delivery %s, and %s is kept", run.Name, run.Spec.Trigger.Delivery, d.Spec.GUID)
	}
}

// TestRedeliveryIsTheSameRun delivers one event twice.
func TestRedeliveryIsTheSameRun(t *testing.T) {
	t.Parallel()
	r := idle(t)
	r.push(tag+"/1", "")
	run := r.finished(1)
	d := one(t, "delivery of the tag", r.answered("push", 1))
	if err := here.GitHub.Redeliver(here.App.ID, d.ID); err != nil {
		t.Fatal(err)
	}
	second := r.answered("push", 2)[1]
	if second.GUID != d.GUID || !second.Redelivery || second.StatusCode != 202 {
		t.Errorf("the redelivery of %s is %s and was answered %d", d.GUID, second.GUID, second.StatusCode)
	}
	// Another event takes the same path and is processed last.
	r.push(tag+"/2", "")
	r.await(2, "started", started)
	if n := len(r.deliveries()); n != 2 {
		t.Errorf("%d deliveries are kept of two events", n)
	}
	if again := r.get(run); again.ResourceVersion != run.ResourceVersion && again.Status.Outcome != run.Status.Outcome {
		t.Errorf("the redelivery changed the run")
	}
}
