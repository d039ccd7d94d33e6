//go:build apiserver

package gauntlet

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCopies sends each delivery three times, shuffled and side by side, to both replicas. Comments come also from a second hook, under
// another GUID, as from an organization and its repository. All of them are in GitHub's log as failed, too.
func TestCopies(t *testing.T) {
	aside(t)
	w := newWorld(t, size(10, 2))
	events := size(300, 40)
	w.must(w.github.LoseDeliveries(w.app.ID, 10*events))
	var all []sent
	for n, k := range deck(events, w.random(3)) {
		all = append(all, w.send(k, w.orgs[n%len(w.orgs)], n))
	}
	var hooks []hook
	for _, d := range w.github.Deliveries(w.app.ID) {
		if d.Event != "push" && d.Event != "issue_comment" {
			continue
		}
		for range 3 {
			hooks = append(hooks, hookOf(d))
		}
		if other := hookOf(d); d.Event == "issue_comment" {
			other.guid = newGUID()
			hooks = append(hooks, other)
		}
	}
	random := w.random(4)
	random.Shuffle(len(hooks), func(i, j int) { hooks[i], hooks[j] = hooks[j], hooks[i] })
	w.start()
	began := time.Now()
	refused := w.pour(hooks, 16)
	took := time.Since(began)
	w.settle(all, 3*time.Minute)
	t.Logf("%d events in %d requests in %s; %d not answered with 202", len(all), len(hooks), took.Round(time.Millisecond), refused)
	if refused > 0 {
		t.Errorf("%d requests were not answered with 202", refused)
	}
}

// pour sends requests side by side, each to one of the replicas in turn. It returns how many were not answered with 202.
func (w *world) pour(hooks []hook, lanes int) (refused int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range lanes {
		wg.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				mu.Unlock()
				if n >= len(hooks) {
					return
				}
				if status := w.post(w.replicas[n%2], hooks[n]); status != 202 {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return refused
}

// TestMissed starts Conductor after its address was away. Every delivery since is in GitHub's log, most of a kind that it does not
// handle. The number of requests is bounded, and the commands of an issue are answered in their order.
func TestMissed(t *testing.T) {
	missed, handled, commands := size(7000, 700), size(270, 54), size(90, 18)
	aside(t)
	w := newWorld(t, size(9, 3))
	w.must(w.github.LoseDeliveries(w.app.ID, 2*missed))
	var issues []sent
	for _, o := range w.orgs {
		n, err := w.github.CreateIssue(o.broken, o.writer.Login, "Missed", "It does not work.")
		w.must(err)
		id, err := w.github.Comment(o.broken, o.writer.Login, n, "Hello") // One of the handled ones.
		w.must(err)
		issues = append(issues, sent{repo: o.broken, issue: n, comment: id})
	}
	var all []sent
	asked := map[string][]string{}
	for n := range missed - len(issues) {
		o, issue := w.orgs[n%len(w.orgs)], issues[n%len(w.orgs)]
		switch {
		case n < commands:
			id, err := w.github.Comment(o.broken, o.writer.Login, issue.issue, []string{"/conductor cancel", "/conductor help"}[n/len(w.orgs)%2])
			w.must(err)
			asked[at(o.broken, issue.issue)] = append(asked[at(o.broken, issue.issue)], itoa(id))
		case n < commands+len(w.orgs): // A tag in each repository; the push of its commit is handled, too.
			all = append(all, w.send(kinds[0], o, n))
		case n < handled-3*len(w.orgs)+len(w.orgs):
			_, err := w.github.Comment(o.broken, o.writer.Login, issue.issue, "Talk")
			w.must(err)
		default:
			w.must(w.github.EditComment(o.broken, o.writer.Login, issue.issue, issue.comment, "Hello "+itoa(int64(n))))
		}
	}
	log := w.github.Deliveries(w.app.ID)
	relevant := 0
	for _, d := range log {
		if d.Event == "push" || d.Event == "issue_comment" && d.Action == "created" {
			relevant++
		}
	}
	w.github.ResetRequests()
	began := time.Now()
	w.start()
	w.settle(all, 3*time.Minute)
	w.within("all commands are answered", time.Minute, func() bool { return w.repliesInOrder(asked) == "" })
	calls := 0
	for _, r := range w.github.Requests() {
		if strings.HasPrefix(r.Path, "/app/hook/deliveries") {
			calls++
		}
	}
	limit := (len(log)+99)/100 + relevant + 5
	t.Logf("%d missed, %d of a handled kind, %d commands: %d calls of at most %d, %s", len(log), relevant, commands, calls, limit,
		time.Since(began).Round(time.Second))
	if calls > limit {
		t.Errorf("%d calls for GitHub's log, want at most %d", calls, limit)
	}
}

// repliesInOrder returns what is wrong with the replies to commands, by issue; "" if each has one, in order.
func (w *world) repliesInOrder(asked map[string][]string) string {
	for where, ids := range asked {
		repo, number, _ := strings.Cut(where, "#")
		var got []string
		for _, body := range w.commentsOf(repo, int(atoi(number))) {
			if m := replyMark.FindStringSubmatch(body); m != nil {
				got = append(got, m[1])
			}
		}
		if strings.Join(got, " ") != strings.Join(ids, " ") {
			return where + ": " + strings.Join(got, " ") + ", want " + strings.Join(ids, " ")
		}
	}
	return ""
}
