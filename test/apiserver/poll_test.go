//go:build apiserver

package apiserver

import (
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// polling starts a process whose GitHub has one repository with some tags, and polls it once.
func (w *world) polling(tags ...string) *process {
	w.t.Helper()
	w.noRuns()
	for _, t := range tags {
		w.github.setTag(t, strings.Repeat("a", 40))
	}
	p := w.poller()
	w.github.repos = []v1alpha1.Repository{acme}
	w.poll(p, 0)
	return p
}

// poller starts a process and waits for its own first poll, which finds no repository.
func (w *world) poller() *process {
	w.t.Helper()
	repos := w.github.repos
	w.github.repos = nil
	before := w.github.count("Repositories")
	p := w.process()
	w.eventually("the first poll", func() bool { return w.github.count("Repositories") > before })
	w.github.repos = repos
	return p
}

// poll compares the tags after a while.
func (w *world) poll(p *process, after time.Duration) {
	w.t.Helper()
	w.clock.advance(after)
	w.must(p.poller.Poll(w.t.Context()))
}

func TestTagsWhosePushMadeNoEventAreFound(t *testing.T) {
	w := newWorld(t)
	p := w.polling("run-integration-tests", "run-integration-tests/7", "v1")
	w.poll(p, 10*time.Minute)
	if n := len(w.runs()); n != 0 {
		t.Fatalf("%d runs of tags that were there before Conductor", n)
	}
	w.github.setTag("run-integration-tests/8", strings.Repeat("b", 40))
	w.github.commits[strings.Repeat("b", 40)] = strings.Repeat("c", 40) // an annotated tag
	w.github.setTag("v2", strings.Repeat("b", 40))
	w.poll(p, 0)
	if n := len(w.runs()); n != 0 {
		t.Fatalf("%d runs before the delivery had time to come", n)
	}
	w.poll(p, 2*time.Minute)
	all := w.runs()
	if len(all) != 1 || all[0].Spec.Ref != "refs/tags/run-integration-tests/8" || all[0].Spec.SHA != strings.Repeat("c", 40) ||
		all[0].Spec.Object != strings.Repeat("b", 40) || all[0].Spec.Trigger.Kind != v1alpha1.TriggerPoll {
		t.Fatalf("runs = %+v", all)
	}
	w.github.setTag("run-integration-tests", strings.Repeat("d", 40)) // moved
	w.poll(p, time.Minute)
	w.poll(p, 2*time.Minute)
	if all = w.runs(); len(all) != 2 {
		t.Fatalf("%d runs after a tag was moved", len(all))
	}
}

func TestADeliveryThatComesInTimeLeavesNothingToThePoll(t *testing.T) {
	w := newWorld(t)
	p := w.polling()
	w.github.setTag("run-integration-tests", pushed.Push.After)
	w.poll(p, 0)
	d := w.processed(w.deliver("guid-1", pushed), v1alpha1.DeliveryStarted)
	w.eventually("the cache knows the run", func() bool {
		_, err := p.acts.Runs.List(t.Context(), acme.ID)
		w.must(err)
		list, _ := p.acts.Runs.List(t.Context(), acme.ID)
		return len(list) == 1
	})
	w.poll(p, 5*time.Minute)
	w.poll(p, 5*time.Minute)
	if all := w.runs(); len(all) != 1 || all[0].Name != d.Status.Run {
		t.Errorf("%d runs", len(all))
	}
}

func TestALateDeliveryAdoptsTheRunOfThePoll(t *testing.T) {
	w := newWorld(t)
	p := w.polling()
	w.github.setTag("run-integration-tests", pushed.Push.After)
	w.poll(p, 0)
	w.poll(p, 2*time.Minute)
	w.eventually("the cache knows the run", func() bool {
		list, err := p.acts.Runs.List(t.Context(), acme.ID)
		w.must(err)
		return len(list) == 1
	})
	late := pushed
	late.Push = pushed.Push.DeepCopy()
	late.Push.PushedAt = time.Now().Add(-time.Minute).Unix()
	d := w.processed(w.deliver("guid-1", late), v1alpha1.DeliveryStarted)
	if all := w.runs(); len(all) != 1 || all[0].Name != d.Status.Run {
		t.Errorf("%d runs, the delivery's is %s", len(all), d.Status.Run)
	}
	again := pushed
	again.Push = pushed.Push.DeepCopy()
	again.Push.PushedAt = time.Now().Add(time.Hour).Unix() // The same tag is pushed again later, at the same commit.
	w.processed(w.deliver("guid-2", again), v1alpha1.DeliveryStarted)
	if n := len(w.runs()); n != 2 {
		t.Errorf("%d runs after another push", n)
	}
}

func TestWhatWasSeenOutlivesTheProcess(t *testing.T) {
	w := newWorld(t)
	p := w.polling("run-integration-tests")
	w.github.setTag("run-integration-tests/8", strings.Repeat("b", 40))
	w.poll(p, 0)
	p.kill(t)
	w.github.setTag("run-integration-tests/9", strings.Repeat("c", 40)) // between two polls
	p = w.poller()
	w.poll(p, 2*time.Minute)
	w.poll(p, 2*time.Minute)
	refs := map[string]int{}
	for _, r := range w.runs() {
		refs[r.Spec.Ref]++
	}
	if len(refs) != 2 || refs["refs/tags/run-integration-tests/8"] != 1 || refs["refs/tags/run-integration-tests/9"] != 1 {
		t.Errorf("runs of %v", refs)
	}
	p.kill(t)
	p = w.poller()
	w.poll(p, 5*time.Minute)
	w.poll(p, 5*time.Minute)
	if n := len(w.runs()); n != 2 {
		t.Errorf("%d runs after another process looked", n)
	}
}

// A process that dies between creating the Run and noting it starts the same Run again.
func TestAPollThatDiesStartsItsRunOnce(t *testing.T) {
	w := newWorld(t)
	p := w.polling()
	w.github.setTag("run-integration-tests", strings.Repeat("b", 40))
	w.poll(p, 0)
	p.kill(t)
	p = w.poller()
	p.power.mu.Lock()
	p.power.left = 1
	p.power.mu.Unlock()
	w.clock.advance(2 * time.Minute)
	if err := p.poller.Poll(t.Context()); err == nil {
		t.Error("the poll did not die")
	}
	p.kill(t)
	all := w.runs()
	if len(all) != 1 {
		t.Fatalf("%d runs when the poll died after %q", len(all), p.power.last())
	}
	w.poll(w.poller(), 2*time.Minute)
	if n := record.times("Run", w.set.Namespace, all[0].Name); n != 1 || len(w.runs()) != 1 {
		t.Errorf("made %d times; runs: %d", n, len(w.runs()))
	}
}
