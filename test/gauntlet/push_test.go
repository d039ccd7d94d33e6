//go:build apiserver

package gauntlet

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// TestForcePush moves the head of a pull request between every two steps of the Run that its writer asked for. The Run has one commit,
// which was the head when Conductor asked GitHub for it; its files are requested by its full name.
func TestForcePush(t *testing.T) {
	aside(t)
	w := newWorld(t, 1)
	w.start()
	for name, tc := range map[string]struct {
		// method and path are of the request before which the branch moves.
		method, path string
		// isNew is set if Conductor learns of the head later.
		isNew bool
	}{
		"before the permission is known": {"GET", "/repos/*/*/collaborators/*/permission", true},
		"before the head is known":       {"GET", "/repos/*/*/pulls/NUMBER", true},
		"before the checkout":            {"GET", "/repos/*/*/tarball/*", false},
		"before the check run":           {"POST", "/repos/*/*/check-runs", false},
		"before the report":              {"POST", "/repos/*/*/issues/NUMBER/comments", false},
	} {
		t.Run(name, func(t *testing.T) {
			w.github.Heal()
			branch := strings.ReplaceAll(name, " ", "-")
			old, number := w.pull(branch)
			var moved string
			done := make(chan struct{})
			w.onRequest(tc.method, strings.Replace(tc.path, "NUMBER", itoa(int64(number)), 1), func() { moved = w.move(branch); close(done) })
			_, err := w.github.Comment(w.orgs[0].slow, w.orgs[0].writer.Login, number, "/conductor test")
			w.must(err)
			w.closes(done, "the branch moves")
			want, not := old, moved
			if tc.isNew {
				want, not = moved, old
			}
			w.within("the Run has a check run", time.Minute, func() bool { return w.checksAt(w.orgs[0].slow, want) > 0 })
			w.within("the files are requested", time.Minute, func() bool { return w.fetched(want) > 0 })
			time.Sleep(lease)
			if n := w.checksAt(w.orgs[0].slow, not) + w.fetched(not); n > 0 {
				t.Errorf("%s was not the head when it was asked for, but was used", not)
			}
			_, err = w.github.Comment(w.orgs[0].slow, w.orgs[0].writer.Login, number, "/conductor cancel")
			w.must(err)
		})
	}
	w.github.Heal()
	w.fullNames()
}

// TestForcePushOfTag moves a tag before its first Run is checked out: each Run has the commit of its own push.
func TestForcePushOfTag(t *testing.T) {
	aside(t)
	w := newWorld(t, 1)
	w.start()
	o := w.orgs[0]
	done := make(chan struct{})
	var second sent
	w.onRequest("GET", "/repos/*/*/tarball/*", func() {
		second.sha, _ = w.github.PushCommit(o.broken, o.writer.Login, githubtest.Commit{Branch: "second", Files: map[string]string{"b": "second\n"}})
		_ = w.github.PushTag(o.broken, o.writer.Login, "run-integration-tests/moving", second.sha, "")
		close(done)
	})
	first, err := w.tag(o, "run-integration-tests/moving")
	w.must(err)
	w.closes(done, "the tag moves")
	second.repo, second.kind, first.kind = first.repo, kinds[0], kinds[0]
	w.settle([]sent{first, second}, time.Minute)
	for _, s := range []sent{first, second} {
		if n := w.fetched(s.sha); n == 0 {
			t.Errorf("the files of %s were not requested", s.sha)
		}
	}
	w.fullNames()
}

// TestForkWithoutACommit asks for the Run of a fork's pull request without naming a commit, and moves its head: nothing of it runs.
func TestForkWithoutACommit(t *testing.T) {
	aside(t)
	w := newWorld(t, 1)
	w.start()
	o := w.orgs[0]
	_, err := w.github.Fork(o.slow, o.stranger.Login)
	w.must(err)
	fork := o.stranger.Login + "/slow"
	sha, err := w.github.PushCommit(fork, o.stranger.Login, githubtest.Commit{Branch: "gift", Files: map[string]string{"a": "gift\n"}})
	w.must(err)
	number, err := w.github.OpenPullRequest(o.slow, o.stranger.Login, githubtest.PullRequest{Head: "gift", HeadRepository: fork, Title: "A gift"})
	w.must(err)
	moved := make(chan struct{})
	var poison string
	w.onRequest("GET", "/repos/*/*/pulls/*", func() {
		poison, _ = w.github.PushCommit(fork, o.stranger.Login, githubtest.Commit{Branch: "gift", Files: map[string]string{"a": "poison\n"}})
		close(moved)
	})
	_, err = w.github.Comment(o.slow, o.writer.Login, number, "/conductor test")
	w.must(err)
	w.closes(moved, "the fork's branch moves")
	w.within("the comment is answered", time.Minute, func() bool { return len(w.commentsOf(o.slow, number)) > 0 })
	time.Sleep(lease)
	for _, s := range []string{sha, poison} {
		if n := w.fetched(s) + w.checksAt(o.slow, s); n > 0 {
			t.Errorf("the commit %s of a fork was used", s)
		}
	}
}

// closes waits for a channel.
func (w *world) closes(c <-chan struct{}, what string) {
	w.t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		w.t.Fatalf("%s: not within a minute", what)
	}
}

// pull opens a pull request of the writer and returns its head and number.
func (w *world) pull(branch string) (string, int) {
	w.t.Helper()
	o := w.orgs[0]
	sha, err := w.github.PushCommit(o.slow, o.writer.Login, githubtest.Commit{Branch: branch, Files: map[string]string{"a": branch + "\n"}})
	w.must(err)
	number, err := w.github.OpenPullRequest(o.slow, o.writer.Login, githubtest.PullRequest{Head: branch, Title: branch})
	w.must(err)
	return sha, number
}

func (w *world) move(branch string) string {
	o := w.orgs[0]
	sha, err := w.github.PushCommit(o.slow, o.writer.Login, githubtest.Commit{Branch: branch, Files: map[string]string{"a": "moved " + branch + "\n"}})
	if err != nil {
		panic(err)
	}
	return sha
}

func (w *world) checksAt(repo, sha string) (n int) {
	for _, c := range w.github.CheckRuns(repo) {
		if c.SHA == sha {
			n++
		}
	}
	return n
}

var (
	tarballPath = regexp.MustCompile(`/tarball/([^/]+)$`)
	commitPath  = regexp.MustCompile(`/(?:tarball|commits)/([^/]+)`)
	fullName    = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// fetched counts the requests for the files of a commit.
func (w *world) fetched(sha string) (n int) {
	for _, r := range w.github.Requests() {
		if m := tarballPath.FindStringSubmatch(r.Path); m != nil && m[1] == sha {
			n++
		}
	}
	return n
}

// fullNames fails the test if a commit was requested by anything but its full name: a branch can move, a short name can be ambiguous.
func (w *world) fullNames() {
	w.t.Helper()
	n := 0
	for _, r := range w.github.Requests() {
		if m := commitPath.FindStringSubmatch(r.Path); m != nil {
			n++
			if !fullName.MatchString(m[1]) {
				w.t.Errorf("%s %s: not a full commit name", r.Method, r.Path)
			}
		}
	}
	if n == 0 {
		w.t.Error("no commit was requested: this test shows nothing")
	}
}

// TestTwins tags two commits with the same first eight digits: each Run has its own.
func TestTwins(t *testing.T) {
	aside(t)
	w := newWorld(t, 1)
	twins := w.makeTwins()
	w.start()
	var all []sent
	for i, sha := range twins {
		w.must(w.github.PushTag(w.orgs[0].broken, w.orgs[0].writer.Login, fmt.Sprintf("run-integration-tests/twin-%d", i), sha, ""))
		all = append(all, sent{repo: w.orgs[0].broken, sha: sha, kind: kinds[0]})
	}
	w.settle(all, time.Minute)
	for _, sha := range twins {
		if w.fetched(sha) == 0 {
			t.Errorf("the files of %s were not requested", sha)
		}
	}
	w.fullNames()
	t.Logf("twins %s", strings.Join(twins, ", "))
}

// makeTwins pushes two commits with the same first eight digits.
func (w *world) makeTwins() []string {
	w.t.Helper()
	o := w.orgs[0]
	repo, err := w.github.Repository(o.broken)
	w.must(err)
	remote, err := url.Parse(repo.CloneURL)
	w.must(err)
	remote.User = url.UserPassword(o.writer.Login, o.writer.Token)
	dir := filepath.Join(w.dir, "clone")
	w.git(".", nil, "clone", "-q", remote.String(), dir)
	tree := w.git(dir, nil, "rev-parse", "HEAD^{tree}")
	seen := map[string]string{}
	for n := 0; ; n++ {
		text := fmt.Sprintf("tree %s\nparent %s\nauthor Ada <ada@example.com> 1700000000 +0000\ncommitter Ada <ada@example.com> 1700000000 +0000\n\nTwin %d\n",
			tree, repo.SHA, n)
		sum := sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text))
		short := hex.EncodeToString(sum[:4])
		other, isTwin := seen[short]
		if !isTwin {
			seen[short] = text
			continue
		}
		var twins []string
		for i, text := range []string{other, text} {
			sha := w.git(dir, []byte(text), "hash-object", "-t", "commit", "-w", "--stdin")
			w.git(dir, nil, "push", "-q", "origin", fmt.Sprintf("%s:refs/heads/twin-%d", sha, i))
			twins = append(twins, sha)
		}
		return twins
	}
}

// git runs git and returns what it prints.
func (w *world) git(dir string, input []byte, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("git %s: %v", args[0], err)
	}
	return strings.TrimSpace(string(out))
}
