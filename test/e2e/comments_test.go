//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// commentAs comments on an issue as a user and returns the comment's id.
func (r *repo) commentAs(login string, issue int, body string) int64 {
	r.t.Helper()
	id, err := here.GitHub.Comment(r.Name, login, issue, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// answer waits for the App's one answer to a comment.
func (r *repo) answer(issue int, comment int64) string {
	r.t.Helper()
	mark := fmt.Sprintf("<!-- conductor:answer=%d -->", comment)
	var found []githubtest.Comment
	eventually(r.t, patience, func() error {
		found = slices.DeleteFunc(r.comments(issue), func(c githubtest.Comment) bool {
			return c.Author != here.App.Bot || !strings.Contains(c.Body, mark)
		})
		if len(found) == 0 {
			return fmt.Errorf("no answer to comment %d", comment)
		}
		return nil
	})
	return strings.TrimSpace(strings.Replace(one(r.t, "answer", found).Body, mark, "", 1))
}

// TestCommentStartsRun requests runs on an issue and on a pull request.
func TestCommentStartsRun(t *testing.T) {
	t.Parallel()
	r := idle(t)
	asked := r.commentAs(r.User.Login, r.Issue, "Shall we?\n\n/conductor test\n")
	run := r.finished(1)
	if run.Spec.SHA != r.git("rev-parse", "HEAD") || run.Spec.Trigger.Kind != v1alpha1.TriggerComment || run.Spec.Trigger.Comment != asked || run.Status.Issue != r.Issue {
		t.Errorf("the comment started %+v for issue %d", run.Spec, run.Status.Issue)
	}
	contains(t, "comment", r.comment(run), "no .conductor.yaml")
	heard := slices.ContainsFunc(r.comments(r.Issue), func(c githubtest.Comment) bool {
		return c.ID == asked && slices.Contains(c.Reactions, "rocket by "+here.App.Bot)
	})
	if !heard {
		t.Errorf("the comment that asked got no reaction: %+v", r.comments(r.Issue))
	}

	r.git("checkout", "-q", "-b", "feature")
	r.git("commit", "-q", "--allow-empty", "-m", "A feature")
	r.git("push", "-q", "origin", "feature")
	pull, err := here.GitHub.OpenPullRequest(r.Name, r.User.Login, githubtest.PullRequest{Head: "feature", Title: "A feature"})
	if err != nil {
		t.Fatal(err)
	}
	r.commentAs(r.User.Login, pull, "/conductor test")
	run = r.finished(2)
	if run.Spec.SHA != r.git("rev-parse", "feature") || run.Status.Issue != pull {
		t.Errorf("the pull request's run is of %s for #%d, want its head %s for #%d", run.Spec.SHA, run.Status.Issue, r.git("rev-parse", "feature"), pull)
	}
}

// TestCommentsAreAnswered checks the answers to comments that do not start a run.
func TestCommentsAreAnswered(t *testing.T) {
	t.Parallel()
	r := idle(t)
	reader, err := here.GitHub.CreateUser("reader")
	if err != nil {
		t.Fatal(err)
	}
	if err := here.GitHub.AddCollaborator(r.Name, reader.Login, githubtest.RoleRead); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, login, body string
		want              []string
		lines             int
	}{
		{"a reader", reader.Login, "/conductor test", []string{"write permission"}, 1},
		{"help", r.User.Login, "/conductor help", []string{"/conductor test", "/conductor cancel", "/conductor help"}, 0},
		{"a typing error", r.User.Login, "/conductor tset", []string{"tset", "/conductor test"}, 0},
		{"nothing to cancel", r.User.Login, "/conductor cancel", []string{"No run of this issue is under way"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := r.answer(r.Issue, r.commentAs(c.login, r.Issue, c.body))
			contains(t, "answer", answer, c.want...)
			if n := len(strings.Split(answer, "\n")); c.lines > 0 && n != c.lines {
				t.Errorf("%d lines, want %d: %s", n, c.lines, answer)
			}
		})
	}
	// A second refusal on the same day gets no words.
	refused := r.commentAs(reader.Login, r.Issue, "/conductor cancel")
	eventually(t, patience, func() error {
		isRefused := slices.ContainsFunc(r.comments(r.Issue), func(c githubtest.Comment) bool {
			return c.ID == refused && slices.Contains(c.Reactions, "confused by "+here.App.Bot)
		})
		if !isRefused {
			return fmt.Errorf("no reaction to the refused comment: %+v", r.comments(r.Issue))
		}
		return nil
	})
	if again := r.marked(fmt.Sprintf("<!-- conductor:answer=%d -->", refused)); len(again) > 0 {
		t.Errorf("a second refusal in words: %q", again)
	}
	r.commentAs(r.User.Login, r.Issue, "Type `/conductor test` to run it:\n\n> /conductor test\n\n```\n/conductor test\n```\n")
	r.answered("issue_comment", 6)
	if runs := r.runs(); len(runs) != 0 {
		t.Errorf("%d runs were started, the first by %+v", len(runs), runs[0].Spec.Trigger)
	}
}

// TestCancel cancels a run in each of its long stages and checks for leftovers.
func TestCancel(t *testing.T) {
	t.Parallel()
	const wait = "#!/bin/sh\ntrap 'exit 1' TERM\nsleep 300 & wait\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		reach func(*v1alpha1.Run) bool
	}{
		{"while an image is built", map[string]string{"Dockerfile.test": "FROM busybox:1.36\nRUN sleep 300\n"}, func(run *v1alpha1.Run) bool {
			return apimeta.IsStatusConditionPresentAndEqual(run.Status.Conditions, v1alpha1.ConditionImagesBuilt, "Unknown") && len(run.Status.Images) == 1 && run.Status.Images[0].Job != ""
		}},
		{"while the stack starts", map[string]string{"docker-compose.qa.yml": sick, "Dockerfile.test": "FROM busybox:1.36\n"}, func(run *v1alpha1.Run) bool {
			return apimeta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionImagesBuilt) && len(run.Status.Services) > 0
		}},
		{"while the tests run", map[string]string{"test.sh": wait}, func(run *v1alpha1.Run) bool {
			return apimeta.IsStatusConditionPresentAndEqual(run.Status.Conditions, v1alpha1.ConditionTestsPassed, "Unknown")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := small(t, c.files)
			r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
			r.await(1, "under way and told", func(run *v1alpha1.Run) bool { return c.reach(run) && run.Status.Issue == r.Issue })
			r.commentAs(r.User.Login, r.Issue, "/conductor cancel")
			run := r.finished(1)
			if run.Status.Outcome != v1alpha1.OutcomeCanceled {
				t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
			}
			if check := r.check(run, "smoke"); check.Conclusion != "cancelled" {
				t.Errorf("check run %s %s: %s", check.Status, check.Conclusion, check.Title)
			}
			contains(t, "comment", r.comment(run), "⏹️ Integration tests canceled", "Canceled by "+r.User.Login)
			r.gone(run)
		})
	}
}

// sick is a stack whose one service never becomes healthy.
const sick = `services:
  web:
    image: busybox:1.36
    command: sh -c "trap 'exit 0' TERM; sleep 300 & wait"
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1:8080/nothing
      interval: 1s
      retries: 300
`
