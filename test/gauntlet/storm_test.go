//go:build apiserver

package gauntlet

import (
	"context"
	"testing"
	"time"
)

// TestStorm sends events to two replicas of which a random one is killed at random moments. The sender does not retry: what was not
// answered is in GitHub's log.
func TestStorm(t *testing.T) {
	aside(t)
	events, pace := size(1000, 60), time.Duration(size(110, 200))*time.Millisecond
	w := newWorld(t, size(25, 2), func(set map[string]any) {
		set["triggers"] = map[string]any{"pollInterval": "20s"} // The poll finds tags whose delivery is late: it must not run them again.
	})
	w.start()
	ctx, cancel := context.WithCancel(t.Context())
	kills := make(chan int, 1)
	go func() { kills <- w.storm(ctx) }()
	random := w.random(3)
	var all []sent
	began := time.Now()
	repeated := 0
	for n, k := range deck(events, random) {
		all = append(all, w.send(k, w.orgs[n%len(w.orgs)], n))
		if random.IntN(5) == 0 { // A person presses "Redeliver" on something that was delivered.
			if past := w.github.Deliveries(w.app.ID); len(past) > 0 {
				w.must(w.github.Redeliver(w.app.ID, past[random.IntN(len(past))].ID))
				repeated++
			}
		}
		time.Sleep(time.Until(began.Add(time.Duration(n+1) * pace)))
	}
	took := time.Since(began)
	cancel()
	killed := <-kills
	// A new leader reads GitHub's log at once.
	if !full {
		w.killLeader()
	}
	settled := time.Now()
	w.settle(all, 4*time.Minute)
	t.Logf("%d events and %d redeliveries in %s, %d kills, %d requests not answered with 202, %d exits; settled after %s", len(all), repeated,
		took.Round(time.Second), killed, w.door.failed.Load(), w.exits(), time.Since(settled).Round(time.Second))
	if killed == 0 || w.door.failed.Load() == 0 {
		t.Error("nothing was lost on the way: this test shows nothing")
	}
}

// killLeader kills the replica that leads, once one does.
func (w *world) killLeader() {
	w.t.Helper()
	var l *replica
	w.within("a replica leads", time.Minute, func() bool { l = w.leader(); return l != nil })
	l.signal(9)
}

func (w *world) exits() (n int) {
	for _, r := range w.replicas {
		n += r.exits()
	}
	return n
}
