package githubtest_test

import (
	"strings"
	"testing"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// TestRefusals breaks rules that need something to be there first.
func TestRefusals(t *testing.T) {
	w, ids := busy(t)
	reader := one(w.CreateUser("ron"))(t)
	must(t, w.AddCollaborator("acme/shop", "ron", githubtest.RoleRead))
	token := one(w.InstallationToken(w.installation))(t)
	const repo = "/repos/acme/shop"
	actions := strings.TrimSuffix(strings.Repeat(`{"label":"l","description":"d","identifier":"i"},`, 4), ",")
	for _, r := range []rule{
		{name: "edit another's comment", token: reader.Token, method: "PATCH", path: repo + "/issues/comments/{comment}", body: `{"body":"x"}`, status: 403},
		{name: "delete another's comment", token: reader.Token, method: "DELETE", path: repo + "/issues/comments/{comment}", status: 403},
		{name: "take another's reaction away", token: reader.Token, method: "DELETE", path: repo + "/issues/{issue}/reactions/{reaction}", status: 404},
		{name: "dispatch as reader", token: reader.Token, method: "POST", path: repo + "/actions/workflows/sync.yml/dispatches", body: `{"ref":"main"}`, status: 403},
		{name: "teams as stranger", token: reader.Token, method: "GET", path: "/orgs/acme/teams", status: 404},
		{name: "teams as nobody", token: "", method: "GET", path: "/orgs/acme/teams", status: 401},
		{name: "list with a JWT", token: w.goodJWT(), method: "GET", path: "/installation/repositories", status: 403, message: "installation access token"},
		{name: "pull request that is open already", token: w.user.Token, method: "POST", path: repo + "/pulls", body: `{"title":"t","head":"12-fix","base":"main"}`, status: 422, message: "already exists"},
		{name: "pull request of nothing", token: w.user.Token, method: "POST", path: repo + "/pulls", body: `{"title":"t","head":"main","base":"main"}`, status: 422, message: "No commits between"},
		{name: "pull request without title", token: w.user.Token, method: "POST", path: repo + "/pulls", body: `{"head":"12-fix","base":"main"}`, status: 422, message: "title"},
		{name: "pull request that is an issue", token: token, method: "GET", path: repo + "/pulls/{issue}", status: 404},
		{name: "issue without title", token: token, method: "POST", path: repo + "/issues", body: `{"title":""}`, status: 422, message: "missing_field"},
		{name: "four actions", token: token, method: "PATCH", path: repo + "/check-runs/{check}", body: `{"actions":[` + actions + `]}`, status: 422, violation: "/actions"},
		{name: "tag of nothing", token: w.user.Token, method: "POST", path: repo + "/git/tags", body: `{"tag":"x","message":"m","object":"` + strings.Repeat("0", 40) + `","type":"commit"}`, status: 422},
		{name: "ref to nothing", token: w.user.Token, method: "POST", path: repo + "/git/refs", body: `{"ref":"refs/tags/q","sha":"` + strings.Repeat("0", 40) + `"}`, status: 422, message: "does not exist"},
		{name: "tag object by a commit's SHA", token: token, method: "GET", path: repo + "/git/tags/{sha}", status: 404},
		{name: "protection of what is not protected", token: w.user.Token, method: "GET", path: repo + "/branches/12-fix/protection", status: 404, message: "not protected"},
		{name: "rerun of what runs", token: token, method: "POST", path: repo + "/actions/runs/{run}/rerun", status: 403, message: "already running"},
		{name: "cancel", token: token, method: "POST", path: repo + "/actions/runs/{run}/cancel", status: 202},
		{name: "cancel of what is over", token: token, method: "POST", path: repo + "/actions/runs/{run}/cancel", status: 409},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.path = ids.Replace(r.path)
			w.try(t, r)
		})
	}
}

func TestStrangersHaveSixtyRequests(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	for range 60 {
		w.try(t, rule{method: "GET", path: "/meta", status: 200})
	}
	w.try(t, rule{method: "GET", path: "/meta", status: 403, message: "rate limit exceeded"})
	w.try(t, rule{method: "GET", path: "/rate_limit", status: 200, message: `"remaining":0`})
}
