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
		Slug: "conductor", Permissions: fake.Permissions{"contents": "read", "issues": "write"},
		Events: []string{"push", "issue_comment"}, WebhookURL: hook.URL, WebhookSecret: secret,
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

	sent := settled(t, s, app.ID)
	codes := map[string][]int{}
	for _, d := range sent {
		codes[d.Event] = append(codes[d.Event], d.StatusCode)
	}
	// The push to main starts nothing; the installation event no one asked for.
	for event, want := range map[string][]int{"ping": {200}, "installation": {200}, "push": {202, 202, 200}, "issue_comment": {202}} {
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
	if len(f.inbox.kept) != 3 {
		t.Fatalf("kept %d deliveries", len(f.inbox.kept))
	}
	tag, gone, said := f.inbox.kept[0].Spec.Event, f.inbox.kept[1].Spec.Event, f.inbox.kept[2].Spec.Event
	for _, e := range []v1alpha1.Event{tag, gone, said} {
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
	if c := said.Comment; c.ID != comment || c.Issue != issue || c.PullRequest || c.Body != "/conductor test" || said.Action != "created" {
		t.Errorf("comment: %+v", c)
	}
}

// settled are the App's deliveries when all have been answered, oldest first.
func settled(t *testing.T, s *fake.Server, app int64) []fake.Delivery {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := s.Deliveries(app)
		done := len(all) >= 6
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
