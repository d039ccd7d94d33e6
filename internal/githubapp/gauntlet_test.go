package githubapp

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

// 200 runs finish at once. By GitHub's own count no limit is exceeded, every conclusion and every result is there in the end, once.
func TestFinishingRunsStayWithinTheLimits(t *testing.T) {
	const runs = 200
	w := newWorld(t)
	furnish(t, w)
	w.ResetRequests()
	type final struct {
		post func() error
		due  time.Time
	}
	var open []*final
	began := w.Now()
	for i := range runs {
		name := fmt.Sprintf("run-%d", i)
		mark := fmt.Sprintf("<!-- conductor:run=%s -->", name)
		open = append(open, &final{due: began, post: func() error {
			_, err := w.client.UpsertComment(t.Context(), w.installation, w.repo, 1, 0, mark, mark+"\npassed")
			return err
		}}, &final{due: began, post: func() error {
			check := v1alpha1.CheckRun{Name: name, ExternalID: name, HeadSHA: w.sha, Status: "completed", Conclusion: "success", Title: "passed", Summary: "passed"}
			_, err := w.client.UpsertCheckRun(t.Context(), w.installation, w.repo, 0, check)
			return err
		}})
	}
	for len(open) > 0 {
		now := w.Now()
		if now.Sub(began) > 10*time.Minute {
			t.Fatalf("%d final states are not on GitHub after %s", len(open), now.Sub(began))
		}
		var later []*final
		for _, f := range open {
			if !f.due.After(now) {
				err := f.post()
				if err == nil {
					continue
				}
				f.due = now.Add(wantFailure(t, err, failure.Waiting, v1alpha1.ReasonUnavailable).After)
			}
			later = append(later, f)
		}
		open = later
		w.Advance(time.Second)
	}
	isContent := func(r fake.Request) bool { return r.Installation == w.installation && r.Content }
	if minute, hour := w.Most(time.Minute, isContent), w.Most(time.Hour, isContent); minute > fake.ContentPerMinute || hour != 2*runs {
		t.Errorf("%d creates in a minute, %d in an hour", minute, hour)
	}
	for _, r := range w.Requests() {
		if r.Status >= 400 {
			t.Errorf("%s: %d", r.Operation, r.Status)
		}
	}
	concluded := map[string]int{}
	for _, c := range w.CheckRuns("acme/shop") {
		concluded[c.Name]++
	}
	if len(concluded) != runs || len(w.CheckRuns("acme/shop")) != runs {
		t.Errorf("%d check runs of %d runs", len(w.CheckRuns("acme/shop")), len(concluded))
	}
	if n := w.operations("POST /repos/{owner}/{repo}/issues/{issue_number}/comments"); n != runs {
		t.Errorf("%d comments", n)
	}
}

// A poll that finds nothing new costs nothing of the primary limit.
func TestAnUnchangedPollCostsNothing(t *testing.T) {
	w := newWorld(t)
	furnish(t, w)
	poll := func() {
		must(t, w.client.Repositories(t.Context(), func(installation int64, repo v1alpha1.Repository) error {
			_, err := w.client.Tags(t.Context(), installation, repo, "annotated")
			return err
		}))
	}
	poll()
	left := w.client.limitsOf(w.installation).left
	w.ResetRequests()
	for range 5 {
		poll()
	}
	reads := 0
	for _, r := range w.Requests() {
		if r.Installation != w.installation {
			continue
		}
		if reads++; r.Status != 304 {
			t.Errorf("%s: %d", r.Operation, r.Status)
		}
	}
	if now := w.client.limitsOf(w.installation).left; reads != 10 || now != left || left == 0 {
		t.Errorf("%d reads; %d requests were left before, %d after", reads, left, now)
	}
}

func TestTheMetricsOfLimits(t *testing.T) {
	s, gh := newStub(t, nil)
	s.clock.SetTime(noon)
	l := gh.limitsOf(7)
	l.note(noon, 5000, 4321, noon.Add(time.Hour))
	l.block(noon, noon.Add(90*time.Second))
	l.admit(noon, write{key: "one"})
	reg := prometheus.NewPedanticRegistry()
	must(t, reg.Register(gh.Collector()))
	got := map[string]float64{}
	for _, family := range get(reg.Gather())(t) {
		for _, m := range family.GetMetric() {
			got[family.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"conductor_github_blocked_seconds 7": 90, "conductor_github_requests_left 7": 4321, "conductor_github_writes_waiting 7": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
