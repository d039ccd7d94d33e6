package githubtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/test/github/openapi"
)

func TestRouter(t *testing.T) {
	contract, err := openapi.Load()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRouter(contract)
	if err != nil {
		t.Fatal(err)
	}
	const repo = "/repos/{owner}/{repo}"
	for _, test := range []struct {
		path, template string
		params         map[string]string
	}{
		{"/repos/o/r/contents/a/b%20c.txt", repo + "/contents/{path}", map[string]string{"path": "a/b c.txt"}},
		{"/repos/o/r/contents/a%2Fb", repo + "/contents/{path}", map[string]string{"path": "a/b"}},
		{"/repos/o/r/contents/", repo + "/contents/{path}", map[string]string{"path": ""}},
		{"/repos/o/r/contents", repo + "/contents/{path}", map[string]string{"path": ""}},
		{"/repos/o/r/git/ref/tags/run/1", repo + "/git/ref/{ref}", map[string]string{"ref": "tags/run/1"}},
		{"/repos/o/r/commits/feature/x", repo + "/commits/{ref}", map[string]string{"ref": "feature/x"}},
		{"/repos/o/r/commits/feature/x/check-runs", repo + "/commits/{ref}/check-runs", map[string]string{"ref": "feature/x"}},
		{"/repos/o/r/branches/a/b/protection", repo + "/branches/{branch}/protection", map[string]string{"branch": "a/b"}},
		{"/repos/o/r/compare/a/b...c", repo + "/compare/{basehead}", map[string]string{"basehead": "a/b...c"}},
		{"/repos/o/r/issues/comments", repo + "/issues/comments", nil},
		{"/repos/o/r/issues/7", repo + "/issues/{issue_number}", map[string]string{"issue_number": "7"}},
		{"/repos/o/r/issues//comments", "", nil},
		{"/repos/o/r/", "", nil},
		{"/repos/o%zz/r", "", nil},
	} {
		t.Run(test.path, func(t *testing.T) {
			route, params := r.find("GET", test.path)
			if route == nil || test.template == "" {
				if route != nil || test.template != "" {
					t.Fatalf("route %v; want %q", route, test.template)
				}
				return
			}
			want := map[string]string{"owner": "o", "repo": "r"}
			for k, v := range test.params {
				want[k] = v
			}
			if diff := cmp.Diff(want, params); route.template != test.template || diff != "" {
				t.Errorf("%s %s", route.template, diff)
			}
		})
	}
}
