package githubtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gh "github.com/google/go-github/v62/github"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

func isRef(ref string) func(any) bool {
	return func(e any) bool { return e.(*gh.PushEvent).GetRef() == ref }
}

func (w *world) commitIn(dir, file, text string) string {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644))
	w.mustGit("", dir, "add", file)
	w.mustGit("", dir, "commit", "--quiet", "-m", "Change "+file)
	return w.head(dir, "HEAD")
}

func (w *world) head(dir, revision string) string {
	w.t.Helper()
	return strings.TrimSpace(w.mustGit("", dir, "rev-parse", revision))
}

// TestPushEvents pushes with the real git and reads the events with go-github.
func TestPushEvents(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := w.user.Token
	dir := w.clone(token)
	zero := strings.Repeat("0", 40)

	t.Run("branch", func(t *testing.T) {
		first := w.commitIn(dir, "one.txt", "1")
		second := w.commitIn(dir, "two.txt", "2")
		w.mustGit(token, dir, "push", "--quiet", "origin", "HEAD:main")
		e := w.hook.wait(t, "push", func(e any) bool { return e.(*gh.PushEvent).GetAfter() == second }).(*gh.PushEvent)
		if len(e.Commits) != 2 || e.Commits[0].GetID() != first || e.GetBefore() != w.repo.SHA || e.GetCreated() || e.GetForced() {
			t.Errorf("push %+v", e)
		}
		if added := e.Commits[0].Added; len(added) != 1 || added[0] != "one.txt" {
			t.Errorf("added %v", added)
		}
		if e.GetPusher().GetName() != "ada" || e.GetSender().GetLogin() != "ada" || e.GetRepo().GetPushedAt().IsZero() {
			t.Errorf("pusher %v, sender %v, pushed at %v", e.GetPusher(), e.GetSender().GetLogin(), e.GetRepo().GetPushedAt())
		}
	})
	t.Run("lightweight tag", func(t *testing.T) {
		w.mustGit(token, dir, "tag", "light")
		w.mustGit(token, dir, "push", "--quiet", "origin", "light")
		e := w.hook.wait(t, "push", isRef("refs/tags/light")).(*gh.PushEvent)
		if sha := w.head(dir, "HEAD"); e.GetAfter() != sha || e.GetHeadCommit().GetID() != sha || e.GetBefore() != zero ||
			!e.GetCreated() || e.GetBaseRef() != "refs/heads/main" || len(e.Commits) != 0 {
			t.Errorf("push %+v", e)
		}
	})
	t.Run("annotated tag", func(t *testing.T) {
		w.mustGit(token, dir, "tag", "-a", "-m", "closes #7", "noted")
		w.mustGit(token, dir, "push", "--quiet", "origin", "noted")
		e := w.hook.wait(t, "push", isRef("refs/tags/noted")).(*gh.PushEvent)
		if e.GetAfter() != w.head(dir, "noted") || e.GetHeadCommit().GetID() != w.head(dir, "HEAD") || e.GetAfter() == e.GetHeadCommit().GetID() {
			t.Errorf("after %s, head commit %s", e.GetAfter(), e.GetHeadCommit().GetID())
		}
	})
	t.Run("moved tag", func(t *testing.T) {
		w.mustGit(token, dir, "tag", "-f", "light", "HEAD~1")
		w.mustGit(token, dir, "push", "--quiet", "--force", "origin", "light")
		e := w.hook.wait(t, "push", func(e any) bool { return isRef("refs/tags/light")(e) && !e.(*gh.PushEvent).GetCreated() }).(*gh.PushEvent)
		if !e.GetForced() || e.GetAfter() != w.head(dir, "HEAD~1") {
			t.Errorf("push %+v", e)
		}
	})
	t.Run("deleted tag", func(t *testing.T) {
		w.mustGit(token, dir, "push", "--quiet", "origin", ":light")
		e := w.hook.wait(t, "push", func(e any) bool { return e.(*gh.PushEvent).GetDeleted() }).(*gh.PushEvent)
		if e.GetAfter() != zero || e.HeadCommit != nil {
			t.Errorf("push %+v", e)
		}
	})
}

func TestPushesOfManyRefsAndBytes(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := w.user.Token
	dir := w.clone(token)
	t.Run("four tags at once make no event", func(t *testing.T) {
		before := len(w.Deliveries(w.app.ID))
		w.mustGit(token, dir, "push", "--quiet", "origin", "HEAD:refs/tags/a", "HEAD:refs/tags/b", "HEAD:refs/tags/c", "HEAD:refs/tags/d")
		if after := len(w.Deliveries(w.app.ID)); after != before {
			t.Errorf("%d deliveries", after-before)
		}
		if refs := w.Refs("acme/shop"); refs["refs/tags/d"] == "" {
			t.Error("the tags were not pushed")
		}
		w.mustGit(token, dir, "push", "--quiet", "origin", "HEAD:refs/tags/e", "HEAD:refs/tags/f", "HEAD:refs/tags/g")
		w.hook.wait(t, "push", isRef("refs/tags/e"))
		w.hook.wait(t, "push", isRef("refs/tags/g"))
	})
	t.Run("larger than git sends in one piece", func(t *testing.T) {
		large := make([]byte, 3<<20) // above http.postBuffer, so that git sends chunks
		for i := range large {
			large[i] = byte(i * i >> 7)
		}
		sha := w.commitIn(dir, "large.bin", string(large))
		w.mustGit(token, dir, "push", "--quiet", "origin", "HEAD:refs/heads/large")
		w.hook.wait(t, "push", func(e any) bool { return e.(*gh.PushEvent).GetAfter() == sha })
	})
}

func TestGitAccess(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	reader := one(w.CreateUser("ron"))(t)
	must(t, w.AddCollaborator("acme/shop", "ron", githubtest.RoleRead))
	stranger := one(w.CreateUser("eve"))(t)
	read := one(w.InstallationToken(w.installation))(t)
	none := one(w.CreateApp(githubtest.AppOptions{Slug: "none", Permissions: githubtest.Permissions{"issues": "read"}}))(t)
	noContents := one(w.InstallationToken(one(w.InstallApp(none.ID, "acme", githubtest.InstallOptions{}))(t)))(t)
	writer := one(w.CreateApp(githubtest.AppOptions{Slug: "writer", Permissions: githubtest.Permissions{"contents": "write"}}))(t)
	write := one(w.InstallationToken(one(w.InstallApp(writer.ID, "acme", githubtest.InstallOptions{}))(t)))(t)
	dir := w.clone(w.user.Token)
	for n, test := range []struct {
		name, token string
		fetch, push string // part of git's complaint; empty when it works
	}{
		{"owner", w.user.Token, "", ""},
		{"reader", reader.Token, "", "403"},
		{"stranger", stranger.Token, "not found", "not found"},
		{"nobody", "", "could not read Username", "could not read Username"},
		{"wrong token", "ghp_wrong", "Authentication failed", "Authentication failed"},
		{"installation that reads", read, "", "403"},
		{"installation without contents", noContents, "not found", "not found"},
		{"installation that writes", write, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := w.git(test.token, dir, "ls-remote", "origin")
			if (err == nil) != (test.fetch == "") || !strings.Contains(out, test.fetch) {
				t.Errorf("fetch: %v %s", err, out)
			}
			out, err = w.git(test.token, dir, "push", "origin", fmt.Sprintf("HEAD:refs/tags/t%d", n))
			if (err == nil) != (test.push == "") || !strings.Contains(out, test.push) {
				t.Errorf("push: %v %s", err, out)
			}
		})
	}
	out, err := w.git(w.user.Token, dir, "push", "origin", "HEAD:refs/pull/9/head")
	if err == nil {
		t.Errorf("a push to refs/pull succeeded: %s", out)
	}
	w.Advance(2 * 3600e9)
	if out, err := w.git(read, dir, "ls-remote", "origin"); err == nil {
		t.Errorf("an expired token fetched: %s", out)
	}
}

func TestFetchBySHA(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	sha := one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Branch: "x", Files: map[string]string{"x": "1"}}))(t)
	must(t, w.DeleteRef("acme/shop", "ada", "refs/heads/x"))
	dir := t.TempDir()
	w.mustGit("", dir, "init", "--quiet")
	token := one(w.InstallationToken(w.installation))(t)
	w.mustGit(token, dir, "fetch", "--quiet", "--depth=1", w.repo.CloneURL, sha)
	if got := w.head(dir, "FETCH_HEAD"); got != sha {
		t.Errorf("fetched %s", got)
	}
}

func TestBranchProtectionBindsGit(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	writer := one(w.CreateUser("wil"))(t)
	must(t, w.AddCollaborator("acme/shop", "wil", githubtest.RoleWrite))
	must(t, w.ProtectBranch("acme/shop", "main", &githubtest.Protection{RequirePullRequest: true}))
	dir := w.clone(writer.Token)
	refused := func(token, want string, args ...string) {
		t.Helper()
		if out, err := w.git(token, dir, append([]string{"push", "origin"}, args...)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("push %v: %v %s", args, err, out)
		}
	}
	refused(writer.Token, "Cannot delete", ":main")
	w.commitIn(dir, "new.txt", "1")
	refused(writer.Token, "pull request", "HEAD:main")
	w.mustGit(w.user.Token, dir, "push", "--quiet", "origin", "HEAD:main") // administrators are not bound
	w.mustGit("", dir, "reset", "--quiet", "--hard", "HEAD~1")
	w.commitIn(dir, "other.txt", "1")
	refused(w.user.Token, "Cannot force-push", "--force", "HEAD:main")
	must(t, w.ProtectBranch("acme/shop", "main", &githubtest.Protection{RequirePullRequest: true, EnforceAdmins: true}))
	w.mustGit(w.user.Token, dir, "fetch", "--quiet")
	w.mustGit("", dir, "rebase", "--quiet", "origin/main")
	refused(w.user.Token, "pull request", "HEAD:main")
	must(t, w.ProtectBranch("acme/shop", "main", nil))
	w.mustGit(writer.Token, dir, "push", "--quiet", "origin", "HEAD:main")
}

func TestPullRequestFromFork(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	bob := one(w.CreateUser("bob"))(t)
	fork := one(w.Fork("acme/shop", "bob"))(t)
	dir := filepath.Join(t.TempDir(), "fork")
	w.mustGit(bob.Token, "", "clone", "--quiet", fork.CloneURL, dir)
	first := w.commitIn(dir, "fork.txt", "1")
	w.mustGit(bob.Token, dir, "push", "--quiet", "origin", "HEAD:fix")
	n := one(w.OpenPullRequest("acme/shop", "bob", githubtest.PullRequest{Head: "fix", HeadRepository: "bob/shop", Title: "Fix"}))(t)
	e := w.hook.wait(t, "pull_request", func(any) bool { return true }).(*gh.PullRequestEvent)
	if head := e.GetPullRequest().GetHead(); head.GetSHA() != first || head.GetRepo().GetFullName() != "bob/shop" || !head.GetRepo().GetFork() {
		t.Errorf("head %+v", head)
	}
	base := w.clone(w.user.Token)
	ref := fmt.Sprintf("refs/pull/%d/head", n)
	w.mustGit(w.user.Token, base, "fetch", "--quiet", "origin", ref)
	if got := w.head(base, "FETCH_HEAD"); got != first {
		t.Errorf("%s is %s; want %s", ref, got, first)
	}
	second := w.commitIn(dir, "fork.txt", "2")
	w.mustGit(bob.Token, dir, "push", "--quiet", "origin", "HEAD:fix")
	w.hook.wait(t, "pull_request", func(e any) bool {
		p := e.(*gh.PullRequestEvent)
		return p.GetAction() == "synchronize" && p.GetBefore() == first && p.GetAfter() == second
	})
	for _, d := range w.Deliveries(w.app.ID) {
		if d.Event == "push" {
			t.Error("a push to the fork reached the installation of the base")
		}
	}
}
