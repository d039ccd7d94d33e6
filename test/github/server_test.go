package githubtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// TestBothBases serves the API below /api/v3 and at the root.
func TestBothBases(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	for _, base := range []string{w.APIURL(), w.URL} {
		req := one(http.NewRequest("GET", base+"/repos/acme/shop", nil))(t)
		req.Header.Set("Authorization", "token "+w.user.Token)
		resp := one(http.DefaultClient.Do(req))(t)
		body := one(io.ReadAll(resp.Body))(t)
		resp.Body.Close()
		if resp.StatusCode != 200 || field(t, body, "full_name") != "acme/shop" {
			t.Errorf("%s: %d %s", base, resp.StatusCode, body)
		}
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	n := one(w.CreateIssue("acme/shop", "ada", "Broken", "<b>please</b>"))(t)
	one(w.Comment("acme/shop", "ada", n, "a comment"))(t)
	issue := one(w.Issue("acme/shop", n))(t)
	resp := one(http.Get(issue.URL))(t)
	defer resp.Body.Close()
	body := string(one(io.ReadAll(resp.Body))(t))
	if resp.StatusCode != 200 || !strings.Contains(body, "a comment") || !strings.Contains(body, "&lt;b&gt;please") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// failures records what Check reports.
type failures struct{ n int }

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.n++ }

func TestCheckFailsTheTest(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	var f failures
	if w.Check(&f); f.n != 0 {
		t.Errorf("%d failures of a clean server", f.n)
	}
	w.call("GET", "/nothing", w.user.Token, "")
	if w.Check(&f); f.n != 1 {
		t.Errorf("%d failures; want 1", f.n)
	}
	if taken := w.TakeViolations(); len(taken) != 1 || len(w.Violations()) != 0 {
		t.Errorf("taken %v, left %v", taken, w.Violations())
	}
}

func TestAdministrationNeedsItsToken(t *testing.T) {
	w := newWorld(t, githubtest.Options{AdminToken: "secret"})
	closed := newWorld(t, githubtest.Options{})
	for _, test := range []struct {
		url, token, op, body string
		status               int
	}{
		{w.URL, "", "create-user", `{"login":"x"}`, 404},
		{w.URL, "wrong", "create-user", `{"login":"x"}`, 404},
		{closed.URL, "", "create-user", `{"login":"x"}`, 404},
		{w.URL, "secret", "nothing", `{}`, 404},
		{w.URL, "secret", "create-user", `{"login":"x"}`, 200},
		{w.URL, "secret", "create-user", `{"login":"x"}`, 400},
		{w.URL, "secret", "create-user", `{"lgoin":"y"}`, 400},
		{w.URL, "secret", "violations", ``, 200},
	} {
		if status, body := administer(t, test.url, test.token, test.op, test.body); status != test.status {
			t.Errorf("%s %s with %q: %d %s; want %d", test.op, test.body, test.token, status, body, test.status)
		}
	}
}

func administer(t *testing.T, url, token, op, body string) (int, []byte) {
	t.Helper()
	req := one(http.NewRequest("POST", url+"/_admin/"+op, strings.NewReader(body)))(t)
	req.Header.Set("Authorization", "Bearer "+token)
	resp := one(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	return resp.StatusCode, one(io.ReadAll(resp.Body))(t)
}

// TestCommand builds the command, sets a world up from outside, and pushes to it.
func TestCommand(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "fakegithub")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/fakegithub").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	stdout := one(cmd.StdoutPipe())(t)
	must(t, cmd.Start())
	defer cmd.Process.Kill()
	line := one(bufio.NewReader(stdout).ReadBytes('\n'))(t)
	url, token := field(t, line, "url"), field(t, line, "adminToken")
	admin := func(op, body string, into any) {
		t.Helper()
		status, answer := administer(t, url, token, op, body)
		if status != 200 {
			t.Fatalf("%s: %d %s", op, status, answer)
		}
		if into != nil {
			must(t, json.Unmarshal(answer, into))
		}
	}
	hook := newReceiver(t)
	var user githubtest.User
	var repo githubtest.Repository
	var app githubtest.App
	admin("create-user", `{"login":"ada"}`, &user)
	admin("create-repository", `{"fullName":"ada/shop","files":{"a":"1"}}`, &repo)
	admin("create-app", `{"slug":"bot","permissions":{"contents":"read"},"events":["push"],"webhookURL":"`+hook.URL+`","webhookSecret":"s"}`, &app)
	admin("install-app", `{"app":`+num(app.ID)+`,"login":"ada"}`, nil)
	w := &world{Server: &githubtest.Server{URL: url}, t: t}
	dir := filepath.Join(t.TempDir(), "clone")
	w.mustGit(user.Token, "", "clone", "--quiet", repo.CloneURL, dir)
	w.mustGit(user.Token, dir, "push", "--quiet", "origin", "HEAD:refs/tags/x")
	hook.wait(t, "push", isRef("refs/tags/x"))
	must(t, cmd.Process.Signal(os.Interrupt))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil || problems.Len() > 0 {
			t.Errorf("%v %s", err, problems.String())
		}
	case <-time.After(time.Minute):
		t.Error("it did not end")
	}
}
