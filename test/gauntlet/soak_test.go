//go:build apiserver

package gauntlet

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestSoak is a month in minutes: rounds of events, after each of which the inbox becomes five days older and the Runs have outlived their
// retention. What a process holds afterwards is what it held after the first rounds.
func TestSoak(t *testing.T) {
	aside(t)
	w := newWorld(t, size(6, 2), func(set map[string]any) {
		set["retention"] = map[string]any{"age": "10s", "perRepository": 5}
	})
	w.start()
	rounds, each := size(6, 3), size(120, 20)
	type usage struct {
		memory, goroutines []int
		objects            int
	}
	var after []usage
	for round := range rounds {
		var all []sent
		for n, k := range deck(each, w.random(uint64(10+round))) {
			all = append(all, w.send(k, w.orgs[n%len(w.orgs)], round*each+n))
		}
		w.settle(all, 3*time.Minute)
		w.within("all deliveries are processed", time.Minute, func() bool { return w.openDeliveries() == 0 })
		u := usage{memory: w.memory(), goroutines: w.goroutines(), objects: len(w.deliveries())}
		t.Logf("round %d: resident memory %v MiB, goroutines %v, %d Deliveries, %d Runs", round, u.memory, u.goroutines, u.objects, len(w.runs()))
		after = append(after, u)
		w.age()
	}
	w.killLeader() // The next one prunes at once, not after a minute.
	w.within("the inbox is empty", time.Minute, func() bool { return len(w.deliveries()) == 0 })
	w.within("old Runs are deleted", 3*time.Minute, func() bool { return len(w.runs()) <= 5*2*len(w.orgs) })
	warm, last := after[1], after[len(after)-1]
	w.isFlat(warm.memory, last.memory)
	for i := range last.goroutines {
		if last.goroutines[i] > warm.goroutines[i]*5/4+20 {
			t.Errorf("%s: %d goroutines, then %d", w.replicas[i].name, warm.goroutines[i], last.goroutines[i])
		}
	}
}

func (w *world) goroutines() (all []int) {
	for _, r := range w.replicas {
		all = append(all, int(r.gauge("go_goroutines")))
	}
	return all
}

// age makes all Deliveries five days older: GitHub cannot redeliver them any more.
func (w *world) age() {
	w.t.Helper()
	for _, d := range w.deliveries() {
		before := d.DeepCopy()
		old := metav1.NewTime(time.Now().Add(-5 * 24 * time.Hour))
		d.Status.ProcessedAt = &old
		w.must(client.IgnoreNotFound(admin.Status().Patch(w.t.Context(), &d, client.MergeFrom(before))))
	}
}
