package githubapp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Whatever is tried when, no interval has more than GitHub allows, and writes that matter more do not wait for the others.
func TestNoIntervalHasMoreThanTheLimits(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	l, now := newLimits(), noon
	var all, creates uses
	var refused [4]int
	for range 40_000 {
		now = now.Add(time.Duration(chance.IntN(600)) * time.Millisecond)
		w := write{key: fmt.Sprint(chance.Int()), priority: v1alpha1.WritePriority(chance.IntN(4)), creates: chance.IntN(4) == 0}
		if at := l.admit(now, w); !at.IsZero() {
			if !at.After(now) {
				t.Fatalf("a refused write may be tried at %s, and it is %s", at, now)
			}
			refused[w.priority]++
			continue
		}
		all = append(all, now)
		if w.creates {
			creates = append(creates, now)
		}
		for _, c := range []struct {
			name string
			used uses
			rate
		}{
			{"writes a minute", all, rate{160, time.Minute}}, {"creates a minute", creates, rate{70, time.Minute}}, {"creates an hour", creates, rate{450, time.Hour}},
		} {
			if n := c.used[max(0, len(c.used)-500):].since(now, c.per); n > c.most {
				t.Fatalf("%d %s", n, c.name)
			}
		}
	}
	if refused[v1alpha1.WriteConclusion] >= refused[v1alpha1.WriteProgress] || refused[v1alpha1.WriteProgress] >= refused[v1alpha1.WriteReaction] {
		t.Errorf("refused by priority: %v", refused)
	}
	if len(l.writes) > writesPerMinute || len(l.creates) > createsPerHour || len(l.waiting) > maxTickets {
		t.Errorf("%d writes, %d creates and %d tickets are kept", len(l.writes), len(l.creates), len(l.waiting))
	}
}

// Writes that are tried again at their times all succeed, in the order of their priorities, and one that is tried early keeps its place.
func TestWritesGetTheirTurn(t *testing.T) {
	l, now := newLimits(), noon
	l.block(now, now.Add(time.Minute))
	due := map[write]time.Time{}
	for i := range 200 {
		for p := v1alpha1.WriteConclusion; p <= v1alpha1.WriteResult; p++ {
			due[write{key: fmt.Sprint(p, i), priority: p}] = now
		}
	}
	last := map[v1alpha1.WritePriority]time.Duration{}
	tries := 0
	for ; len(due) > 0; now = now.Add(time.Second) {
		for p := v1alpha1.WriteConclusion; p <= v1alpha1.WriteResult; p++ {
			for w, at := range due {
				early := at.After(now)
				if w.priority != p || early && rand.IntN(50) > 0 {
					continue
				}
				tries++
				next := l.admit(now, w)
				switch {
				case next.IsZero():
					delete(due, w)
					last[p] = now.Sub(noon)
				case early && !next.Equal(at):
					t.Fatalf("%v was to be tried at %s, and tried early at %s", w, at, next)
				default:
					due[w] = next
				}
			}
		}
		if now.Sub(noon) > time.Hour {
			t.Fatalf("%d writes wait", len(due))
		}
	}
	// 400 writes are three minutes of 160.
	if last[v1alpha1.WriteConclusion] > 2*time.Minute || last[v1alpha1.WriteResult] > 3*time.Minute+2*ticketGrace {
		t.Errorf("the last conclusion came after %s, the last result after %s", last[v1alpha1.WriteConclusion], last[v1alpha1.WriteResult])
	}
	t.Logf("conclusions after %s, results after %s, %d tries", last[v1alpha1.WriteConclusion], last[v1alpha1.WriteResult], tries)
}

// While a limit is in force, no request of the installation is sent, and those of others are.
func TestABlockedInstallationSendsNothing(t *testing.T) {
	w := newWorld(t)
	furnish(t, w)
	get(w.CreateRepository("bob/other", fake.RepositoryOptions{Files: map[string]string{"f": "1"}}))(t)
	other := get(w.InstallApp(w.app.ID, "bob", fake.InstallOptions{}))(t)
	_, err := w.client.Permission(t.Context(), w.installation, w.repo, "bob") // The token is there.
	must(t, err)
	w.Throttle(w.installation, time.Minute)
	w.ResetRequests()
	tries := []func() error{
		func() error { _, err := w.client.Permission(t.Context(), w.installation, w.repo, "bob"); return err },
		func() error { _, err := w.client.Tags(t.Context(), w.installation, w.repo, "x"); return err },
		func() error { return checkout(t.Context(), t, w.client, w.installation, w.repo, w.sha, t.TempDir()) },
		func() error {
			_, err := w.client.UpsertComment(t.Context(), w.installation, w.repo, 1, 0, "<!-- m -->", "<!-- m -->")
			return err
		},
	}
	sent := func() int {
		return w.Most(time.Hour, func(r fake.Request) bool { return r.Installation == w.installation })
	}
	for i, try := range tries {
		f := wantFailure(t, try(), failure.Waiting, v1alpha1.ReasonUnavailable)
		if f.After < 59*time.Second || f.After > time.Minute {
			t.Errorf("try %d waits %s", i, f.After)
		}
	}
	if n := sent(); n != 1 {
		t.Errorf("%d requests were sent, want the one that was refused", n)
	}
	_, err = w.client.Tags(t.Context(), other, v1alpha1.Repository{Owner: "bob", Name: "other"}, "x")
	must(t, err)
	w.Advance(time.Minute)
	for _, try := range tries {
		must(t, try())
	}
}

func TestWaitsForALimit(t *testing.T) {
	const secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
	reset := func(d time.Duration) string { return fmt.Sprint(noon.Add(d).Unix()) }
	for _, tc := range []struct {
		name   string
		code   int
		header map[string]string
		text   string
		waits  []time.Duration
	}{
		{"Retry-After", 403, map[string]string{"Retry-After": "60"}, secondary, []time.Duration{time.Minute, time.Minute, time.Minute}},
		{"Retry-After and the primary reset", 429, map[string]string{"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(time.Hour)}, "",
			[]time.Duration{time.Hour, 7 * time.Second}},
		{"no time, far from the primary limit", 403, map[string]string{"X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": reset(50 * time.Minute)}, secondary,
			[]time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour}},
		{"429 without a time", 429, nil, "", []time.Duration{time.Minute, 2 * time.Minute}},
		{"the primary limit", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(20 * time.Minute)}, "API rate limit exceeded",
			[]time.Duration{20 * time.Minute}},
		{"the last request", 200, map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(20 * time.Minute)}, "",
			[]time.Duration{0, 20 * time.Minute}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fine := false
			s, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tc.header {
					w.Header().Set(name, value)
				}
				if fine || tc.code == http.StatusOK {
					fmt.Fprint(w, `[]`)
					return
				}
				says(w, tc.code, tc.text)
			})
			s.clock.SetTime(noon)
			for i, want := range tc.waits {
				_, err := gh.Protected(t.Context(), 1, shop, sha)
				if want == 0 {
					must(t, err)
					continue
				}
				f := wantFailure(t, err, failure.Waiting, v1alpha1.ReasonUnavailable)
				if f.After != want {
					t.Errorf("try %d: wait %s, want %s", i+1, f.After, want)
				}
				sent := len(s.requests())
				s.clock.SetTime(s.clock.Now().Add(f.After - time.Second))
				if _, err := gh.Protected(t.Context(), 1, shop, sha); failure.Of(err) == nil || failure.Of(err).After != time.Second || len(s.requests()) != sent {
					t.Errorf("a second before: %v, %d requests more", err, len(s.requests())-sent)
				}
				s.clock.SetTime(s.clock.Now().Add(time.Second))
			}
			fine, tc.header = true, nil
			s.clock.SetTime(s.clock.Now().Add(time.Hour))
			_, err := gh.Protected(t.Context(), 1, shop, sha)
			must(t, err)
			if n := gh.limitsOf(1).strikes; n != 0 {
				t.Errorf("%d strikes after a success", n)
			}
		})
	}
}

// Refusals of requests that were under way together count once.
func TestOneLimitIsOneStrike(t *testing.T) {
	l := newLimits()
	for range 5 {
		l.strike(noon)
	}
	if at := l.blockedUntil(noon); !at.Equal(noon.Add(time.Minute)) {
		t.Errorf("blocked until %s", at)
	}
}

// Near the end of the primary limit, the rest is for results.
func TestProgressWaitsForThePrimaryLimit(t *testing.T) {
	for _, tc := range []struct {
		left     int
		priority v1alpha1.WritePriority
		waits    bool
	}{
		{499, v1alpha1.WriteProgress, true}, {499, v1alpha1.WriteReaction, true}, {499, v1alpha1.WriteResult, false}, {500, v1alpha1.WriteProgress, false},
	} {
		l := newLimits()
		l.note(noon, 5000, tc.left, noon.Add(20*time.Minute))
		if at := l.admit(noon, write{priority: tc.priority}); at.IsZero() == tc.waits {
			t.Errorf("%+v: %s", tc, at)
		}
	}
}

func TestHasRoom(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write write
		count int
		want  bool
	}{
		{"nothing written", write{}, 0, true},
		{"updates", write{}, 100, true},
		{"almost half of a minute", write{creates: true}, createsPerMinute/2 - 1, true},
		{"half of a minute", write{creates: true}, createsPerMinute / 2, false},
		{"reactions", write{creates: true, priority: v1alpha1.WriteReaction}, earlyPerMinute, false},
	} {
		clock := testclock.NewFakePassiveClock(noon)
		_, gh := newStub(t, nil)
		gh.clock = clock
		for i := range tc.count {
			tc.write.key = fmt.Sprint(i)
			if at := gh.limitsOf(1).admit(noon, tc.write); !at.IsZero() {
				t.Fatalf("%s: write %d waits until %s", tc.name, i, at)
			}
		}
		if got := gh.HasRoom(1); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
		if !gh.HasRoom(2) {
			t.Errorf("%s: another installation has no room", tc.name)
		}
		clock.SetTime(noon.Add(time.Minute))
		if !gh.HasRoom(1) {
			t.Errorf("%s: a minute later there is no room", tc.name)
		}
		gh.limitsOf(1).block(noon, noon.Add(2*time.Minute))
		if gh.HasRoom(1) {
			t.Errorf("%s: there is room in a block", tc.name)
		}
	}
}

func TestTheLimitsOfFewInstallationsAreKept(t *testing.T) {
	s, gh := newStub(t, nil)
	for id := range int64(2 * maxInstallations) {
		s.clock.SetTime(s.clock.Now().Add(time.Second))
		gh.limitsOf(1 + id)
		gh.limitsOf(1).blockedUntil(s.clock.Now())
	}
	known := map[int64]bool{}
	for _, l := range gh.Limits() {
		known[l.Installation] = true
	}
	if len(known) != maxInstallations || !known[1] || !known[2*maxInstallations] || known[2] {
		t.Errorf("%d are known; the first: %t, the latest: %t, the second: %t", len(known), known[1], known[2*maxInstallations], known[2])
	}
}

// A write waits for the one before it, but not for long, and its caller can give up.
func TestWritesTakeTurns(t *testing.T) {
	l := newLimits()
	must(t, takeTurn(t.Context(), l, time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := takeTurn(ctx, l, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled caller: %v", err)
	}
	wantFailure(t, takeTurn(t.Context(), l, time.Millisecond), failure.Waiting, v1alpha1.ReasonUnavailable)
	<-l.writing
	must(t, takeTurn(t.Context(), l, time.Millisecond))
}

// A refused write is counted only when it is sent, and a body of a request that is not sent is closed.
func TestLimitsOnWritesBeforeTheyAreSent(t *testing.T) {
	s, gh := newStub(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":7}`) })
	s.clock.SetTime(noon)
	update := func(i int) error {
		_, err := gh.UpsertCheckRun(t.Context(), 1, shop, 7, v1alpha1.CheckRun{Name: "c", ExternalID: fmt.Sprint(i), HeadSHA: sha, Status: "in_progress"})
		return err
	}
	most := writesPerMinute * 75 / 100
	for i := range most {
		must(t, update(i))
	}
	f := wantFailure(t, update(most), failure.Waiting, v1alpha1.ReasonUnavailable)
	if f.After != time.Minute || !strings.Contains(f.Sentence, "12:01 UTC") || len(s.requests()) != most {
		t.Errorf("%s after %s, %d requests", f.Sentence, f.After, len(s.requests()))
	}
	if _, err := gh.UpsertCheckRun(t.Context(), 1, shop, 7, v1alpha1.CheckRun{Name: "c", HeadSHA: sha, Status: "completed", Conclusion: "success"}); err != nil {
		t.Errorf("a conclusion waits for progress: %v", err)
	}
}

// An archive is on another host. Its limit ends no run, and does not concern the API.
func TestALimitOfTheArchiveHost(t *testing.T) {
	elsewhere, _ := newStub(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	_, gh := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "tarball") {
			http.Redirect(w, r, elsewhere.URL+"/archive", http.StatusFound)
			return
		}
		fmt.Fprint(w, `[]`)
	})
	f := wantFailure(t, checkout(t.Context(), t, gh, 1, shop, sha, t.TempDir()), failure.Waiting, v1alpha1.ReasonUnavailable)
	if f.After != time.Minute {
		t.Errorf("wait %s", f.After)
	}
	_, err := gh.Protected(t.Context(), 1, shop, sha)
	must(t, err)
}

// BenchmarkPacing is what the limits add to each write: with room, and with a thousand writes that wait.
func BenchmarkPacing(b *testing.B) {
	for _, waiting := range []int{0, 1000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			_, gh := newStub(b, nil)
			l, now := gh.limitsOf(1), noon
			if waiting > 0 {
				l.block(now, now.Add(maxPause))
				for i := range waiting {
					l.admit(now, write{key: fmt.Sprint(i)})
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if waiting == 0 {
					now = now.Add(time.Minute)
				}
				gh.limitsOf(1).admit(now, write{key: "one", creates: i%2 == 0})
			}
		})
	}
}

// BenchmarkClient is a go-github client, which is made for each request.
func BenchmarkClient(b *testing.B) {
	_, gh := newStub(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		gh.client(1)
	}
}
