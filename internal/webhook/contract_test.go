package webhook

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

// Deliveries as a GitHub that behaves makes, signs and sends them.
func TestDeliveriesOfGitHub(t *testing.T) {
	f := newFixture(t)
	hook := httptest.NewServer(f)
	t.Cleanup(hook.Close)
	s, err := fake.New(fake.Options{})
	must(t, err)
	t.Cleanup(func() { s.Check(t); s.Close() })
	_, err = s.CreateUser("ada")
	must(t, err)
	must(t, s.CreateOrg("acme", "ada"))
	repo, err := s.CreateRepository("acme/shop", fake.RepositoryOptions{Files: map[string]string{"f": "1"}})
	must(t, err)
	app, err := s.CreateApp(fake.AppOptions{
		Slug: "conductor", Permissions: fake.Permissions{"contents": "read", "issues": "write", "pull_requests": "write"},
		Events: []string{"push", "issue_comment", "issues", "pull_request"}, WebhookURL: hook.URL, WebhookSecret: secret,
	})
	must(t, err)
	installation, err := s.InstallApp(app.ID, "acme", fake.InstallOptions{})
	must(t, err)
	must(t, s.Ping(app.ID))
	must(t, s.PushTag("acme/shop", "ada", "run-integration-tests", "main", "for #1"))
	must(t, s.DeleteRef("acme/shop", "ada", "refs/tags/run-integration-tests"))
	_, err = s.PushCommit("acme/shop", "ada", fake.Commit{Files: map[string]string{"g": "1"}})
	must(t, err)
	issue, err := s.CreateIssue("acme/shop", "ada", "It breaks", "")
	must(t, err)
	comment, err := s.Comment("acme/shop", "ada", issue, "/conductor test")
	must(t, err)

	must(t, s.CloseIssue("acme/shop", "ada", issue))
	_, err = s.PushCommit("acme/shop", "ada", fake.Commit{Branch: "fix", Files: map[string]string{"h": "1"}})
	must(t, err)
	pull, err := s.OpenPullRequest("acme/shop", "ada", fake.PullRequest{Head: "fix", Title: "Mend it"})
	must(t, err)
	must(t, s.MergePullRequest("acme/shop", "ada", pull))

	sent := settled(t, s, app.ID)
	codes := map[string][]int{}
	for _, d := range sent {
		codes[d.Event] = append(codes[d.Event], d.StatusCode)
	}
	// The pushes to branches start nothing; the installation event no one asked for.
	for event, want := range map[string][]int{
		"ping": {200}, "installation": {200}, "push": {202, 202, 202, 202, 202}, "issue_comment": {202}, "issues": {202, 202}, "pull_request": {202, 202},
	} {
		if got := codes[event]; len(got) != len(want) {
			t.Errorf("%s: answered %v, want %v", event, got, want)
		} else {
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: answered %v, want %v", event, got, want)
					break
				}
			}
		}
	}
	if len(f.inbox.kept) != 5 {
		t.Fatalf("kept %d deliveries", len(f.inbox.kept))
	}
	var events []v1alpha1.Event
	for _, d := range f.inbox.kept {
		events = append(events, d.Spec.Event)
	}
	tag, gone, said, over, merged := events[0], events[1], events[2], events[3], events[4]
	for _, e := range events {
		if e.InstallationID != installation || e.Repository.ID != repo.ID || e.Repository.FullName() != "acme/shop" || e.Sender.Login != "ada" || !e.Repository.Private {
			t.Errorf("event %+v", e)
		}
	}
	if p := tag.Push; p.Ref != "refs/tags/run-integration-tests" || p.HeadSHA != repo.SHA || p.After == repo.SHA || !p.Created || p.PushedAt == 0 {
		t.Errorf("annotated tag: %+v", p)
	}
	if p := gone.Push; !p.Deleted || p.HeadSHA != "" || strings.Trim(p.After, "0") != "" {
		t.Errorf("deleted tag: %+v", p)
	}
	if c := said.Comment; c.ID != comment || c.Issue != issue || c.PullRequest || len(c.Commands) != 1 || c.Commands[0].Verb != "test" || said.Action != "created" {
		t.Errorf("comment: %+v", c)
	}
	if *over.Closed != (v1alpha1.ClosedEvent{Issue: issue}) || *merged.Closed != (v1alpha1.ClosedEvent{Issue: pull, Merged: true}) {
		t.Errorf("closed: %+v, %+v", over.Closed, merged.Closed)
	}
}

// settled are the App's deliveries when all have been answered, oldest first.
func settled(t *testing.T, s *fake.Server, app int64) []fake.Delivery {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := s.Deliveries(app)
		done := len(all) >= 12
		for _, d := range all {
			done = done && d.Done
		}
		if done {
			return all
		}
	}
	t.Fatal("the deliveries were not answered")
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
