package githubtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/github/openapi"
)

const dispatchable = `
name: Sync
on:
  workflow_dispatch:
    inputs:
      namespace: {required: true}
      mode: {type: choice, options: [fast, slow], default: fast}
jobs:
  sync: {runs-on: self-hosted, steps: []}
`

// busy is a world in which there is one of everything, and the ids of it, by the name that the table's paths use.
func busy(t *testing.T) (*world, *strings.Replacer) {
	w := newWorld(t, githubtest.Options{})
	one(w.CreateUser("bob"))(t)
	must(t, w.CreateTeam("acme", "QA Team", []string{"bob"}, map[string]githubtest.Role{"acme/shop": githubtest.RoleTriage}))
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: map[string]string{".github/workflows/sync.yml": dispatchable}}))(t)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Branch: "12-fix", Files: map[string]string{"fix.txt": "1\n"}}))(t)
	must(t, w.PushTag("acme/shop", "ada", "run/1", "12-fix", "closes #1"))
	must(t, w.ProtectBranch("acme/shop", "main", &githubtest.Protection{RequirePullRequest: true}))
	issue := one(w.CreateIssue("acme/shop", "ada", "Broken", "please"))(t)
	comment := one(w.Comment("acme/shop", "bob", issue, "/conductor test"))(t)
	pull := one(w.OpenPullRequest("acme/shop", "bob", githubtest.PullRequest{Head: "12-fix", Title: "Fix"}))(t)
	repo := one(w.Repository("acme/shop"))(t)
	token := one(w.InstallationToken(w.installation))(t)

	call := func(method, path, body string) map[string]any {
		t.Helper()
		status, answer, _ := w.call(method, path, token, body)
		if status > 299 {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		var o map[string]any
		_ = json.Unmarshal(answer, &o)
		return o
	}
	check := call("POST", "/repos/acme/shop/check-runs", `{"name":"c","head_sha":"`+repo.SHA+`","output":{"title":"t","summary":"s","annotations":[{"path":"README.md","start_line":1,"end_line":1,"annotation_level":"notice","message":"m"}]}}`)
	run := call("POST", "/repos/acme/shop/actions/workflows/sync.yml/dispatches", `{"ref":"main","inputs":{"namespace":"n"},"return_run_details":true}`)
	reaction := call("POST", "/repos/acme/shop/issues/1/reactions", `{"content":"heart"}`)
	commentReaction := call("POST", "/repos/acme/shop/issues/comments/"+num(comment)+"/reactions", `{"content":"heart"}`)
	tree := call("GET", "/repos/acme/shop/git/trees/main", "")
	blob := tree["tree"].([]any)[1].(map[string]any)["sha"].(string)
	delivery := w.done("push")
	refs := w.Refs("acme/shop")
	return w, strings.NewReplacer(
		"{sha}", repo.SHA, "{branchsha}", refs["refs/heads/12-fix"], "{tag}", refs["refs/tags/run/1"], "{blob}", blob, "{issue}", num(issue), "{comment}", num(comment), "{pull}", num(pull),
		"{check}", num(check["id"]), "{suite}", num(check["check_suite"].(map[string]any)["id"]), "{run}", num(run["workflow_run_id"]),
		"{job}", num(run["workflow_run_id"].(float64)*1000+1), "{reaction}", num(reaction["id"]), "{creaction}", num(commentReaction["id"]),
		"{installation}", num(w.installation), "{delivery}", num(delivery.ID),
	)
}

func num(v any) string {
	data, _ := json.Marshal(v)
	if f, ok := v.(float64); ok {
		data, _ = json.Marshal(int64(f))
	}
	return string(data)
}

// done waits until a delivery of an event is over, and returns it.
func (w *world) done(event string) githubtest.Delivery {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		for _, d := range w.Deliveries(w.app.ID) {
			if d.Event == event && d.Done {
				return d
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatalf("no finished delivery of %s", event)
	return githubtest.Delivery{}
}

// call makes a REST request with a token or JWT.
func (w *world) call(method, path, token, body string, headers ...string) (int, []byte, http.Header) {
	w.t.Helper()
	req := one(http.NewRequest(method, w.APIURL()+path, strings.NewReader(body)))(w.t)
	if body == "" {
		req.Body = nil
		req.ContentLength = 0
	}
	req.Header.Set("User-Agent", "test")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp := one(client.Do(req))(w.t)
	defer resp.Body.Close()
	data := one(io.ReadAll(resp.Body))(w.t)
	return resp.StatusCode, bytes.TrimSpace(data), resp.Header
}

// jwt signs claims with the App's key.
func (w *world) jwt(claims jwt.MapClaims) string {
	key := one(jwt.ParseRSAPrivateKeyFromPEM([]byte(w.app.PrivateKey)))(w.t)
	return one(jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key))(w.t)
}

func (w *world) goodJWT() string {
	now := w.Now().Unix()
	return w.jwt(jwt.MapClaims{"iss": w.app.ID, "iat": now - 60, "exp": now + 540})
}

// operations calls each operation once: as the App (A), as the installation (I) or as a user (U), with what it must answer.
const operations = `
A 200 GET /app
A 200 GET /app/hook/config
A 200 GET /app/hook/deliveries
A 200 GET /app/hook/deliveries/{delivery}
A 202 POST /app/hook/deliveries/{delivery}/attempts
A 200 GET /app/installations
A 200 GET /app/installations/{installation}
A 201 POST /app/installations/{installation}/access_tokens {"repositories":["shop"],"permissions":{"contents":"read"}}
A 200 GET /repos/acme/shop/installation
A 200 GET /orgs/acme/installation
A 200 GET /users/acme/installation
I 200 GET /apps/conductor
I 200 GET /installation/repositories
I 200 GET /meta
I 200 GET /rate_limit
U 200 GET /user
U 200 GET /user/repos
I 200 GET /users/bob
I 200 GET /orgs/acme
I 200 GET /orgs/acme/repos
U 204 GET /orgs/acme/members/bob
U 200 GET /orgs/acme/memberships/bob
U 200 GET /orgs/acme/teams
U 200 GET /orgs/acme/teams/qa-team
U 200 GET /orgs/acme/teams/qa-team/members
U 200 GET /orgs/acme/teams/qa-team/memberships/bob
I 200 GET /repos/acme/shop
U 200 GET /repos/acme/shop
I 200 GET /repos/acme/shop/collaborators
I 204 GET /repos/acme/shop/collaborators/bob
I 200 GET /repos/acme/shop/collaborators/bob/permission
I 200 GET /repos/acme/shop/contents/
I 200 GET /repos/acme/shop/contents
I 200 GET /repos/acme/shop/contents/docs/a%20b.txt?ref={sha}
I 200 GET /repos/acme/shop/contents/docs%2Fa%20b.txt
I 200 GET /repos/acme/shop/readme
I 302 GET /repos/acme/shop/tarball/{sha}
I 302 GET /repos/acme/shop/zipball/12-fix
I 200 GET /repos/acme/shop/tags
I 200 GET /repos/acme/shop/git/blobs/{blob}
I 200 GET /repos/acme/shop/git/trees/main?recursive=1
I 200 GET /repos/acme/shop/git/commits/{sha}
I 200 GET /repos/acme/shop/git/tags/{tag}
U 201 POST /repos/acme/shop/git/tags {"tag":"x","message":"m","object":"{sha}","type":"commit"}
I 200 GET /repos/acme/shop/git/ref/tags/run/1
I 200 GET /repos/acme/shop/git/matching-refs/tags/run
U 201 POST /repos/acme/shop/git/refs {"ref":"refs/tags/y","sha":"{sha}"}
U 200 PATCH /repos/acme/shop/git/refs/tags/y {"sha":"{branchsha}","force":true}
U 204 DELETE /repos/acme/shop/git/refs/tags/y
I 200 GET /repos/acme/shop/branches
I 200 GET /repos/acme/shop/branches?protected=true
I 200 GET /repos/acme/shop/branches/main
U 200 GET /repos/acme/shop/branches/main/protection
I 200 GET /repos/acme/shop/commits
I 200 GET /repos/acme/shop/commits/main
I 200 GET /repos/acme/shop/commits/run/1
I 200 GET /repos/acme/shop/commits/{sha}/branches-where-head
I 200 GET /repos/acme/shop/commits/{branchsha}/pulls
I 200 GET /repos/acme/shop/commits/main/check-runs?check_name=c&filter=latest
I 200 GET /repos/acme/shop/commits/main/check-suites
I 200 GET /repos/acme/shop/compare/main...12-fix
I 200 GET /repos/acme/shop/issues?state=all
I 201 POST /repos/acme/shop/issues {"title":"new","body":"b","labels":["bug"]}
I 200 GET /repos/acme/shop/issues/comments
I 200 GET /repos/acme/shop/issues/comments/{comment}
I 200 PATCH /repos/acme/shop/issues/comments/{comment} {"body":"edited"}
I 200 GET /repos/acme/shop/issues/comments/{comment}/reactions
I 201 POST /repos/acme/shop/issues/comments/{comment}/reactions {"content":"eyes"}
I 204 DELETE /repos/acme/shop/issues/comments/{comment}/reactions/{creaction}
I 204 DELETE /repos/acme/shop/issues/comments/{comment}
I 200 GET /repos/acme/shop/issues/{issue}
I 200 GET /repos/acme/shop/issues/{pull}
I 200 PATCH /repos/acme/shop/issues/{issue} {"state":"closed"}
I 200 PATCH /repos/acme/shop/issues/{issue} {"state":"open"}
I 200 GET /repos/acme/shop/issues/{issue}/comments
I 201 POST /repos/acme/shop/issues/{issue}/comments {"body":"hello"}
I 200 GET /repos/acme/shop/issues/{issue}/reactions
I 201 POST /repos/acme/shop/issues/{issue}/reactions {"content":"eyes"}
I 200 POST /repos/acme/shop/issues/{issue}/reactions {"content":"eyes"}
I 204 DELETE /repos/acme/shop/issues/{issue}/reactions/{reaction}
I 201 POST /repos/acme/shop/check-runs {"name":"d","head_sha":"{branchsha}","status":"completed","conclusion":"success"}
I 200 GET /repos/acme/shop/check-runs/{check}
I 200 PATCH /repos/acme/shop/check-runs/{check} {"status":"in_progress"}
I 200 PATCH /repos/acme/shop/check-runs/{check} {"conclusion":"neutral"}
I 200 GET /repos/acme/shop/check-runs/{check}/annotations
I 201 POST /repos/acme/shop/check-runs/{check}/rerequest
I 200 GET /repos/acme/shop/check-suites/{suite}
I 200 GET /repos/acme/shop/check-suites/{suite}/check-runs
I 201 POST /repos/acme/shop/check-suites/{suite}/rerequest
I 200 GET /repos/acme/shop/pulls
U 201 POST /repos/acme/shop/pulls {"title":"again","head":"12-fix","base":"13-other"}
I 200 GET /repos/acme/shop/pulls/{pull}
I 200 GET /repos/acme/shop/pulls/{pull}/files
I 200 GET /repos/acme/shop/pulls/{pull}/commits
I 200 GET /repos/acme/shop/actions/workflows
I 200 GET /repos/acme/shop/actions/workflows/sync.yml
I 200 GET /repos/acme/shop/actions/workflows/sync.yml/runs
I 204 POST /repos/acme/shop/actions/workflows/sync.yml/dispatches {"ref":"main","inputs":{"namespace":"n"}}
I 200 GET /repos/acme/shop/actions/runs
I 200 GET /repos/acme/shop/actions/runs/{run}
I 200 GET /repos/acme/shop/actions/runs/{run}/jobs
I 200 GET /repos/acme/shop/actions/jobs/{job}
I 202 POST /repos/acme/shop/actions/runs/{run}/cancel
I 201 POST /repos/acme/shop/actions/runs/{run}/rerun
I 204 DELETE /installation/token
`

// TestEveryOperation calls all that is served; the world's cleanup fails it when GitHub's description disagrees.
func TestEveryOperation(t *testing.T) {
	w, ids := busy(t)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Branch: "13-other", From: "main", Files: map[string]string{"o": "1"}}))(t)
	tokens := map[string]string{"A": w.goodJWT(), "I": one(w.InstallationToken(w.installation))(t), "U": w.user.Token}
	w.ResetRequests()
	for line := range strings.Lines(strings.TrimSpace(operations)) {
		f := strings.SplitN(ids.Replace(strings.TrimSpace(line)), " ", 5)
		body := strings.Join(f[4:], "")
		status, answer, _ := w.call(f[2], f[3], tokens[f[0]], body)
		if num(status) != f[1] {
			t.Errorf("%s\n\tanswered %d %s", line, status, answer)
		}
	}
	called := map[string]bool{}
	for _, r := range w.Requests() {
		called[r.Operation] = true
	}
	contract := one(openapi.Load())(t)
	for _, operation := range contract.Operations() {
		if !called[operation] {
			t.Errorf("%s was not called", operation)
		}
	}
}

// TestEveryWebhook sees every event that the description's subset has.
func TestEveryWebhook(t *testing.T) {
	w, ids := busy(t)
	check := parse(ids.Replace("{check}"))
	must(t, w.Ping(w.app.ID))
	must(t, w.RerequestCheckRun("acme/shop", "ada", check))
	must(t, w.RequestAction("acme/shop", "ada", check, "rerun"))
	must(t, w.RerequestCheckSuite("acme/shop", "ada", check))
	token := one(w.InstallationToken(w.installation))(t)
	w.call("PATCH", "/repos/acme/shop/check-runs/"+num(check), token, `{"conclusion":"success"}`)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Branch: "12-fix", Files: map[string]string{"fix.txt": "2\n"}}))(t)
	must(t, w.MergePullRequest("acme/shop", "ada", 2))
	must(t, w.DeleteRef("acme/shop", "ada", "refs/heads/12-fix"))
	comment := parse(ids.Replace("{comment}"))
	must(t, w.EditComment("acme/shop", "bob", 1, comment, "edited"))
	must(t, w.DeleteComment("acme/shop", "bob", 1, comment))
	must(t, w.CloseIssue("acme/shop", "ada", 1))
	w.call("PATCH", "/repos/acme/shop/issues/1", token, `{"state":"open"}`)
	run := w.WorkflowRuns("acme/shop")[0].ID
	must(t, w.SetWorkflowRun(run, "in_progress", ""))
	must(t, w.SetWorkflowRun(run, "completed", "success"))
	other := one(w.InstallApp(w.app.ID, "ada", githubtest.InstallOptions{}))(t)
	must(t, w.Uninstall(other))
	must(t, w.SuspendInstallation(w.installation, true))
	must(t, w.SuspendInstallation(w.installation, false))
	one(w.CreateUser("eve"))(t)
	one(w.CreateRepository("eve/a", githubtest.RepositoryOptions{}))(t)
	one(w.CreateRepository("eve/b", githubtest.RepositoryOptions{}))(t)
	some := one(w.InstallApp(w.app.ID, "eve", githubtest.InstallOptions{Repositories: []string{"a"}}))(t)
	must(t, w.GrantRepository(some, "eve/b", true))
	must(t, w.GrantRepository(some, "eve/b", false))

	seen := map[string]bool{}
	for _, d := range w.Deliveries(w.app.ID) {
		seen[strings.TrimSuffix(strings.ReplaceAll(d.Event+"-"+d.Action, "_", "-"), "-")] = true
	}
	contract := one(openapi.Load())(t)
	for _, name := range contract.Webhooks() {
		if !seen[name] {
			t.Errorf("no delivery of %s", name)
		}
	}
	names := contract.Webhooks()
	for name := range seen {
		if !slices.Contains(names, name) {
			t.Errorf("delivery of %s, which is not in the description", name)
		}
	}
}

func parse(s string) (n int64) {
	_ = json.Unmarshal([]byte(s), &n)
	return n
}
