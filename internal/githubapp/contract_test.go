package githubapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

func TestCheckout(t *testing.T) {
	w := newWorld(t)
	head := get(w.PushCommit("acme/shop", "ada", fake.Commit{Files: map[string]string{"big": strings.Repeat("x", testFile+1), "later": "1"}}))(t)
	dir := t.TempDir()
	must(t, checkout(t.Context(), t, w.client, w.installation, w.repo, head, dir))
	want := map[string]string{
		"big": "0 " + strings.Repeat("\x00", testFile+1), ".conductor.yaml": "0 version: 1\n", "deploy": "folder", "deploy/run.sh": "111 #!/bin/sh\n", "later": "0 1",
	}
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	old := t.TempDir()
	must(t, checkout(t.Context(), t, w.client, w.installation, w.repo, w.sha, old))
	if _, err := os.Stat(filepath.Join(old, "later")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older commit holds a later file: %v", err)
	}
	err := checkout(t.Context(), t, w.client, w.installation, w.repo, strings.Repeat("1", 40), t.TempDir())
	wantFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
}

func TestCloneTokenReadsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	value, expires, err := w.client.CloneToken(t.Context(), w.installation, w.repo)
	must(t, err)
	if left := expires.Sub(w.Now()); left < 55*time.Minute || left > time.Hour {
		t.Errorf("it lives for %s", left)
	}
	git := func(args ...string) error {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	url := strings.Replace(w.repo.CloneURL, "://", "://x-access-token:"+value+"@", 1)
	dir := filepath.Join(t.TempDir(), "clone")
	must(t, git("clone", "-q", url, dir))
	if git("-C", dir, "push", "-q", "origin", "HEAD:refs/heads/stolen") == nil {
		t.Error("it can push")
	}
	second, _, err := w.client.CloneToken(t.Context(), w.installation, w.repo)
	must(t, err)
	if second == value {
		t.Error("two builds share a token, so the second has less than its hour")
	}
	req := get(http.NewRequestWithContext(t.Context(), http.MethodPost, w.APIURL()+"/repos/acme/shop/check-runs", strings.NewReader(`{"name":"c","head_sha":"`+w.sha+`"}`)))(t)
	req.Header.Set("Authorization", "token "+value)
	req.Header.Set("User-Agent", "test")
	resp := get(http.DefaultClient.Do(req))(t)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a check run: status %d", resp.StatusCode)
	}
	if strings.Contains(w.log.String(), value) {
		t.Error("the log holds the token")
	}
}

func TestTokensAreRenewedInTime(t *testing.T) {
	w := newWorld(t)
	ask := func() { get(w.client.Protected(t.Context(), w.installation, w.repo, w.sha))(t) }
	ask()
	ask()
	if n := w.operations(opMint); n != 1 {
		t.Errorf("%d tokens for two calls", n)
	}
	w.Advance(54 * time.Minute)
	ask()
	if n := w.operations(opMint); n != 1 {
		t.Errorf("%d tokens after 54 minutes", n)
	}
	w.Advance(2 * time.Minute)
	ask()
	if n := w.operations(opMint); n != 2 {
		t.Errorf("%d tokens after 56 minutes", n)
	}
}

func TestWhereTheAppIsNot(t *testing.T) {
	w := newWorld(t)
	other := get(w.CreateRepository("acme/other", fake.RepositoryOptions{Files: map[string]string{"f": "1"}}))(t)
	ask := func(installation int64, repo v1alpha1.Repository) error {
		_, err := w.client.Permission(t.Context(), installation, repo, "ada")
		return err
	}
	f := wantFailure(t, ask(w.installation, v1alpha1.Repository{ID: other.ID, Owner: "acme", Name: "other"}), failure.Terminal, v1alpha1.ReasonNotFound)
	if !strings.Contains(f.Sentence, "not installed on acme/other") {
		t.Errorf("a repository that was not selected: %q", f.Sentence)
	}
	wantFailure(t, ask(w.installation+1000, w.repo), failure.Terminal, v1alpha1.ReasonNotFound)
	must(t, w.SuspendInstallation(w.installation, true))
	f = wantFailure(t, ask(w.installation, w.repo), failure.Terminal, v1alpha1.ReasonRefused)
	if !strings.Contains(f.Sentence, "suspended") {
		t.Errorf("suspended: %q", f.Sentence)
	}
	must(t, w.Uninstall(w.installation))
	wantFailure(t, ask(w.installation, w.repo), failure.Terminal, v1alpha1.ReasonNotFound)
}

func TestHintsProtectedAndCommit(t *testing.T) {
	w := newWorld(t)
	must(t, w.ProtectBranch("acme/shop", "main", &fake.Protection{}))
	fix := get(w.PushCommit("acme/shop", "ada", fake.Commit{Branch: "12-fix", Message: "Fix #34\n\nBody", Files: map[string]string{"f": "1"}}))(t)
	pr := get(w.OpenPullRequest("acme/shop", "ada", fake.PullRequest{Head: "12-fix", Title: "Fix"}))(t)
	must(t, w.PushTag("acme/shop", "ada", "run-integration-tests", "12-fix", "for #56"))
	must(t, w.PushTag("acme/shop", "ada", "light", "12-fix", ""))
	object := w.Refs("acme/shop")["refs/tags/run-integration-tests"]
	if object == fix {
		t.Fatal("the tag is not annotated")
	}
	got := get(w.client.Hints(t.Context(), w.installation, w.repo, object, fix))(t)
	got.TagMessage, got.Message = strings.TrimSpace(got.TagMessage), strings.TrimSpace(got.Message)
	want := v1alpha1.CommitHints{TagMessage: "for #56", Branches: []string{"12-fix"}, Message: "Fix #34\n\nBody", PullRequests: []int{pr}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
	got = get(w.client.Hints(t.Context(), w.installation, w.repo, w.sha, w.sha))(t)
	if got.TagMessage != "" || !got.Protected || !cmp.Equal(got.Branches, []string{"main"}) {
		t.Errorf("hints of main: %+v", got)
	}
	for sha, protected := range map[string]bool{w.sha: true, fix: false} {
		if p := get(w.client.Protected(t.Context(), w.installation, w.repo, sha))(t); p != protected {
			t.Errorf("Protected(%s) = %v", sha, p)
		}
	}
	for _, o := range []string{object, fix} {
		if c := get(w.client.Commit(t.Context(), w.installation, w.repo, o))(t); c != fix {
			t.Errorf("Commit(%s) = %s, want %s", o, c, fix)
		}
	}
	_, err := w.client.Commit(t.Context(), w.installation, w.repo, strings.Repeat("1", 40))
	wantFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	issue := get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	own := get(w.PushCommit("acme/shop", "ada", fake.Commit{Branch: "fix", Files: map[string]string{"f": "1"}}))(t)
	get(w.Fork("acme/shop", "bob"))(t)
	foreign := get(w.PushCommit("bob/shop", "bob", fake.Commit{Branch: "fix", Files: map[string]string{"g": "1"}}))(t)
	ownPR := get(w.OpenPullRequest("acme/shop", "ada", fake.PullRequest{Head: "fix", Title: "Own"}))(t)
	forkPR := get(w.OpenPullRequest("acme/shop", "bob", fake.PullRequest{Head: "fix", HeadRepository: "bob/shop", Title: "Fork"}))(t)
	want := map[int]v1alpha1.Head{
		issue:  {Ref: "refs/heads/main", SHA: w.sha},
		ownPR:  {Ref: "refs/heads/fix", SHA: own},
		forkPR: {Ref: fmt.Sprintf("refs/pull/%d/head", forkPR), SHA: foreign, Fork: true},
	}
	if got := get(w.client.PullCommits(t.Context(), w.installation, w.repo, forkPR))(t); len(got) != 2 || got[1] != foreign {
		t.Errorf("commits of the fork's pull request: %q, want two, the last of them %s", got, foreign)
	}
	for n, head := range want {
		for _, known := range []string{"main", ""} {
			repo := w.repo
			repo.DefaultBranch = known
			if diff := cmp.Diff(head, get(w.client.Head(t.Context(), w.installation, repo, n))(t)); diff != "" {
				t.Errorf("head of #%d (-want +got):\n%s", n, diff)
			}
		}
	}
}

func TestPermission(t *testing.T) {
	w := newWorld(t)
	ask := func(login string) v1alpha1.Permission {
		t.Helper()
		return get(w.client.Permission(t.Context(), w.installation, w.repo, login))(t)
	}
	for _, role := range []fake.Role{fake.RoleRead, fake.RoleTriage, fake.RoleWrite, fake.RoleMaintain, fake.RoleAdmin} {
		must(t, w.AddCollaborator("acme/shop", "bob", role))
		if got := ask("bob"); string(got) != string(role) {
			t.Errorf("%s is %s", role, got)
		}
	}
	must(t, w.AddCollaborator("acme/shop", "bob", fake.RoleNone))
	for _, login := range []string{"bob", "nobody", "dependabot[bot]", "a/b?c"} {
		if got := ask(login); got != "none" {
			t.Errorf("%s is %s", login, got)
		}
	}
	w.TakeViolations() // "a/b?c" is not a login: GitHub does not have such an operation
}

func TestTagsAndRepositoriesHaveManyPages(t *testing.T) {
	w := newWorld(t)
	want := map[string]string{}
	for i := range perPage + 20 {
		name := fmt.Sprintf("run-integration-tests/%d", i)
		must(t, w.PushTag("acme/shop", "ada", name, "main", ""))
		want["refs/tags/"+name] = w.sha
	}
	must(t, w.PushTag("acme/shop", "ada", "v1", "main", ""))
	for range 2 {
		got := get(w.client.Tags(t.Context(), w.installation, w.repo, "run-integration-tests"))(t)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("tags (-want +got):\n%s", diff)
		}
	}
	if got := get(w.client.Tags(t.Context(), w.installation, w.repo, "none"))(t); len(got) != 0 {
		t.Errorf("tags: %v", got)
	}

	must(t, w.CreateOrg("big", "ada"))
	for i := range perPage + 5 {
		get(w.CreateRepository(fmt.Sprintf("big/r%d", i), fake.RepositoryOptions{}))(t)
	}
	must(t, w.CreateOrg("gone", "ada"))
	get(w.CreateRepository("gone/r", fake.RepositoryOptions{}))(t)
	big := get(w.InstallApp(w.app.ID, "big", fake.InstallOptions{}))(t)
	must(t, w.SuspendInstallation(get(w.InstallApp(w.app.ID, "gone", fake.InstallOptions{}))(t), true))
	seen := map[int64][]string{}
	must(t, w.client.Repositories(t.Context(), func(installation int64, r v1alpha1.Repository) error {
		if r.ID == 0 || r.DefaultBranch == "" || r.CloneURL == "" || !r.Private {
			t.Errorf("repository %+v", r)
		}
		seen[installation] = append(seen[installation], r.FullName())
		return nil
	}))
	if len(seen) != 2 || len(seen[big]) != perPage+5 || !cmp.Equal(seen[w.installation], []string{"acme/shop"}) {
		t.Errorf("repositories: %d installations, %d of big, %v", len(seen), len(seen[big]), seen[w.installation])
	}
	stop := errors.New("stop")
	if err := w.client.Repositories(t.Context(), func(int64, v1alpha1.Repository) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Repositories: %v", err)
	}
}

func TestLimitsAndFaults(t *testing.T) {
	w := newWorld(t)
	ask := func() error {
		_, err := w.client.Protected(t.Context(), w.installation, w.repo, w.sha)
		return err
	}
	w.Inject(fake.Fault{Status: http.StatusBadGateway, Times: attempts - 1, Path: "/repos/*/*/commits/*/branches-where-head"})
	must(t, ask())
	w.Inject(fake.Fault{Drop: true, Times: 1, Path: "/repos/*/*/commits/*/branches-where-head"})
	must(t, ask())
	w.Inject(fake.Fault{Status: http.StatusBadGateway, Times: 1, Path: "/app/installations/*/access_tokens"})
	must(t, w.open(serverClock{w.Server}).Ping(t.Context()))
	w.client = w.open(serverClock{w.Server})
	must(t, ask())
	w.Inject(fake.Fault{Status: http.StatusForbidden, Secondary: true, RetryAfter: 42 * time.Second, Times: 1})
	if f := wantFailure(t, ask(), failure.Waiting, v1alpha1.ReasonUnavailable); f.After < 41*time.Second || f.After > 42*time.Second {
		t.Errorf("wait for %s", f.After)
	}
}

func TestASlowGitHubIsNotWaitedForForever(t *testing.T) {
	w := newWorld(t)
	must(t, w.client.Ping(t.Context()))
	w.Inject(fake.Fault{Delay: time.Minute, Path: "/repos/*/*/commits/*/branches-where-head"})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := w.client.Protected(ctx, w.installation, w.repo, w.sha); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("Protected after %s: %v", time.Since(began), err)
	}
	s := scope{installation: w.installation, repo: w.repo, grant: readContents, what: "test"}
	if _, err := w.client.callWithin(t.Context(), 50*time.Millisecond, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		_, resp, err := gh.Repositories.ListBranchesHeadCommit(ctx, "acme", "shop", w.sha)
		return resp, err
	}); err == nil || failure.IsTerminal(err) {
		t.Errorf("a request that takes too long: %v", err)
	}
}
