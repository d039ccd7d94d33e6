//go:build apiserver && long

package apiserver

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The effects after the stack is up: permission to start, the second attempt, the record, its links, the history, the report. A process
// may die after any of them.
func TestAProcessMayDieAfterAnyEffectOfShardsAndRecord(t *testing.T) {
	afterEach(t, 12, func(t *testing.T, n int) bool {
		w := split(t)
		stack := halts[2]
		stack.hold(w)
		first := w.process()
		run := w.until(w.start(), "the run gets to "+stack.name, stack.reached)
		first.kill(t)
		stack.release(w)
		second := w.process(effects(n))
		w.until(run, "the process dies, or the run ends", func(r *v1alpha1.Run) bool { return !second.power.lives() || kept(r) })
		died := !second.power.lives()
		second.kill(t)
		t.Logf("the last effect: %s", second.power.last())
		w.process()
		w.onceSplit(w.until(run, "the next process ends the run", kept), 0)
		return died
	})
}

// Forty kills at random moments, over as many runs as needed.
func TestFortyKillsAtRandomMoments(t *testing.T) {
	const lanes, kills = 5, 8
	seed := uint64(time.Now().UnixNano())
	for lane := range uint64(lanes) {
		t.Run("lane "+strconv.FormatUint(lane, 10), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, lane))
			w := split(t)
			runs := []*v1alpha1.Run{w.start()}
			for range kills {
				p := w.process()
				w.liveFor(time.Duration(random.IntN(1500))*time.Millisecond, runs[len(runs)-1])
				p.kill(t)
				if last := runs[len(runs)-1]; kept(w.get(last)) {
					runs = append(runs, w.start())
				}
			}
			w.process()
			for i := range runs {
				runs[i] = w.until(runs[i], "the run ends with the last process", kept)
			}
			for _, run := range runs {
				w.onceSplit(run, len(runs)-1)
			}
			t.Logf("%d kills in %d runs", kills, len(runs))
		})
	}
}

// liveFor runs a process for a time, or until a Run is over.
func (w *world) liveFor(d time.Duration, run *v1alpha1.Run) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !kept(w.get(run)); {
		time.Sleep(5 * time.Millisecond)
	}
}
