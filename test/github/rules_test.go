package githubtest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// rule is one thing that GitHub enforces, broken on purpose: what it answers, and the violation if it is one.
type rule struct {
	name, token, method, path, body string
	header                          []string
	status                          int
	message                         string // part of the answer
	violation                       string // part of the one violation; empty for none
}

func (w *world) try(t *testing.T, r rule) {
	t.Helper()
	status, answer, header := w.call(r.method, r.path, r.token, r.body, r.header...)
	if status != r.status || !strings.Contains(string(answer), r.message) {
		t.Errorf("answered %d %s; want %d %q", status, answer, r.status, r.message)
	}
	if header.Get("X-RateLimit-Remaining") == "" || header.Get("X-GitHub-Request-Id") == "" {
		t.Error("no rate limit or request id in the header")
	}
	found := w.TakeViolations()
	switch {
	case r.violation == "" && len(found) > 0:
		t.Errorf("violations %v; want none", found)
	case r.violation != "" && (len(found) != 1 || !strings.Contains(found[0].String(), r.violation)):
		t.Errorf("violations %v; want one of %q", found, r.violation)
	}
}

// frozen is a stopped clock, for tests that depend on the exact second.
func frozen() func() time.Time {
	now := time.Now()
	return func() time.Time { return now }
}

func TestAppAuthentication(t *testing.T) {
	w := newWorld(t, githubtest.Options{Now: frozen()})
	now := w.Now().Unix()
	claims := func(iss any, iat, exp int64) string { return w.jwt(jwt.MapClaims{"iss": iss, "iat": iat, "exp": exp}) }
	other := one(w.CreateApp(githubtest.AppOptions{Slug: "other", Permissions: manifest}))(t)
	unsigned := one(jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": w.app.ID, "iat": now, "exp": now + 60}).SignedString([]byte("x")))(t)
	token := one(w.InstallationToken(w.installation))(t)
	must(t, w.SuspendInstallation(one(w.InstallApp(w.app.ID, "ada", githubtest.InstallOptions{}))(t), true))

	for _, r := range []rule{
		{name: "id as number", token: claims(w.app.ID, now-60, now+600), status: 200},
		{name: "id as string", token: claims(num(w.app.ID), now, now+60), status: 200},
		{name: "client id", token: claims(w.app.ClientID, now, now+60), status: 200},
		{name: "issued long ago", token: claims(w.app.ID, now-3600, now+60), status: 200},
		{name: "no credentials", status: 401},
		{name: "expired", token: claims(w.app.ID, now-600, now), status: 401, message: "'exp'"},
		{name: "expires too late", token: claims(w.app.ID, now, now+601), status: 401, message: "too far in the future"},
		{name: "issued in the future", token: claims(w.app.ID, now+30, now+60), status: 401, message: "'iat'"},
		{name: "unknown App", token: claims(1, now, now+60), status: 404, message: "Integration not found"},
		{name: "key of another App", token: claims(other.ID, now, now+60), status: 401, message: "could not be decoded"},
		{name: "HS256", token: unsigned, status: 401, message: "could not be decoded"},
		{name: "installation token", token: token, status: 401, message: "could not be decoded"},
		{name: "user token", token: w.user.Token, status: 401},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.method, r.path = "GET", "/app"
			w.try(t, r)
		})
	}
}

// issue asks for an installation token as the App.
func (w *world) issue(body string) string {
	w.t.Helper()
	status, answer, _ := w.call("POST", "/app/installations/"+num(w.installation)+"/access_tokens", w.goodJWT(), body)
	if status != http.StatusCreated {
		w.t.Fatalf("%d %s", status, answer)
	}
	return field(w.t, answer, "token")
}

func TestInstallationTokens(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	one(w.CreateRepository("acme/other", githubtest.RepositoryOptions{Files: map[string]string{"a": "1"}}))(t)
	narrow, all := w.issue(`{"repositories":["shop"],"permissions":{"contents":"read"}}`), w.issue("")
	tokens := "/app/installations/" + num(w.installation) + "/access_tokens"
	sha := w.repo.SHA
	for _, r := range []rule{
		{name: "within", token: narrow, method: "GET", path: "/repos/acme/shop/contents/README.md", status: 200},
		{name: "repository left out", token: narrow, method: "GET", path: "/repos/acme/other/contents/a", status: 404, message: "Not Found"},
		{name: "permission left out", token: narrow, method: "GET", path: "/repos/acme/shop/pulls", status: 403, message: "Resource not accessible by integration"},
		{name: "write with read", token: narrow, method: "POST", path: "/repos/acme/shop/git/refs", body: `{"ref":"refs/tags/x","sha":"` + sha + `"}`, status: 403, message: "Resource not accessible"},
		{name: "metadata is always there", token: narrow, method: "GET", path: "/repos/acme/shop", status: 200},
		{name: "not granted to the App", token: all, method: "GET", path: "/repos/acme/shop/branches/main/protection", status: 403, message: "Resource not accessible"},
		{name: "organization permission", token: all, method: "GET", path: "/orgs/acme/teams", status: 403, message: "Resource not accessible"},
		{name: "more than granted", token: w.goodJWT(), method: "POST", path: tokens, body: `{"permissions":{"contents":"write"}}`, status: 422, message: "not granted"},
		{name: "unknown repository", token: w.goodJWT(), method: "POST", path: tokens, body: `{"repositories":["nothing"]}`, status: 422, message: "does not exist or is not accessible"},
		{name: "unknown repository id", token: w.goodJWT(), method: "POST", path: tokens, body: `{"repository_ids":[1]}`, status: 422, message: "does not exist or is not accessible"},
		{name: "permission level that is none", token: w.goodJWT(), method: "POST", path: tokens, body: `{"permissions":{"contents":"all"}}`, status: 422, violation: "request"},
		{name: "not installed", token: w.goodJWT(), method: "POST", path: "/app/installations/1/access_tokens", status: 404},
		{name: "made up", token: "ghs_000000000000000000000000000000000000", method: "GET", path: "/repos/acme/shop", status: 401, message: "Bad credentials"},
		{name: "JWT in its place", token: w.goodJWT(), method: "GET", path: "/repos/acme/shop", status: 403},
		{name: "nobody", method: "GET", path: "/repos/acme/shop", status: 404},
	} {
		t.Run(r.name, func(t *testing.T) { w.try(t, r) })
	}
	t.Run("names the permission", func(t *testing.T) {
		_, _, header := w.call("GET", "/repos/acme/shop/issues/1/comments", narrow, "")
		if got := header.Get("X-Accepted-GitHub-Permissions"); got != "issues=read; pull_requests=read" {
			t.Errorf("X-Accepted-GitHub-Permissions: %q", got)
		}
	})
}

func TestInstallationTokensEnd(t *testing.T) {
	w := newWorld(t, githubtest.Options{Now: frozen()})
	tokens := "/app/installations/" + num(w.installation) + "/access_tokens"
	get := rule{token: w.issue(""), method: "GET", path: "/repos/acme/shop"}
	t.Run("suspended", func(t *testing.T) {
		must(t, w.SuspendInstallation(w.installation, true))
		get.status, get.message = 403, "suspended"
		w.try(t, get)
		w.try(t, rule{token: w.goodJWT(), method: "POST", path: tokens, status: 403, message: "suspended"})
		must(t, w.SuspendInstallation(w.installation, false))
	})
	t.Run("an hour later", func(t *testing.T) {
		w.Advance(time.Hour - time.Second)
		get.status, get.message = 200, ""
		w.try(t, get)
		w.Advance(time.Second)
		get.status, get.message = 401, "Bad credentials"
		w.try(t, get)
	})
	t.Run("uninstalled", func(t *testing.T) {
		get.token = w.issue("")
		must(t, w.Uninstall(w.installation))
		w.try(t, get)
	})
}

func TestContractIsEnforced(t *testing.T) {
	w, ids := busy(t)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Branch: "untriggered", Files: map[string]string{".github/workflows/sync.yml": "on: push\n"}}))(t)
	token := one(w.InstallationToken(w.installation))(t)
	for _, r := range slices.Concat(requestRules(w, ids), checkRules(w, ids), dispatchRules(w, ids), gitRules(w, ids)) {
		t.Run(r.name, func(t *testing.T) {
			if r.token == "" {
				r.token = token
			}
			w.try(t, r)
		})
	}
}

// requestRules are rules of any request, and of issues and comments.
func requestRules(w *world, ids *strings.Replacer) []rule {
	comments := ids.Replace("/repos/acme/shop/issues/{issue}/comments")
	body := func(n int) string { return `{"body":"` + strings.Repeat("é", n) + `"}` }
	checks := "/repos/acme/shop/check-runs"
	return []rule{
		{name: "unknown path", method: "GET", path: "/repos/acme/shop/nothing", status: 404, violation: "operation"},
		{name: "unknown method", method: "PUT", path: "/repos/acme/shop", status: 404, violation: "operation"},
		{name: "trailing slash", method: "GET", path: "/repos/acme/shop/issues/", status: 404, violation: "operation"},
		{name: "not JSON", method: "POST", path: comments, body: `{`, status: 400, message: "Problems parsing JSON", violation: "request"},
		{name: "not an object", method: "POST", path: comments, body: `[]`, status: 400, message: "Body should be a JSON object", violation: "request"},
		{name: "missing field", method: "POST", path: comments, body: `{}`, status: 422, violation: "body"},
		{name: "wrong type", method: "POST", path: comments, body: `{"body":1}`, status: 422, violation: "/body"},
		{name: "misspelt field", method: "POST", path: checks, body: `{"name":"n","head_sha":"` + w.repo.SHA + `","external-id":"x"}`, status: 201, violation: `"external-id" is not in the description`},
		{name: "misspelt parameter", method: "GET", path: "/repos/acme/shop/issues?perpage=3", status: 200, violation: `"perpage" is not in the description`},
		{name: "unknown version", method: "GET", path: "/meta", header: []string{"X-GitHub-Api-Version", "2020-01-01"}, status: 400, message: "not supported"},
		{name: "no user agent", method: "GET", path: "/meta", header: []string{"User-Agent", ""}, status: 403, message: "User-Agent"},
		{name: "comment as long as can be", method: "POST", path: comments, body: body(65536), status: 201},
		{name: "comment too long", method: "POST", path: comments, body: body(65537), status: 422, message: "maximum is 65536"},
		{name: "empty comment", method: "POST", path: comments, body: `{"body":" "}`, status: 422, message: "missing_field"},
		{name: "unknown reaction", method: "POST", path: ids.Replace("/repos/acme/shop/issues/{issue}/reactions"), body: `{"content":"wave"}`, status: 422, violation: "/content"},
		{name: "no such issue", method: "POST", path: "/repos/acme/shop/issues/99/comments", body: body(1), status: 404},
	}
}

// checkRules are rules of check runs.
func checkRules(w *world, ids *strings.Replacer) []rule {
	checks, check := "/repos/acme/shop/check-runs", ids.Replace("/repos/acme/shop/check-runs/{check}")
	output := func(n int) string {
		return `{"name":"n","head_sha":"` + w.repo.SHA + `","output":{"title":"t","summary":"` + strings.Repeat("x", n) + `"}}`
	}
	annotations := func(n int) string {
		one := `{"path":"README.md","start_line":1,"end_line":1,"annotation_level":"failure","message":"m"}`
		return `{"output":{"title":"t","summary":"s","annotations":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}}`
	}
	// remark is an annotation with one field set otherwise: of two equal keys, the last counts.
	remark := func(field string) string {
		return `{"output":{"title":"t","summary":"s","annotations":[{"path":"README.md","start_line":1,"end_line":1,"annotation_level":"failure","message":"m",` + field + `}]}}`
	}
	return []rule{
		{name: "summary as long as can be", method: "POST", path: checks, body: output(65535), status: 201},
		{name: "summary too long", method: "POST", path: checks, body: output(65536), status: 422, violation: "/output/summary"},
		{name: "50 annotations", method: "PATCH", path: check, body: annotations(50), status: 200},
		{name: "51 annotations", method: "PATCH", path: check, body: annotations(51), status: 422, violation: "/output/annotations"},
		{name: "title of 255 characters", method: "PATCH", path: check, body: remark(`"title":"` + strings.Repeat("é", 255) + `"`), status: 200},
		{name: "title of 256 characters", method: "PATCH", path: check, body: remark(`"title":"` + strings.Repeat("x", 256) + `"`), status: 422, message: "255", violation: "/annotations"},
		{name: "raw details of 64 KB", method: "PATCH", path: check, body: remark(`"raw_details":"` + strings.Repeat("x", 64<<10) + `"`), status: 200},
		{name: "raw details over 64 KB", method: "PATCH", path: check, body: remark(`"raw_details":"` + strings.Repeat("x", 64<<10+1) + `"`), status: 422, message: "64 KB", violation: "/annotations"},
		{name: "message over 64 KB", method: "PATCH", path: check, body: remark(`"message":"` + strings.Repeat("x", 64<<10+1) + `"`), status: 422, message: "64 KB", violation: "/annotations"},
		{name: "empty message", method: "PATCH", path: check, body: remark(`"message":""`), status: 422, message: "needs a message", violation: "/annotations"},
		{name: "line 0", method: "PATCH", path: check, body: remark(`"start_line":0`), status: 422, message: "lines that exist", violation: "/annotations"},
		{name: "ends before it starts", method: "PATCH", path: check, body: remark(`"start_line":2`), status: 422, message: "lines that exist", violation: "/annotations"},
		{name: "columns of two lines", method: "PATCH", path: check, body: remark(`"end_line":2,"start_column":1`), status: 422, message: "columns", violation: "/annotations"},
		{name: "absolute path", method: "PATCH", path: check, body: remark(`"path":"/README.md"`), status: 422, message: "relative", violation: "/annotations"},
		{name: "path that leaves", method: "PATCH", path: check, body: remark(`"path":"../README.md"`), status: 422, message: "relative", violation: "/annotations"},
		{name: "path with detours", method: "PATCH", path: check, body: remark(`"path":"./README.md"`), status: 422, message: "relative", violation: "/annotations"},
		{name: "annotations without summary", method: "PATCH", path: check, body: `{"output":{"title":"t","annotations":[]}}`, status: 422, violation: "/output"},
		{name: "completed without conclusion", method: "POST", path: checks, body: `{"name":"n","head_sha":"` + w.repo.SHA + `","status":"completed"}`, status: 422, message: "conclusion", violation: "/conclusion"},
		{name: "updated to completed without conclusion", method: "PATCH", path: check, body: `{"status":"completed"}`, status: 422, violation: "anyOf"},
		{name: "unknown conclusion", method: "PATCH", path: check, body: `{"conclusion":"failed"}`, status: 422, violation: "/conclusion"},
		{name: "stale", method: "PATCH", path: check, body: `{"conclusion":"stale"}`, status: 422, violation: "/conclusion"},
		{name: "commit that is not there", method: "POST", path: checks, body: `{"name":"n","head_sha":"` + strings.Repeat("0", 40) + `"}`, status: 422, message: "No commit found"},
		{name: "check run of nobody", method: "PATCH", path: checks + "/1", body: `{"status":"queued"}`, status: 404},
		{name: "check run by a person", token: w.user.Token, method: "POST", path: checks, body: output(1), status: 403, message: "GitHub App"},
	}
}

// dispatchRules are rules of workflow dispatches.
func dispatchRules(*world, *strings.Replacer) []rule {
	dispatches := "/repos/acme/shop/actions/workflows/sync.yml/dispatches"
	inputs := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"i` + num(i) + `":"x"`)
		}
		return `{"ref":"main","inputs":{"namespace":"n"` + b.String() + `}}`
	}
	return []rule{
		{name: "25 inputs, undeclared", method: "POST", path: dispatches, body: inputs(24), status: 422, message: "Unexpected inputs"},
		{name: "26 inputs", method: "POST", path: dispatches, body: inputs(25), status: 422, violation: "/inputs"},
		{name: "required input missing", method: "POST", path: dispatches, body: `{"ref":"main"}`, status: 422, message: "Required input 'namespace' not provided"},
		{name: "choice that is none", method: "POST", path: dispatches, body: `{"ref":"main","inputs":{"namespace":"n","mode":"x"}}`, status: 422, message: "not in the list"},
		{name: "no such ref", method: "POST", path: dispatches, body: `{"ref":"nothing","inputs":{"namespace":"n"}}`, status: 422, message: "No ref found"},
		{name: "no ref", method: "POST", path: dispatches, body: `{}`, status: 422, violation: "/ref"},
		{name: "no such workflow", method: "POST", path: strings.Replace(dispatches, "sync", "sink", 1), body: `{"ref":"main"}`, status: 404},
		{name: "ref without the trigger", method: "POST", path: dispatches, body: `{"ref":"untriggered"}`, status: 422, message: "does not have 'workflow_dispatch'"},
	}
}

// gitRules are rules of contents and refs.
func gitRules(w *world, _ *strings.Replacer) []rule {
	return []rule{
		{name: "no such file", method: "GET", path: "/repos/acme/shop/contents/nothing", status: 404},
		{name: "no such ref of a file", method: "GET", path: "/repos/acme/shop/contents/README.md?ref=nothing", status: 404, message: "No commit found for the ref"},
		{name: "ref that exists", token: w.user.Token, method: "POST", path: "/repos/acme/shop/git/refs", body: `{"ref":"refs/heads/main","sha":"` + w.repo.SHA + `"}`, status: 422, message: "already exists"},
		{name: "ref without prefix", token: w.user.Token, method: "POST", path: "/repos/acme/shop/git/refs", body: `{"ref":"main2","sha":"` + w.repo.SHA + `"}`, status: 422, message: "must start with"},
		{name: "not a fast forward", token: w.user.Token, method: "PATCH", path: "/repos/acme/shop/git/refs/heads/12-fix", body: `{"sha":"` + w.repo.SHA + `"}`, status: 422, message: "not a fast forward"},
		{name: "protected branch, forced", token: w.user.Token, method: "PATCH", path: "/repos/acme/shop/git/refs/heads/main", body: `{"sha":"` + w.repo.SHA + `","force":true}`, status: 422, message: "protected"},
		{name: "protected branch, deleted", token: w.user.Token, method: "DELETE", path: "/repos/acme/shop/git/refs/heads/main", status: 422, message: "protected"},
	}
}

func TestAnotherAppsCheckRunCannotBeChanged(t *testing.T) {
	w, ids := busy(t)
	other := one(w.CreateApp(githubtest.AppOptions{Slug: "other", Permissions: manifest}))(t)
	token := one(w.InstallationToken(one(w.InstallApp(other.ID, "acme", githubtest.InstallOptions{}))(t)))(t)
	w.try(t, rule{token: token, method: "PATCH", path: ids.Replace("/repos/acme/shop/check-runs/{check}"), body: `{"conclusion":"success"}`, status: 403, message: "only be modified by the GitHub App that created it"})
}

func TestRegistrationRules(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	for _, test := range []struct {
		event, permission, want string
	}{
		{"push", "contents", ""},
		{"push", "issues", "not supported by permissions"},
		{"check_run", "contents", "not supported by permissions"},
		{"issue_comment", "pull_requests", ""},
		{"installation", "contents", "Default events unsupported"},
		{"installation_repositories", "contents", "Default events unsupported"},
		{"nothing", "contents", "Default events unsupported"},
	} {
		t.Run(test.event+" with "+test.permission, func(t *testing.T) {
			_, err := w.CreateApp(githubtest.AppOptions{Slug: test.event + test.permission, Permissions: githubtest.Permissions{test.permission: "read"}, Events: []string{test.event}})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want %q", err, test.want)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	one(w.CreateRepository("acme/open", githubtest.RepositoryOptions{Public: true, Files: map[string]string{"a": "1"}}))(t)
	roles := map[string]githubtest.Role{"tom": githubtest.RoleTriage, "wil": githubtest.RoleWrite, "mia": githubtest.RoleMaintain, "ron": githubtest.RoleRead, "amy": githubtest.RoleAdmin, "non": githubtest.RoleNone}
	users := map[string]githubtest.User{}
	for login, role := range roles {
		users[login] = one(w.CreateUser(login))(t)
		must(t, w.AddCollaborator("acme/shop", login, role))
	}
	one(w.CreateUser("tea"))(t)
	must(t, w.CreateTeam("acme", "Writers", []string{"tea"}, map[string]githubtest.Role{"acme/shop": githubtest.RoleWrite}))
	token := one(w.InstallationToken(w.installation))(t)
	for _, test := range []struct{ repo, login, permission, role string }{
		{"shop", "ada", "admin", "admin"}, {"shop", "amy", "admin", "admin"}, {"shop", "mia", "write", "maintain"},
		{"shop", "wil", "write", "write"}, {"shop", "tom", "read", "triage"}, {"shop", "ron", "read", "read"},
		{"shop", "tea", "write", "write"}, {"shop", "non", "none", "none"}, {"open", "non", "read", "read"},
	} {
		status, answer, _ := w.call("GET", "/repos/acme/"+test.repo+"/collaborators/"+test.login+"/permission", token, "")
		var got struct {
			Permission string
			RoleName   string `json:"role_name"`
		}
		if err := json.Unmarshal(answer, &got); err != nil || status != 200 || got.Permission != test.permission || got.RoleName != test.role {
			t.Errorf("%s on %s: %d %s; want %s, %s", test.login, test.repo, status, answer, test.permission, test.role)
		}
	}
	sha := w.repo.SHA
	ref := `{"ref":"refs/tags/x","sha":"` + sha + `"}`
	for _, r := range []rule{
		{name: "reader tags", token: users["ron"].Token, method: "POST", path: "/repos/acme/shop/git/refs", body: ref, status: 403},
		{name: "triager tags", token: users["tom"].Token, method: "POST", path: "/repos/acme/shop/git/refs", body: ref, status: 403},
		{name: "stranger looks", token: users["non"].Token, method: "GET", path: "/repos/acme/shop", status: 404},
		{name: "stranger looks at what is public", token: users["non"].Token, method: "GET", path: "/repos/acme/open", status: 200},
		{name: "nobody looks at what is public", method: "GET", path: "/repos/acme/open/contents/a", status: 200},
		{name: "nobody writes to what is public", method: "POST", path: "/repos/acme/open/issues", body: `{"title":"t"}`, status: 401},
		{name: "reader asks for rights", token: users["ron"].Token, method: "GET", path: "/repos/acme/shop/collaborators/ada/permission", status: 403, message: "push access"},
		{name: "maintainer asks for protection", token: users["mia"].Token, method: "GET", path: "/repos/acme/shop/branches/main/protection", status: 403, message: "admin rights"},
		{name: "writer tags", token: users["wil"].Token, method: "POST", path: "/repos/acme/shop/git/refs", body: ref, status: 201},
		{name: "unknown user", token: token, method: "GET", path: "/repos/acme/shop/collaborators/zoe/permission", status: 404},
	} {
		t.Run(r.name, func(t *testing.T) { w.try(t, r) })
	}
	must(t, w.SuspendUser("wil", true))
	w.try(t, rule{token: users["wil"].Token, method: "GET", path: "/user", status: 403, message: "suspended"})
	w.try(t, rule{token: token, method: "GET", path: "/repos/acme/shop/collaborators/wil/permission", status: 200, message: `"permission":"none"`})
}

// Each update adds its annotations to those there are; the list is paged.
func TestAnnotationsAreAppended(t *testing.T) {
	w, ids := busy(t)
	token := one(w.InstallationToken(w.installation))(t)
	check := ids.Replace("/repos/acme/shop/check-runs/{check}")
	before := len(w.CheckRuns("acme/shop")[0].Annotations)
	for i := range 3 {
		var list []string
		for n := range 50 {
			list = append(list, `{"path":"README.md","start_line":`+num(50*i+n+1)+`,"end_line":`+num(50*i+n+1)+`,"annotation_level":"failure","message":"m"}`)
		}
		w.call("PATCH", check, token, `{"output":{"title":"t","summary":"s","annotations":[`+strings.Join(list, ",")+`]}}`)
	}
	all := w.CheckRuns("acme/shop")[0].Annotations
	if len(all) != before+150 || all[before].StartLine != 1 || all[before+149].StartLine != 150 {
		t.Errorf("%d annotations after %d", len(all), before)
	}
	_, body, _ := w.call("GET", check+"/annotations?per_page=100&page=2", token, "")
	var page []map[string]any
	must(t, json.Unmarshal(body, &page))
	if len(page) != before+50 || num(page[len(page)-1]["start_line"]) != "150" {
		t.Errorf("the second page holds %d", len(page))
	}
	_, body, _ = w.call("GET", check, token, "")
	var run struct {
		Output struct {
			AnnotationsCount int `json:"annotations_count"`
		}
	}
	must(t, json.Unmarshal(body, &run))
	if run.Output.AnnotationsCount != before+150 {
		t.Errorf("annotations_count is %d", run.Output.AnnotationsCount)
	}
}
