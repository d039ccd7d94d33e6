//go:build apiserver

package apiserver

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// once fails the test if any visible effect of a Run happened more than once, or not at all.
func (w *world) once(run *v1alpha1.Run) {
	w.t.Helper()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		w.t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
	space := jobs.StackName(run)
	made := map[string]int{
		"the namespace":       record.times("Namespace", "", space),
		"the test Job":        record.times("Job", space, jobs.TestName(evidence.AttemptKey{Suite: "integration", Number: 1}, 1)),
		"the Job migrate":     record.times("Job", space, "migrate"),
		"the backend":         record.times("Deployment", space, "backend"),
		"redis":               record.times("Deployment", space, "redis"),
		"the issue's comment": len(w.github.commentsOn(issueNumber)),
	}
	for _, i := range run.Status.Images {
		made["the build of "+i.Name] = record.times("Job", w.set.Builds.Namespace, i.Job)
	}
	for what, n := range made {
		if n != 1 {
			w.t.Errorf("%s was made %d times", what, n)
		}
	}
	if checks := w.github.checkRuns(); len(checks) == 0 {
		w.t.Error("there is no check run")
	} else {
		for name, c := range checks {
			if strings.Contains(name, "TWICE") || c.Conclusion != "success" {
				w.t.Errorf("check run %s: %s", name, c.Conclusion)
			}
		}
	}
	if left := w.buildThings(run); len(left) > 0 {
		w.t.Errorf("the builds left %s", strings.Join(left, ", "))
	}
}

func TestANewProcessAdoptsWhatItFinds(t *testing.T) {
	for _, h := range append(slices.Clone(halts), reporting) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h.hold(w)
			first := w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			first.kill(t)
			h.release(w)
			w.process()
			w.once(w.until(run, "the run ends with a new process", kept))
		})
	}
}

// afterEach tries, a few at a time, what happens if a process dies after its first effect, its second and so on, until a process survives.
// Fewer than least effects are implausible.
func afterEach(t *testing.T, least int, dies func(t *testing.T, n int) bool) {
	const lanes, most = 6, 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	next, last := 1, most
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		n := next
		next++
		return n, n <= last
	}
	for range lanes {
		wg.Go(func() {
			for n, ok := take(); ok; n, ok = take() {
				t.Run(fmt.Sprintf("effect %d", n), func(t *testing.T) {
					if !dies(t, n) {
						mu.Lock()
						last = min(last, n)
						mu.Unlock()
					}
				})
			}
		})
	}
	wg.Wait()
	if last <= least || last == most {
		t.Errorf("the process is said to have %d effects", last-1)
	}
}

// Whichever effect a process dies after, without learning of it, the next process finishes the Run and no effect happens twice.
func TestAProcessMayDieAfterAnyEffect(t *testing.T) { afterEach(t, 20, diesAfter) }

// diesAfter runs a Run with a process that dies after n effects, then with another. It reports whether the first died.
func diesAfter(t *testing.T, n int) bool {
	w := newWorld(t)
	first := w.process(effects(n))
	run := w.start()
	w.until(run, "the process dies, or the run ends", func(r *v1alpha1.Run) bool { return !first.power.lives() || kept(r) })
	died := !first.power.lives()
	first.kill(t)
	t.Logf("the last effect: %s", first.power.last())
	w.process()
	w.once(w.until(run, "the next process ends the run", kept))
	return died
}

// A Run outlives many processes. The first status is written after about two dozen effects; if no process gets that far, the Run cannot
// make progress.
func TestARunOutlivesProcessesThatDieYoung(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			run := w.start()
			lives := 0
			for ; !kept(w.get(run)) && !t.Failed(); lives++ {
				if lives == 30 {
					t.Fatalf("%d processes were not enough: %+v", lives, w.get(run).Status)
				}
				p := w.process(effects(1 + random.IntN(30)))
				w.until(run, "the process dies, or the run ends", func(r *v1alpha1.Run) bool { return !p.power.lives() || kept(r) })
				p.kill(t)
			}
			t.Logf("%d processes", lives)
			w.once(w.get(run))
		})
	}
}

// Canceling may also be interrupted after any effect: the next process deletes the rest.
func TestAProcessMayDieAfterAnyEffectOfACancel(t *testing.T) {
	afterEach(t, 6, func(t *testing.T, n int) bool {
		w := newWorld(t)
		halts[1].hold(w)
		first := w.process()
		run := w.until(w.start(), "the run gets to building", halts[1].reached)
		first.kill(t)
		w.cancel(run, "")
		second := w.process(effects(n))
		w.until(run, "the process dies, or the run is over", func(r *v1alpha1.Run) bool { return !second.power.lives() || over(r) })
		died := !second.power.lives()
		second.kill(t)
		t.Logf("the last effect: %s", second.power.last())
		w.process()
		run = w.until(run, "the next process ends the run", over)
		if run.Status.Outcome != v1alpha1.OutcomeCanceled || len(w.github.commentsOn(issueNumber)) != 1 {
			t.Errorf("outcome %q, comments %q", run.Status.Outcome, w.github.commentsOn(issueNumber))
		}
		w.nothingLeft(run)
		return died
	})
}

// The Run is changed right before every other write of its status, which then conflicts; that has no visible effect.
func TestConflictsOfStatusWritesAreHarmless(t *testing.T) {
	w := newWorld(t)
	run := w.start()
	var writes atomic.Int64
	w.process(func(p *power) {
		p.before = func(req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/runs/"+run.Name+"/status") && writes.Add(1)%2 == 1 {
				w.poke(run)
			}
		}
	})
	w.once(w.until(run, "the run passes", kept))
	if n := writes.Load(); n < 10 {
		t.Errorf("%d writes of status, half of them refused, are too few to be true", n)
	}
}
