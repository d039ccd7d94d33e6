package githubtest_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// TestLargePushes reaches what GitHub documents for push events: 2,048 commits are listed, 5,000 branches announced,
// 25 MB sent.
func TestLargePushes(t *testing.T) {
	repositories := t.TempDir()
	w := newWorld(t, githubtest.Options{Dir: repositories})
	token := w.user.Token
	dir := w.clone(token)
	importInto := func(stream string) {
		t.Helper()
		must(t, feed(dir, stream, "fast-import", "--quiet", "--force"))
	}
	t.Run("commits", func(t *testing.T) {
		var b strings.Builder
		for n := range 2050 {
			fmt.Fprintf(&b, "commit refs/heads/long\ncommitter A <a@example.com> %d +0000\ndata 1\nm\n", 1700000000+n)
			if n == 0 {
				b.WriteString("from " + w.repo.SHA + "\n")
			}
			fmt.Fprintf(&b, "M 644 inline f%d\ndata 1\nx\n", n)
		}
		importInto(b.String())
		w.mustGit(token, dir, "push", "--quiet", "origin", "long")
		var payload struct {
			Commits []struct{ Added []string }
		}
		must(t, json.Unmarshal(w.done("push").Payload, &payload))
		if n := len(payload.Commits); n != 2048 || payload.Commits[0].Added[0] != "f2" {
			t.Errorf("%d commits, the first added %v", n, payload.Commits[0].Added)
		}
	})
	t.Run("branches", func(t *testing.T) {
		// Written on the server, all in one transaction: git takes half a minute to push as many.
		var b strings.Builder
		for n := range 5001 {
			fmt.Fprintf(&b, "create refs/heads/many/%d %s\n", n, w.repo.SHA)
		}
		must(t, feed(filepath.Join(repositories, "acme", "shop.git"), b.String(), "update-ref", "--stdin"))
		before := len(w.Deliveries(w.app.ID))
		must(t, w.PushTag("acme/shop", "ada", "after", "", ""))
		var pushed []string
		for _, d := range w.Deliveries(w.app.ID)[before:] {
			if d.Event == "push" {
				pushed = append(pushed, field(t, d.Payload, "ref"))
			}
		}
		if len(pushed) != 1 || pushed[0] != "refs/tags/after" || len(w.Refs("acme/shop")) < 5001 {
			t.Errorf("announced %v of %d refs", pushed, len(w.Refs("acme/shop")))
		}
	})
	t.Run("payload", func(t *testing.T) {
		before := len(w.Deliveries(w.app.ID))
		one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Message: strings.Repeat("x", 13<<20), Files: map[string]string{"x": "1"}}))(t)
		for _, d := range w.Deliveries(w.app.ID)[before:] {
			if d.Event == "push" {
				t.Errorf("a payload of %d bytes was sent", len(d.Payload))
			}
		}
	})
}

// feed runs git with input.
func feed(dir, input string, args ...string) error {
	cmd := gitCommand(dir, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

func TestLargeDirectoriesAndInputs(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	files := map[string]string{".github/workflows/sync.yml": dispatchable}
	for n := range 1001 {
		files[fmt.Sprintf("many/%d", n)] = "x"
	}
	var declared strings.Builder
	for n := range 26 {
		fmt.Fprintf(&declared, "      i%d: {}\n", n)
	}
	files[".github/workflows/wide.yml"] = "on:\n  workflow_dispatch:\n    inputs:\n" + declared.String()
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: files}))(t)
	token := one(w.InstallationToken(w.installation))(t)
	_, body, _ := w.call("GET", "/repos/acme/shop/contents/many", token, "")
	var entries []any
	if must(t, json.Unmarshal(body, &entries)); len(entries) != 1000 {
		t.Errorf("%d entries; want 1000", len(entries))
	}
	long := `{"ref":"main","inputs":{"namespace":"` + strings.Repeat("x", 65535) + `"}}`
	w.try(t, rule{token: token, method: "POST", path: "/repos/acme/shop/actions/workflows/sync.yml/dispatches", body: long, status: 422, message: "too large"})
	w.try(t, rule{token: token, method: "POST", path: "/repos/acme/shop/actions/workflows/wide.yml/dispatches", body: `{"ref":"main"}`, status: 422, message: "up to 25"})
}
