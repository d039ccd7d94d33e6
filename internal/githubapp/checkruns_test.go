package githubapp

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

// annotated is a check run that ended with so many annotations.
func annotated(w *world, n int) v1alpha1.CheckRun {
	c := v1alpha1.CheckRun{
		Name: "conductor / tests", ExternalID: "run-1/tests", HeadSHA: w.sha, Status: "completed", Conclusion: "failure",
		Title: "failed", Summary: "many", Text: "all of them", StartedAt: w.Now(), CompletedAt: w.Now(),
	}
	for i := range n {
		c.Annotations = append(c.Annotations, v1alpha1.Annotation{
			Path: "deploy/run.sh", StartLine: i + 1, EndLine: i + 1, Level: "failure", Title: fmt.Sprint("case ", i), Message: "no", RawDetails: "because",
		})
	}
	return c
}

// wantAnnotations reports whether GitHub has each of the check run's annotations once, in order.
func wantAnnotations(t *testing.T, w *world, c v1alpha1.CheckRun) {
	t.Helper()
	runs := w.CheckRuns("acme/shop")
	if len(runs) != 1 {
		t.Fatalf("%d check runs", len(runs))
	}
	want := []fake.Annotation{}
	for _, a := range c.Annotations {
		want = append(want, fake.Annotation{
			Path: a.Path, StartLine: a.StartLine, EndLine: a.EndLine, Level: a.Level, Message: a.Message, Title: a.Title, RawDetails: a.RawDetails,
		})
	}
	if diff := cmp.Diff(want, runs[0].Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if runs[0].Conclusion != "failure" || runs[0].Text != c.Text {
		t.Errorf("the check run lost something: %+v", runs[0])
	}
}

func TestAnnotationsAreSentOnceInBatches(t *testing.T) {
	w := newWorld(t)
	check := annotated(w, 120)
	running := check
	running.Status, running.Conclusion = "in_progress", ""
	id := get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, running))(t)
	if n := len(w.CheckRuns("acme/shop")[0].Annotations); n != 0 {
		t.Fatalf("%d annotations before the end", n)
	}
	w.ResetRequests()
	for range 3 {
		get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, id, check))(t)
		wantAnnotations(t, w, check)
	}
	// One update and three batches, then two updates.
	if n := w.operations(opUpdateCheck); n != 6 {
		t.Errorf("%d updates", n)
	}
	// A process that knows nothing of it finds it, and what it knows more of is added.
	more := annotated(w, 130)
	if again := get(w.open(serverClock{w.Server}).UpsertCheckRun(t.Context(), w.installation, w.repo, 0, more))(t); again != id {
		t.Errorf("check run %d became %d", id, again)
	}
	wantAnnotations(t, w, more)
	// One that knows less takes nothing away.
	get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, id, annotated(w, 10)))(t)
	wantAnnotations(t, w, more)
}

func TestACheckRunThatIsCreatedCompletedIsAnnotated(t *testing.T) {
	for _, n := range []int{0, 1, 50, 51, 100} {
		w := newWorld(t)
		check := annotated(w, n)
		get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check))(t)
		wantAnnotations(t, w, check)
		if got, want := w.operations(opUpdateCheck), (n+49)/50; got != want {
			t.Errorf("%d annotations in %d updates, want %d", n, got, want)
		}
	}
}

// The answer to any one of the writes is lost, after GitHub has acted on it or before.
func TestALostAnswerDoublesNoAnnotation(t *testing.T) {
	for _, after := range []bool{true, false} {
		for lost := range 4 {
			t.Run(fmt.Sprint(lost, after), func(t *testing.T) {
				w := newWorld(t)
				check := annotated(w, 120)
				seen := 0
				w.Inject(fake.Fault{Status: http.StatusBadGateway, After: after, Times: 1, Match: func(r *http.Request) bool {
					if r.Method != http.MethodPost && r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/check-runs") {
						return false
					}
					seen++
					return seen == lost+1
				}})
				_, err := w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check)
				wantFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
				get(w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check))(t)
				wantAnnotations(t, w, check)
			})
		}
	}
}

// uncounted is a GitHub whose answers never count an annotation.
type uncounted struct{ http.RoundTripper }

var count = regexp.MustCompile(`"annotations_count":\s*\d+`)

func (u uncounted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodPatch {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	body = count.ReplaceAll(body, []byte(`"annotations_count":0`))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, err
}

func TestAnnotationsThatAreNotAddedEndTheAttempt(t *testing.T) {
	w := newWorld(t)
	w.client.transport = uncounted{w.client.transport}
	_, err := w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, annotated(w, 120))
	wantFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable)
	if n := w.operations(opUpdateCheck); n != 1 {
		t.Errorf("%d updates", n)
	}
}
