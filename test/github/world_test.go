package githubtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v62/github"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// world is a server with an App that is installed on one organization's private repository.
type world struct {
	*githubtest.Server
	t            *testing.T
	user         githubtest.User
	repo         githubtest.Repository
	app          githubtest.App
	installation int64
	hook         *receiver
}

// manifest is what Conductor's App asks for.
var manifest = githubtest.Permissions{
	"metadata": "read", "contents": "read", "issues": "write", "pull_requests": "write", "checks": "write", "actions": "write",
}

var events = []string{"push", "create", "delete", "issue_comment", "issues", "pull_request", "check_run", "check_suite", "workflow_run"}

func newWorld(t *testing.T, o githubtest.Options) *world {
	t.Helper()
	s, err := githubtest.New(o)
	must(t, err)
	t.Cleanup(func() {
		s.Check(t)
		s.Close()
	})
	w := &world{Server: s, t: t, hook: newReceiver(t)}
	w.user = one(s.CreateUser("ada"))(t)
	must(t, s.CreateOrg("acme", "ada"))
	w.repo = one(s.CreateRepository("acme/shop", githubtest.RepositoryOptions{Files: map[string]string{
		"README.md": "# Shop\n", "docs/a b.txt": "text\n", "run.sh": "#!/bin/sh\n",
	}}))(t)
	w.app = one(s.CreateApp(githubtest.AppOptions{
		Slug: "conductor", Permissions: manifest, Events: events, WebhookURL: w.hook.URL, WebhookSecret: "s3cret",
	}))(t)
	w.installation = one(s.InstallApp(w.app.ID, "acme", githubtest.InstallOptions{}))(t)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// one unwraps a value and its error: one(f())(t).
func one[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// asApp is go-github with the App's JWT, asInstallation with an installation token that ghinstallation renews.
func (w *world) asApp() *gh.Client {
	tr := one(ghinstallation.NewAppsTransport(http.DefaultTransport, w.app.ID, []byte(w.app.PrivateKey)))(w.t)
	tr.BaseURL = w.APIURL()
	return w.client(&http.Client{Transport: tr})
}

func (w *world) asInstallation() *gh.Client {
	tr := one(ghinstallation.New(http.DefaultTransport, w.app.ID, w.installation, []byte(w.app.PrivateKey)))(w.t)
	tr.BaseURL = w.APIURL()
	return w.client(&http.Client{Transport: tr})
}

func (w *world) client(c *http.Client) *gh.Client {
	return one(gh.NewClient(c).WithEnterpriseURLs(w.URL, w.URL))(w.t)
}

// receiver is a webhook endpoint that remembers.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []delivered
}

type delivered struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusAccepted}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, delivered{q.Header.Clone(), body})
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// wait returns the first delivery of an event and action that satisfies the condition.
func (r *receiver) wait(t *testing.T, event string, match func(any) bool) any {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		for _, d := range r.all(event) {
			parsed := one(gh.ParseWebHook(event, d.body))(t)
			if match(parsed) {
				return parsed
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s delivery as expected; got %d of that event", event, len(r.all(event)))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *receiver) all(event string) []delivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []delivered
	for _, d := range r.got {
		if d.header.Get("X-GitHub-Event") == event {
			all = append(all, d)
		}
	}
	return all
}

// gitCommand is the real git, apart from the machine's configuration.
func gitCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	return cmd
}

// git runs the real git in a directory, with the user's token for this server.
func (w *world) git(token, dir string, args ...string) (string, error) {
	cmd := gitCommand(dir, args...)
	if token != "" {
		cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+strings.Replace(w.URL, "://", "://x-access-token:"+token+"@", 1)+"/.insteadOf",
			"GIT_CONFIG_VALUE_0="+w.URL+"/")
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *world) mustGit(token, dir string, args ...string) string {
	w.t.Helper()
	out, err := w.git(token, dir, args...)
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (w *world) clone(token string) string {
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.mustGit(token, "", "clone", "--quiet", w.repo.CloneURL, dir)
	return dir
}

// field is one string of a JSON object.
func field(t *testing.T, data []byte, name string) string {
	t.Helper()
	var o map[string]any
	must(t, json.Unmarshal(data, &o))
	s, ok := o[name].(string)
	if !ok {
		t.Fatalf("no string %q in %s", name, data)
	}
	return s
}
