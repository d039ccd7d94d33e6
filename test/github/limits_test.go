package githubtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	gh "github.com/google/go-github/v62/github"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

func TestPagination(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	for range 65 {
		one(w.Comment("acme/shop", "ada", n, "c"))(t)
	}
	ctx, c := context.Background(), w.asInstallation()
	seen := map[int64]bool{}
	sizes := []int{}
	for o := (&gh.IssueListCommentsOptions{}); ; {
		page, resp, err := c.Issues.ListComments(ctx, "acme", "shop", n, o)
		must(t, err)
		sizes = append(sizes, len(page))
		for _, k := range page {
			seen[k.GetID()] = true
		}
		if o.Page = resp.NextPage; o.Page == 0 {
			break
		}
	}
	if len(seen) != 65 || len(sizes) != 3 || sizes[0] != 30 || sizes[2] != 5 {
		t.Errorf("%d comments in pages of %v", len(seen), sizes)
	}
	page, resp, err := c.Issues.ListComments(ctx, "acme", "shop", n, &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 200}})
	must(t, err)
	if len(page) != 65 || resp.LastPage != 0 {
		t.Errorf("%d comments; want all 65, per_page is cut to 100", len(page))
	}
	_, resp, err = c.Issues.ListComments(ctx, "acme", "shop", n, &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 10, Page: 3}})
	must(t, err)
	if resp.PrevPage != 2 || resp.NextPage != 4 || resp.LastPage != 7 || resp.FirstPage != 1 {
		t.Errorf("links %+v", resp)
	}
}

func TestConditionalRequestsCostNothing(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := one(w.InstallationToken(w.installation))(t)
	_, _, first := w.call("GET", "/repos/acme/shop/git/matching-refs/tags/", token, "")
	status, body, second := w.call("GET", "/repos/acme/shop/git/matching-refs/tags/", token, "", "If-None-Match", first.Get("ETag"))
	if status != http.StatusNotModified || len(body) != 0 || second.Get("X-RateLimit-Remaining") != first.Get("X-RateLimit-Remaining") {
		t.Errorf("%d, remaining %s then %s", status, first.Get("X-RateLimit-Remaining"), second.Get("X-RateLimit-Remaining"))
	}
	other := one(w.InstallationToken(w.installation))(t)
	if status, _, _ := w.call("GET", "/repos/acme/shop/git/matching-refs/tags/", other, "", "If-None-Match", first.Get("ETag")); status != http.StatusOK {
		t.Errorf("with another token: %d", status)
	}
	must(t, w.PushTag("acme/shop", "ada", "x", "", ""))
	status, _, third := w.call("GET", "/repos/acme/shop/git/matching-refs/tags/", token, "", "If-None-Match", first.Get("ETag"))
	if status != http.StatusOK || third.Get("ETag") == first.Get("ETag") {
		t.Errorf("after a change: %d", status)
	}
}

// An installation on many repositories has more requests; a person has not.
func TestThePrimaryLimitGrowsWithTheRepositories(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	limit := func() string {
		_, _, header := w.call("GET", "/repos/acme/shop", one(w.InstallationToken(w.installation))(t), "")
		return header.Get("X-RateLimit-Limit")
	}
	have := 1
	for _, tc := range []struct {
		repositories int
		want         string
	}{{20, "5000"}, {22, "5100"}, {180, "12500"}} {
		for ; have < tc.repositories; have++ {
			one(w.CreateRepository(fmt.Sprintf("acme/r%d", have), githubtest.RepositoryOptions{}))(t)
		}
		if got := limit(); got != tc.want {
			t.Errorf("with %d repositories: %s, want %s", have, got, tc.want)
		}
	}
}

func TestPrimaryLimit(t *testing.T) {
	w := newWorld(t, githubtest.Options{RateLimit: 3})
	ctx := context.Background()
	token := one(w.InstallationToken(w.installation))(t)
	c := w.client(nil).WithAuthToken(token)
	var limit *gh.RateLimitError
	for n := 1; n <= 3; n++ {
		_, _, err := c.Repositories.Get(ctx, "acme", "shop")
		must(t, err)
	}
	status, body, header := w.call("GET", "/repos/acme/shop", token, "")
	if status != http.StatusForbidden || header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("%d %s", status, body)
	}
	if _, _, err := c.Repositories.Get(ctx, "acme", "shop"); !errors.As(err, &limit) {
		t.Errorf("error %v", err)
	}
	w.Advance(time.Hour)
	if status, body, _ := w.call("GET", "/repos/acme/shop", token, ""); status != http.StatusUnauthorized { // the token has expired too
		t.Errorf("%d %s", status, body)
	}
	token = one(w.InstallationToken(w.installation))(t)
	if status, body, _ := w.call("GET", "/repos/acme/shop", token, ""); status != http.StatusOK {
		t.Errorf("an hour later: %d %s", status, body)
	}
}

func TestSecondaryLimitOnContent(t *testing.T) {
	w := newWorld(t, githubtest.Options{ContentLimit: 2})
	ctx, c := context.Background(), w.asInstallation()
	n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	say := func() error {
		_, _, err := c.Issues.CreateComment(ctx, "acme", "shop", n, &gh.IssueComment{Body: gh.String("x")})
		return err
	}
	must(t, say())
	must(t, say())
	var abuse *gh.AbuseRateLimitError
	if err := say(); !errors.As(err, &abuse) || abuse.GetRetryAfter() <= 0 || abuse.GetRetryAfter() > time.Minute {
		t.Fatalf("error %v", err)
	}
	w.Advance(time.Minute)
	if status, body, _ := w.call("POST", "/repos/acme/shop/issues/1/comments", one(w.InstallationToken(w.installation))(t), `{"body":"x"}`); status != http.StatusCreated {
		t.Errorf("a minute later: %d %s", status, body)
	}
}

// Limits count any interval, not the one of the clock. A refused request says when the next is possible, and then it is.
func TestSecondaryLimitsSlide(t *testing.T) {
	for _, tc := range []struct {
		name       string
		options    githubtest.Options
		read       bool
		want       []int
		retryAfter time.Duration
	}{
		{"content of a minute", githubtest.Options{ContentLimit: 2}, false, []int{201, 201, 403}, 40 * time.Second},
		{"content of an hour", githubtest.Options{ContentLimit: 9, ContentHourLimit: 2}, false, []int{201, 201, 403}, 59*time.Minute + 40*time.Second},
		{"points of writes", githubtest.Options{PointLimit: 10}, false, []int{201, 201, 403}, 40 * time.Second},
		{"points of reads", githubtest.Options{PointLimit: 3}, true, []int{200, 200, 200, 403}, 30 * time.Second},
		{"GitHub's own limits", githubtest.Options{
			ContentLimit: githubtest.ContentPerMinute, ContentHourLimit: githubtest.ContentPerHour, PointLimit: githubtest.PointsPerMinute,
		}, false, []int{201, 201, 201, 201}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.Now()
			tc.options.Now = func() time.Time { return now }
			w := newWorld(t, tc.options)
			n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
			token := one(w.InstallationToken(w.installation))(t)
			method, body := "POST", `{"body":"x"}`
			if tc.read {
				method, body = "GET", ""
			}
			request := func() (int, string) {
				status, _, header := w.call(method, "/repos/acme/shop/issues/"+num(n)+"/comments", token, body)
				return status, header.Get("Retry-After")
			}
			for i, want := range tc.want {
				if got, after := request(); got != want || want == 403 && after != num(int64(tc.retryAfter/time.Second)) {
					t.Fatalf("request %d: %d, Retry-After %s", i+1, got, after)
				}
				w.Advance(10 * time.Second)
			}
			if tc.retryAfter == 0 {
				return
			}
			w.Advance(tc.retryAfter - 11*time.Second)
			if got, _ := request(); got != 403 {
				t.Errorf("before its time: %d", got)
			}
			w.Advance(time.Second)
			token = one(w.InstallationToken(w.installation))(t) // the other may have expired
			if got, _ := request(); got != tc.want[0] {
				t.Errorf("at its time: %d", got)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := one(w.InstallationToken(w.installation))(t)
	get := func() (int, string) {
		status, _, header := w.call("GET", "/repos/acme/shop", token, "")
		return status, header.Get("Retry-After")
	}
	w.Throttle(w.installation, time.Minute)
	if status, after := get(); status != 403 || after != "60" {
		t.Errorf("%d, Retry-After %s", status, after)
	}
	w.Advance(time.Minute)
	if status, _ := get(); status != 200 {
		t.Errorf("a minute later: %d", status)
	}
	reads := func(r githubtest.Request) bool { return r.Path == "/repos/acme/shop" }
	if a, b := w.Most(time.Minute, reads), w.Most(2*time.Minute, reads); a != 1 || b != 2 {
		t.Errorf("at most %d in a minute and %d in two, want 1 and 2", a, b)
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := one(w.InstallationToken(w.installation))(t)
	n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	comments := "/repos/acme/shop/issues/" + num(n) + "/comments"
	post := func() (int, http.Header) {
		status, _, header := w.call("POST", comments, token, `{"body":"x"}`)
		return status, header
	}
	count := func() int { return len(one(w.Issue("acme/shop", n))(t).Comments) }

	t.Run("bad gateway twice, then well", func(t *testing.T) {
		w.Inject(githubtest.Fault{Method: "POST", Path: "/repos/*/*/issues/*/comments", Status: 502, Times: 2})
		for _, want := range []int{502, 502, 201} {
			if got, _ := post(); got != want {
				t.Errorf("%d; want %d", got, want)
			}
		}
		if count() != 1 {
			t.Errorf("%d comments", count())
		}
	})
	t.Run("other requests are not touched", func(t *testing.T) {
		w.Inject(githubtest.Fault{Method: "POST", Path: comments, Status: 502})
		defer w.Heal()
		if status, _, _ := w.call("GET", comments, token, ""); status != 200 {
			t.Errorf("%d", status)
		}
	})
	t.Run("secondary limit", func(t *testing.T) {
		w.Inject(githubtest.Fault{Status: 403, Secondary: true, RetryAfter: time.Minute, Times: 1})
		if status, header := post(); status != 403 || header.Get("Retry-After") != "60" {
			t.Errorf("%d, Retry-After %q", status, header.Get("Retry-After"))
		}
	})
	t.Run("the answer is lost, the effect stays", func(t *testing.T) {
		before := count()
		w.Inject(githubtest.Fault{Status: 502, After: true, Times: 1})
		if status, _ := post(); status != 502 || count() != before+1 {
			t.Errorf("%d, %d comments; want one more than %d", status, count(), before)
		}
	})
	t.Run("slow", func(t *testing.T) {
		w.Inject(githubtest.Fault{Delay: 50 * time.Millisecond, Times: 1})
		started := time.Now()
		if status, _ := post(); status != 201 || time.Since(started) < 50*time.Millisecond {
			t.Errorf("%d after %v", status, time.Since(started))
		}
	})
}

func TestFaultsOfConnectionsAndGit(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	token := one(w.InstallationToken(w.installation))(t)
	t.Run("connection dropped", func(t *testing.T) {
		w.Inject(githubtest.Fault{Drop: true, Times: 1, Match: func(r *http.Request) bool { return r.Header.Get("X-Drop") != "" }})
		req := one(http.NewRequest("GET", w.APIURL()+"/meta", nil))(t)
		req.Header.Set("X-Drop", "1")
		// A fresh connection: on a reused one the client would try again by itself.
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("answered %d", resp.StatusCode)
		}
	})
	t.Run("git", func(t *testing.T) {
		w.Inject(githubtest.Fault{Path: "/acme/shop.git/info/refs", Status: 503, Times: 1})
		if out, err := w.git(token, "", "ls-remote", w.repo.CloneURL); err == nil {
			t.Errorf("worked: %s", out)
		}
		w.mustGit(token, "", "ls-remote", w.repo.CloneURL)
	})
}

func TestRequestLog(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	_, answer, _ := w.call("POST", "/app/installations/"+num(w.installation)+"/access_tokens", w.goodJWT(), `{"repositories":["shop"],"permissions":{"contents":"read"}}`)
	token := field(t, answer, "token")
	w.ResetRequests()
	w.call("GET", "/repos/acme/shop/contents/README.md", token, "")
	w.mustGit(token, "", "ls-remote", w.repo.CloneURL)
	all := w.Requests()
	r := all[0]
	if r.Operation != "GET /repos/{owner}/{repo}/contents/{path}" || r.Caller != "installation" || r.Granted["contents"] != "read" ||
		len(r.Granted) != 2 || len(r.Repositories) != 1 || r.Needed[0]["contents"] != "read" || r.Status != 200 {
		t.Errorf("%+v", r)
	}
	if last := all[len(all)-1]; last.Operation != "git-upload-pack" || last.Caller != "installation" {
		t.Errorf("%+v", last)
	}
}
