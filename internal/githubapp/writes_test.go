package githubapp

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

func TestCheckRuns(t *testing.T) {
	w := newWorld(t)
	check := v1alpha1.CheckRun{
		Name: "conductor / tests", ExternalID: "run-1/tests", HeadSHA: w.sha, Status: "in_progress",
		Title: "Building", Summary: "3 images", StartedAt: w.Now(), DetailsURL: "https://conductor.example/run-1",
	}
	id := get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check))(t)
	// After a restart only what GitHub has is known.
	check.Status, check.Conclusion, check.CompletedAt = "completed", "failure", w.Now()
	check.Title, check.Text = "2 of 40 failed", strings.Repeat("é", maxCheckText+10)
	restarted := w.open(serverClock{w.Server})
	if again := get(restarted.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check))(t); again != id {
		t.Errorf("check run %d became %d", id, again)
	}
	if again := get(restarted.UpsertCheckRun(t.Context(), w.installation, w.repo, id+999, check))(t); again != id {
		t.Errorf("with an id that is not there: %d became %d", id, again)
	}
	other := check
	other.ExternalID = "run-2/tests"
	if second := get(restarted.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, other))(t); second == id {
		t.Error("another run's check run was taken")
	}
	runs := w.CheckRuns("acme/shop")
	if len(runs) != 2 {
		t.Fatalf("%d check runs", len(runs))
	}
	got := runs[0]
	if n := len([]rune(got.Text)); n != maxCheckText || !strings.HasSuffix(got.Text, truncatedNote) {
		t.Errorf("the text has %d characters", n)
	}
	got.Text = ""
	want := fake.CheckRun{
		ID: id, App: "conductor", Name: check.Name, SHA: w.sha, ExternalID: check.ExternalID, DetailsURL: check.DetailsURL,
		Status: "completed", Conclusion: "failure", Title: check.Title, Summary: "3 images", Annotations: []fake.Annotation{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check run (-want +got):\n%s", diff)
	}
	check.HeadSHA = strings.Repeat("1", 40)
	_, err := w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check)
	if !failure.IsTerminal(err) {
		t.Errorf("a commit that is not there: %v", err)
	}
}

// The answer to a write is lost after GitHub has acted on it: the next attempt finds what is there.
func TestALostAnswerMakesNoDouble(t *testing.T) {
	for name, fault := range map[string]fake.Fault{
		"connection": {Drop: true, After: true, Times: 1, Method: http.MethodPost},
		"502":        {Status: http.StatusBadGateway, After: true, Times: 1, Method: http.MethodPost},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			furnish(t, w)
			check := v1alpha1.CheckRun{Name: "c", ExternalID: "x", HeadSHA: w.sha, Status: "queued"}
			fault.Path = "/repos/*/*/check-runs"
			w.Inject(fault)
			_, err := w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check)
			wantFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
			id := get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check))(t)
			if runs := w.CheckRuns("acme/shop"); len(runs) != 1 || runs[0].ID != id || w.operations(opCreateCheck) != 1 {
				t.Errorf("%d check runs, %d posts", len(runs), w.operations(opCreateCheck))
			}
			const mark, body = "<!-- conductor run-1 -->", "under way <!-- conductor run-1 -->"
			fault.Path = "/repos/*/*/issues/*/comments"
			w.Inject(fault)
			_, err = w.client.UpsertComment(t.Context(), w.installation, w.repo, 1, 0, mark, body)
			wantFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
			get(w.client.UpsertComment(t.Context(), w.installation, w.repo, 1, 0, mark, body))(t)
			if n := len(get(w.Issue("acme/shop", 1))(t).Comments); n != 2 || w.operations(opCreateComment) != 1 {
				t.Errorf("%d comments besides the person's, %d posts", n-1, w.operations(opCreateComment))
			}
		})
	}
}

func TestComments(t *testing.T) {
	w := newWorld(t)
	issue := get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	const mark = "<!-- conductor run-1 -->"
	forged := get(w.Comment("acme/shop", "bob", issue, "look: "+mark))(t)
	upsert := func(c *Client, id int64, body string) int64 {
		t.Helper()
		return get(c.UpsertComment(t.Context(), w.installation, w.repo, issue, id, mark, body+mark))(t)
	}
	talk := func(n int) {
		for i := range n {
			get(w.Comment("acme/shop", "bob", issue, fmt.Sprint(i)))(t)
		}
	}
	talk(perPage)
	id := upsert(w.client, 0, "queued")
	// Now it is on the second of four pages, neither the first nor the last.
	talk(2 * perPage)
	if id == forged {
		t.Fatal("a person's comment was taken for ours")
	}
	restarted := w.open(serverClock{w.Server})
	if again := upsert(restarted, 0, "building"); again != id {
		t.Errorf("comment %d became %d", id, again)
	}
	if again := upsert(w.client, id, "passed"); again != id {
		t.Errorf("comment %d became %d", id, again)
	}
	before := w.operations(opUpdateComment)
	upsert(restarted, 0, "passed")
	if w.operations(opUpdateComment) != before {
		t.Error("a comment that says so already was written again")
	}
	must(t, w.DeleteComment("acme/shop", "ada", issue, id))
	fresh := upsert(w.client, id, "passed")
	if fresh == id || upsert(w.client, id, "passed") != fresh {
		t.Errorf("after somebody deleted it: %d", fresh)
	}
	comments := map[string]int{}
	for _, c := range get(w.Issue("acme/shop", issue))(t).Comments {
		comments[c.Author]++
	}
	if diff := cmp.Diff(map[string]int{"bob": 3*perPage + 1, w.app.Bot: 1}, comments); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
	long := get(w.client.UpsertComment(t.Context(), w.installation, w.repo, issue, fresh, mark, strings.Repeat("日", maxCheckText)+mark))(t)
	if long != fresh {
		t.Errorf("a long text went to %d", long)
	}
	_, err := w.client.UpsertComment(t.Context(), w.installation, w.repo, 999, 0, mark, mark)
	wantFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
}

// A report quotes what a test printed, and a test can print the mark of another run's comment.
func TestAMarkInAQuotedLogIsNotACommentsOwn(t *testing.T) {
	w := newWorld(t)
	issue := get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	upsert := func(mark, text string) int64 {
		t.Helper()
		return get(w.open(serverClock{w.Server}).UpsertComment(t.Context(), w.installation, w.repo, issue, 0, mark, mark+"\n"+text))(t)
	}
	const mine, other = "<!-- conductor:run=mine -->", "<!-- conductor:run=other -->"
	quoting := upsert(mine, "The log ends with\n```\n"+other+"\n```")
	named := upsert(other, "queued")
	if named == quoting {
		t.Fatal("the comment that quotes a mark was overwritten")
	}
	if again := upsert(other, "passed"); again != named {
		t.Errorf("comment %d became %d", named, again)
	}
	if again := upsert(mine, "passed"); again != quoting {
		t.Errorf("comment %d became %d", quoting, again)
	}
}

// After the first page, the newest pages are read first.
func TestTheNewestCommentsAreSearchedFirst(t *testing.T) {
	w := newWorld(t)
	issue := get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	for i := range 4*perPage + 1 {
		get(w.Comment("acme/shop", "bob", issue, fmt.Sprint(i)))(t)
	}
	const mark = "<!-- m -->"
	id := get(w.client.UpsertComment(t.Context(), w.installation, w.repo, issue, 0, mark, mark))(t)
	w.ResetRequests()
	if again := get(w.open(serverClock{w.Server}).UpsertComment(t.Context(), w.installation, w.repo, issue, 0, mark, mark+"2"))(t); again != id {
		t.Errorf("comment %d became %d", id, again)
	}
	if n := w.operations(opListComments); n != 2 {
		t.Errorf("%d pages were read, want the first and the last", n)
	}
}

func TestReactTwiceIsOnce(t *testing.T) {
	w := newWorld(t)
	issue := get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(t)
	id := get(w.Comment("acme/shop", "ada", issue, "/conductor test"))(t)
	for range 2 {
		must(t, w.client.React(t.Context(), w.installation, w.repo, id, "eyes"))
	}
	if got := get(w.Issue("acme/shop", issue))(t).Comments[0].Reactions; !cmp.Equal(got, []string{"eyes by " + w.app.Bot}) {
		t.Errorf("reactions: %v", got)
	}
}
