package githubtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v62/github"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

func TestDeliveryHeaders(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	one(w.CreateIssue("acme/shop", "ada", "t", "b"))(t)
	w.done("issues")
	d := w.hook.all("issues")[0]
	secret := []byte("s3cret")
	for _, name := range []string{"X-Hub-Signature", "X-Hub-Signature-256"} {
		if err := gh.ValidateSignature(d.header.Get(name), d.body, secret); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if gh.ValidateSignature(d.header.Get(name), append(bytes.Clone(d.body), ' '), secret) == nil {
			t.Errorf("%s fits another body", name)
		}
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Github-Hook-Installation-Target-Type": "integration",
		"X-Github-Hook-Installation-Target-Id": num(w.app.ID),
	} {
		if got := d.header.Get(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

func TestOnlySubscribedEventsOfCoveredRepositories(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	hook := newReceiver(t)
	app := one(w.CreateApp(githubtest.AppOptions{Slug: "few", Permissions: githubtest.Permissions{"issues": "read", "contents": "read"}, Events: []string{"issues"}, WebhookURL: hook.URL}))(t)
	one(w.CreateRepository("acme/other", githubtest.RepositoryOptions{}))(t)
	installation := one(w.InstallApp(app.ID, "acme", githubtest.InstallOptions{Repositories: []string{"shop"}}))(t)
	one(w.CreateIssue("acme/other", "ada", "not covered", ""))(t)
	one(w.PushCommit("acme/shop", "ada", githubtest.Commit{Files: map[string]string{"a": "not subscribed"}}))(t)
	must(t, w.SuspendInstallation(installation, true))
	one(w.CreateIssue("acme/shop", "ada", "suspended", ""))(t)
	must(t, w.SuspendInstallation(installation, false))
	one(w.CreateIssue("acme/shop", "ada", "delivered", ""))(t)
	var got []string
	for _, d := range w.Deliveries(app.ID) {
		got = append(got, d.Event+" "+d.Action)
	}
	want := []string{"installation created", "installation suspend", "installation unsuspend", "issues opened"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// lost are the failed deliveries of the log, read page by page.
func (w *world) lost(c *gh.Client) (lost []*gh.HookDelivery, pages int) {
	w.t.Helper()
	for o := (&gh.ListCursorOptions{PerPage: 1}); ; {
		page, resp, err := c.Apps.ListHookDeliveries(context.Background(), o)
		must(w.t, err)
		pages++
		for _, d := range page {
			if d.GetStatusCode() != http.StatusAccepted {
				lost = append(lost, d)
			}
		}
		if o.Cursor = resp.Cursor; o.Cursor == "" {
			return lost, pages
		}
	}
}

// TestLostDeliveries finds the lost ones in the log, as a client would, and has them sent again under their GUIDs.
func TestLostDeliveries(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.done("installation")
	must(t, w.LoseDeliveries(w.app.ID, 2))
	for range 3 {
		one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	}
	w.hook.wait(t, "issues", func(e any) bool { return e.(*gh.IssuesEvent).GetIssue().GetNumber() == 3 })
	if n := len(w.hook.all("issues")); n != 1 {
		t.Fatalf("%d of 3 arrived; want 1", n)
	}
	ctx, c := context.Background(), w.asApp()
	lost, pages := w.lost(c)
	if pages != len(w.Deliveries(w.app.ID)) || len(lost) != 2 {
		t.Fatalf("%d pages, %d lost", pages, len(lost))
	}
	for _, d := range lost {
		_, _, err := c.Apps.RedeliverHookDelivery(ctx, d.GetID())
		if _, accepted := err.(*gh.AcceptedError); !accepted {
			must(t, err)
		}
	}
	w.hook.wait(t, "issues", func(e any) bool { return e.(*gh.IssuesEvent).GetIssue().GetNumber() == 1 })
	w.hook.wait(t, "issues", func(e any) bool { return e.(*gh.IssuesEvent).GetIssue().GetNumber() == 2 })
	for _, d := range lost {
		found := false
		for _, got := range w.hook.all("issues") {
			found = found || got.header.Get("X-GitHub-Delivery") == d.GetGUID()
		}
		if !found {
			t.Errorf("%s was not delivered under its GUID", d.GetGUID())
		}
	}
	full, _, err := c.Apps.GetHookDelivery(ctx, lost[0].GetID())
	must(t, err)
	if full.GetRequest().GetRawPayload() == nil || full.GetEvent() != "issues" {
		t.Errorf("delivery %+v", full)
	}
	w.Advance(3*24*time.Hour + time.Second)
	if status, answer, _ := w.call("GET", "/app/hook/deliveries", w.goodJWT(), ""); status != 200 || string(answer) != "[]" {
		t.Errorf("after three days: %d %s", status, answer)
	}
	attempts := "/app/hook/deliveries/" + num(lost[0].GetID()) + "/attempts"
	if status, answer, _ := w.call("POST", attempts, w.goodJWT(), ""); status != 404 {
		t.Errorf("redelivery after three days: %d %s", status, answer)
	}
}

// settled waits until every delivery was attempted.
func (w *world) settled() {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(w.Deliveries(w.app.ID), func(d githubtest.Delivery) bool { return !d.Done }) {
			return
		}
	}
	w.t.Fatal("not every delivery was attempted")
}

// TestDeliveriesByStatus reads the log with the status parameter, which go-github does not have, in pages of GitHub's largest size.
func TestDeliveriesByStatus(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.done("installation")
	const lost, good = 120, 3
	must(t, w.LoseDeliveries(w.app.ID, lost))
	for range lost + good {
		one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	}
	w.settled()
	for query, want := range map[string]int{"status=failure&per_page=100": 100, "status=success&per_page=100": good + 1, "per_page=100": 100, "per_page=1000": 100, "": 30} {
		status, body, header := w.call("GET", "/app/hook/deliveries?"+query, w.goodJWT(), "")
		var page []struct {
			StatusCode int    `json:"status_code"`
			Action     string `json:"action"`
		}
		must(t, json.Unmarshal(body, &page))
		if hasNext := strings.Contains(header.Get("Link"), `rel="next"`); status != 200 || len(page) != want || hasNext != (want != good+1) {
			t.Errorf("%q: status %d, %d deliveries, want %d; Link %q", query, status, len(page), want, header.Get("Link"))
		}
		for _, d := range page {
			if isLost := d.StatusCode == 0; strings.Contains(query, "failure") && !isLost || strings.Contains(query, "success") && isLost {
				t.Errorf("%q: status code %d", query, d.StatusCode)
			}
		}
	}
	// The log is bounded: what is too old for the API is removed.
	w.Advance(3*24*time.Hour + time.Second)
	one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	if n := len(w.Deliveries(w.app.ID)); n != 1 {
		t.Errorf("%d deliveries are kept, want 1", n)
	}
}

func TestDroppedEventsLeaveNoTrace(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	before := len(w.Deliveries(w.app.ID))
	must(t, w.DropEvents(w.app.ID, 1))
	one(w.CreateIssue("acme/shop", "ada", "dropped", ""))(t)
	if after := len(w.Deliveries(w.app.ID)); after != before {
		t.Errorf("%d deliveries", after-before)
	}
	one(w.CreateIssue("acme/shop", "ada", "delivered", ""))(t)
	w.done("issues")
}

func TestFailedDeliveryIsNotRepeated(t *testing.T) {
	w := newWorld(t, githubtest.Options{DeliveryTimeout: 2 * time.Second})
	w.hook.mu.Lock()
	w.hook.status = http.StatusInternalServerError
	w.hook.mu.Unlock()
	one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	if d := w.done("issues"); d.StatusCode != 500 || d.Status != "Invalid HTTP Response: 500" {
		t.Errorf("%+v", d)
	}
	// A receiver that takes too long is given up, and the next event follows in order.
	block := make(chan struct{})
	slow := newReceiver(t)
	slow.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block })
	defer close(block)
	must(t, w.SetWebhook(w.app.ID, slow.URL, ""))
	k := one(w.Comment("acme/shop", "ada", 1, "slow"))(t)
	if d := w.done("issue_comment"); d.StatusCode != 0 || d.Status != "timed out" || d.Duration < 2*time.Second {
		t.Errorf("%+v", d)
	}
	must(t, w.SetWebhook(w.app.ID, w.hook.URL, "s3cret"))
	must(t, w.EditComment("acme/shop", "ada", 1, k, "again"))
	w.hook.wait(t, "issue_comment", func(e any) bool { return e.(*gh.IssueCommentEvent).GetAction() == "edited" })
	if n := len(w.hook.all("issues")); n != 1 {
		t.Errorf("the failed delivery came %d times", n)
	}
}

func TestPushPayloadHasSeconds(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	must(t, w.PushTag("acme/shop", "ada", "x", "", ""))
	w.done("push")
	var payload struct {
		Repository struct {
			PushedAt json.Number `json:"pushed_at"`
		}
	}
	must(t, json.Unmarshal(w.hook.all("push")[0].body, &payload))
	if n, err := payload.Repository.PushedAt.Int64(); err != nil || n < 1e9 {
		t.Errorf("pushed_at %v", payload.Repository.PushedAt)
	}
}

func TestEnterpriseHostIsNamed(t *testing.T) {
	for _, enterprise := range []bool{false, true} {
		w := newWorld(t, githubtest.Options{Enterprise: enterprise})
		w.done("installation")
		host := w.hook.all("installation")[0].header.Get("X-GitHub-Enterprise-Host")
		if want := strings.TrimPrefix(w.URL, "http://"); enterprise && host != want || !enterprise && host != "" {
			t.Errorf("enterprise %v: host %q", enterprise, host)
		}
	}
}

func TestDeliveriesKeepTheirOrder(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	n := one(w.CreateIssue("acme/shop", "ada", "t", ""))(t)
	var want []int64
	for range 30 {
		want = append(want, one(w.Comment("acme/shop", "ada", n, "c"))(t))
	}
	w.hook.wait(t, "issue_comment", func(e any) bool { return e.(*gh.IssueCommentEvent).GetComment().GetID() == want[29] })
	var got []int64
	for _, d := range w.hook.all("issue_comment") {
		got = append(got, one(gh.ParseWebHook("issue_comment", d.body))(t).(*gh.IssueCommentEvent).GetComment().GetID())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEachPushIsAnnouncedOnce pushes with git and writes refs with the API at the same time.
func TestEachPushIsAnnouncedOnce(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	const clients, pushes = 4, 5
	var running sync.WaitGroup
	for c := range clients {
		dir := w.clone(w.user.Token)
		running.Go(func() {
			for p := range pushes {
				name := fmt.Sprintf("refs/tags/git-%d-%d", c, p)
				if out, err := w.git(w.user.Token, dir, "push", "--quiet", "origin", "HEAD:"+name); err != nil {
					t.Errorf("%s: %v %s", name, err, out)
				}
			}
		})
		running.Go(func() {
			for p := range pushes {
				if err := w.PushTag("acme/shop", "ada", fmt.Sprintf("api-%d-%d", c, p), "", ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	times := map[string]int{}
	for _, d := range w.Deliveries(w.app.ID) {
		if d.Event == "push" {
			times[field(t, d.Payload, "ref")]++
		}
	}
	if len(times) != 2*clients*pushes {
		t.Errorf("%d refs announced; want %d", len(times), 2*clients*pushes)
	}
	for ref, n := range times {
		if n != 1 {
			t.Errorf("%s was announced %d times", ref, n)
		}
	}
}
