package githubapp

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

// manifest is the App as the chart ships it.
type manifest struct {
	Name        string           `json:"name"`
	Permissions fake.Permissions `json:"default_permissions"`
	Events      []string         `json:"default_events"`
}

func readManifest(t testing.TB) manifest {
	t.Helper()
	data, err := os.ReadFile("../../charts/conductor/files/app-manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// world is a GitHub that behaves, with a private repository that the App is installed on.
type world struct {
	*fake.Server
	t            testing.TB
	user         fake.User
	app          fake.App
	installation int64
	repo         v1alpha1.Repository
	sha          string
	client       *Client
	log          *lockedBuffer
}

// serverClock is the server's clock.
type serverClock struct{ *fake.Server }

func (c serverClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

var _ clock.PassiveClock = serverClock{}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := fake.New(fake.Options{})
	must(t, err)
	t.Cleanup(func() { s.Check(t); s.Close() })
	w := &world{Server: s, t: t}
	w.user = get(s.CreateUser("ada"))(t)
	get(s.CreateUser("bob"))(t)
	must(t, s.CreateOrg("acme", "ada"))
	repo := get(s.CreateRepository("acme/shop", fake.RepositoryOptions{Files: map[string]string{
		".conductor.yaml": "version: 1\n", "deploy/run.sh": "#!/bin/sh\n",
	}}))(t)
	w.sha = repo.SHA
	w.repo = v1alpha1.Repository{ID: repo.ID, Owner: "acme", Name: "shop", DefaultBranch: "main", CloneURL: repo.CloneURL}
	m := readManifest(t)
	w.app = get(s.CreateApp(fake.AppOptions{Slug: "conductor", Permissions: m.Permissions, Events: m.Events}))(t)
	w.installation = get(s.InstallApp(w.app.ID, "acme", fake.InstallOptions{Repositories: []string{"shop"}}))(t)
	w.client = w.open(serverClock{s})
	return w
}

// open is a client as a process that has just started has it.
func (w *world) open(c clock.PassiveClock) *Client {
	w.t.Helper()
	w.log = &lockedBuffer{}
	client := get(New(Options{
		BaseURL: w.APIURL(), AppID: w.app.ID, Clock: c,
		PrivateKey: func() ([]byte, error) { return []byte(w.app.PrivateKey), nil },
		Logger:     slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}))(w.t)
	client.pause = time.Millisecond
	return client
}

// operations are the requests that were made of an operation, such as "POST /repos/{owner}/{repo}/check-runs".
func (w *world) operations(name string) int {
	n := 0
	for _, r := range w.Requests() {
		if r.Operation == name {
			n++
		}
	}
	return n
}

const (
	opMint          = "POST /app/installations/{installation_id}/access_tokens"
	opCreateCheck   = "POST /repos/{owner}/{repo}/check-runs"
	opUpdateCheck   = "PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}"
	opListComments  = "GET /repos/{owner}/{repo}/issues/{issue_number}/comments"
	opCreateComment = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments"
	opUpdateComment = "PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get unwraps a value and its error: get(f())(t).
func get[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func wantFailure(t testing.TB, err error, kind failure.Kind, reason string) *failure.Error {
	t.Helper()
	var f *failure.Error
	if !errors.As(err, &f) {
		t.Fatalf("%v is no failure", err)
	}
	if f.Kind != kind || f.Reason != reason {
		t.Errorf("failure %d %s %q, want %d %s", f.Kind, f.Reason, f.Sentence, kind, reason)
	}
	return f
}
