package githubapp

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

// everyCall are all of the adapter's calls, and the permissions that each may have at most.
var everyCall = []struct {
	name  string
	grant grant
	do    func(ctx context.Context, w *world, c *Client, t testing.TB) error
}{
	{"Archive", readContents, func(ctx context.Context, w *world, c *Client, t testing.TB) error {
		return checkout(ctx, t, c, w.installation, w.repo, w.sha, t.TempDir())
	}},
	{"Hints", readHistory, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Hints(ctx, w.installation, w.repo, w.Refs("acme/shop")["refs/tags/annotated"], w.sha)
		return err
	}},
	{"Head of a pull request", readHistory, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Head(ctx, w.installation, w.repo, 2)
		return err
	}},
	{"Head of an issue", readHistory, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Head(ctx, w.installation, w.repo, 1)
		return err
	}},
	{"PullCommits", readHistory, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.PullCommits(ctx, w.installation, w.repo, 2)
		return err
	}},
	{"Protected", readContents, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Protected(ctx, w.installation, w.repo, w.sha)
		return err
	}},
	{"Tags", readContents, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Tags(ctx, w.installation, w.repo, "ann")
		return err
	}},
	{"Commit", readContents, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Commit(ctx, w.installation, w.repo, w.Refs("acme/shop")["refs/tags/annotated"])
		return err
	}},
	{"UpsertCheckRun", writeChecks, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.UpsertCheckRun(ctx, w.installation, w.repo, 0, v1alpha1.CheckRun{Name: "c", ExternalID: "x", HeadSHA: w.sha, Status: "queued"})
		return err
	}},
	{"UpsertComment on an issue", converse, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.UpsertComment(ctx, w.installation, w.repo, 1, 0, "<!-- m -->", "hello <!-- m -->")
		return err
	}},
	{"UpsertComment on a pull request", converse, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.UpsertComment(ctx, w.installation, w.repo, 2, 0, "<!-- m -->", "hello <!-- m -->")
		return err
	}},
	{"React", converse, func(ctx context.Context, w *world, c *Client, t testing.TB) error {
		issue := get(w.Issue("acme/shop", 1))(t)
		return c.React(ctx, w.installation, w.repo, issue.Comments[0].ID, "eyes")
	}},
	{"Permission", readMetadata, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, err := c.Permission(ctx, w.installation, w.repo, "bob")
		return err
	}},
	{"Repositories", readMetadata, func(ctx context.Context, _ *world, c *Client, _ testing.TB) error {
		return c.Repositories(ctx, func(int64, v1alpha1.Repository) error { return nil })
	}},
	{"CloneToken", readContents, func(ctx context.Context, w *world, c *Client, _ testing.TB) error {
		_, _, err := c.CloneToken(ctx, w.installation, w.repo)
		return err
	}},
	{"Ping", nil, func(ctx context.Context, _ *world, c *Client, _ testing.TB) error { return c.Ping(ctx) }},
}

// furnish gives the repository what every call needs: issue 1 with a comment, pull request 2, an annotated tag.
func furnish(t testing.TB, w *world) {
	t.Helper()
	get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	get(w.Comment("acme/shop", "ada", 1, "/conductor test"))(t)
	get(w.PushCommit("acme/shop", "ada", fake.Commit{Branch: "fix", Files: map[string]string{"fix": "1"}}))(t)
	if n := get(w.OpenPullRequest("acme/shop", "ada", fake.PullRequest{Head: "fix", Title: "Fix it"}))(t); n != 2 {
		t.Fatalf("the pull request is #%d", n)
	}
	must(t, w.PushTag("acme/shop", "ada", "annotated", "main", "for #1"))
}

func TestEachCallHasItsGrantAndNoMore(t *testing.T) {
	w := newWorld(t)
	furnish(t, w)
	for _, c := range everyCall {
		t.Run(c.name, func(t *testing.T) {
			w.ResetRequests()
			must(t, c.do(t.Context(), w, w.open(serverClock{w.Server}), t))
			used := 0
			for _, r := range w.Requests() {
				if r.Caller != "installation" {
					continue
				}
				used++
				checkToken(t, w, r, c.grant, c.name == "Repositories")
			}
			if used == 0 && c.grant != nil && c.name != "CloneToken" {
				t.Error("no request had an installation token")
			}
		})
	}
}

// checkToken holds the token of a request to the call's grant and to the one repository.
func checkToken(t *testing.T, w *world, r fake.Request, g grant, wide bool) {
	t.Helper()
	granted := maps.Clone(r.Granted)
	if _, asked := g["metadata"]; !asked {
		delete(granted, "metadata") // which GitHub adds to every token
	}
	// Head needs less for an issue's second request; more than the call's own grant is never right.
	if !fake.Permissions(g).Include(granted) {
		t.Errorf("%s had a token for %s, more than %s", r.Operation, r.Granted, g)
	}
	if !wide && !cmp.Equal(r.Repositories, []int64{w.repo.ID}) {
		t.Errorf("%s had a token for the repositories %v", r.Operation, r.Repositories)
	}
	if len(r.Needed) > 0 && !slices.ContainsFunc(r.Needed, r.Granted.Include) {
		t.Errorf("%s needs %v and had %s", r.Operation, r.Needed, r.Granted)
	}
}

func TestTheManifestIsTheUnionOfTheGrants(t *testing.T) {
	union := fake.Permissions{}
	for _, c := range everyCall {
		for name, level := range c.grant {
			if union[name] != "write" {
				union[name] = level
			}
		}
	}
	if diff := cmp.Diff(union, readManifest(t).Permissions); diff != "" {
		t.Errorf("manifest (-grants +manifest):\n%s", diff)
	}
}

// Without any one of the manifest's permissions some call fails with an error that names the permission.
func TestNoPermissionIsSuperfluous(t *testing.T) {
	for name, level := range readManifest(t).Permissions {
		if name == "metadata" {
			continue // no App is without it
		}
		lesser := []string{""}
		if level == "write" {
			lesser = append(lesser, "read")
		}
		for _, less := range lesser {
			t.Run(strings.TrimSuffix(name+" "+less, " "), func(t *testing.T) {
				w := newWorld(t)
				furnish(t, w)
				reduced := maps.Clone(readManifest(t).Permissions)
				delete(reduced, name)
				if less != "" {
					reduced[name] = less
				}
				must(t, w.SetPermissions(w.installation, reduced))
				refused := 0
				for _, c := range everyCall {
					err := c.do(t.Context(), w, w.client, t)
					if _, needs := c.grant[name]; !needs {
						must(t, err)
						continue
					}
					if err == nil && c.grant[name] == less {
						continue
					}
					f := wantFailure(t, err, failure.Terminal, v1alpha1.ReasonRefused)
					if !strings.Contains(f.Sentence, name+":"+c.grant[name]) || !strings.Contains(f.Sentence, "acme/shop") {
						t.Errorf("%s: the sentence is %q", c.name, f.Sentence)
					}
					refused++
				}
				if refused == 0 {
					t.Error("every call worked without it")
				}
			})
		}
	}
}

// GitHub takes the manifest's events with the manifest's permissions; newWorld registers exactly it.
func TestTheManifestSubscribesToWhatTheWebhookDecodes(t *testing.T) {
	if diff := cmp.Diff([]string{"push", "issue_comment", "issues", "pull_request"}, readManifest(t).Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
