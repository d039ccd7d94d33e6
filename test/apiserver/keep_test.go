//go:build apiserver

package apiserver

import (
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// keeping sets keep in the shop's .conductor.yaml.
func (w *world) keeping(keep string) {
	w.github.files = maps.Clone(shop)
	w.github.files[".conductor.yaml"] += "keep: " + keep + "\n"
}

func TestAStackIsKeptUntilItsTimeIsUp(t *testing.T) {
	for _, restart := range []bool{false, true} {
		name := "one process"
		if restart {
			name = "another process"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.keeping("1h")
			p := w.process()
			run := w.until(w.start(), "the run passes", kept)
			if want := run.Status.FinishedAt.Add(time.Hour).Truncate(time.Second); !run.Status.ExpiresAt.Equal(&metav1.Time{Time: want}) {
				t.Errorf("the stack expires at %s, want %s", run.Status.ExpiresAt, want)
			}
			w.later(59*time.Minute, run)
			if restart {
				p.kill(t)
				w.process()
			}
			if w.gone(&corev1.Namespace{}, "", jobs.StackName(run)) || !w.shelf.source(run) {
				t.Fatal("the stack or its source artifact went before its time")
			}
			w.later(2*time.Minute, run)
			run = w.until(run, "the stack goes", over)
			if run.Status.Outcome != v1alpha1.OutcomePassed || reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonExpired || run.Status.ExpiresAt != nil {
				t.Errorf("outcome %q, StackKept %s, expires %v", run.Status.Outcome, reason(run, v1alpha1.ConditionStackKept), run.Status.ExpiresAt)
			}
			w.nothingLeft(run)
		})
	}
}

func TestTheOperatorsCeilingsBoundWhatTheFileKeeps(t *testing.T) {
	for _, tc := range []struct {
		keep    string
		forever bool
		want    time.Duration
	}{
		{"1000h", false, 168 * time.Hour}, {"forever", false, 168 * time.Hour}, {"forever", true, 0},
	} {
		t.Run(tc.keep, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ceilings.KeepForever = tc.forever
			w.keeping(tc.keep)
			w.process()
			run := w.until(w.start(), "the run passes", kept)
			if tc.want == 0 {
				w.later(1000*time.Hour, run)
				w.until(run, "a look a thousand hours later", func(r *v1alpha1.Run) bool { return kept(r) && r.Status.ExpiresAt == nil })
				if w.gone(&corev1.Namespace{}, "", jobs.StackName(run)) {
					t.Error("what is kept forever is gone")
				}
				return
			}
			if got := run.Status.ExpiresAt.Sub(run.Status.FinishedAt.Time).Round(time.Minute); got != tc.want {
				t.Errorf("kept for %s, want %s", got, tc.want)
			}
		})
	}
}

// deleteStack deletes a Run's namespace as a person would, and waits until it is gone.
func (w *world) deleteStack(run *v1alpha1.Run) {
	w.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: jobs.StackName(run)}}
	w.must(admin.Delete(w.t.Context(), ns))
	w.eventually("the namespace goes", func() bool { return w.gone(&corev1.Namespace{}, "", ns.Name) })
}

func TestAKeptStackMayBeDeletedFromOutside(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	run := w.until(w.start(), "the run passes", kept)
	w.deleteStack(run)
	w.sweep(p)
	run = w.until(run, "the run knows", over)
	if run.Status.Outcome != v1alpha1.OutcomePassed || reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonDeleted {
		t.Errorf("outcome %q, StackKept %s", run.Status.Outcome, reason(run, v1alpha1.ConditionStackKept))
	}
}

// A Run whose stack is deleted while it runs ends soon and reports why.
func TestAStackThatIsDeletedWhileItIsNeededEndsTheRun(t *testing.T) {
	for _, h := range halts[1:] {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h.hold(w)
			w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			w.deleteStack(run)
			w.later(10*time.Second, run)
			run = w.until(run, "the run ends", over)
			w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackKept, v1alpha1.ReasonDeleted, "deleted")
			w.nothingLeft(run)
		})
	}
}

// A name does not prove ownership: a namespace that does not belong to this Run is neither used nor deleted.
func TestANamespaceThatIsNotTheRunsIsLeftAlone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		labels map[string]string
	}{
		{"somebody's", nil},
		{"another run's", map[string]string{v1alpha1.LabelManaged: v1alpha1.ManagedValue, v1alpha1.LabelRunUID: "another"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			run := w.start()
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: jobs.StackName(run), Labels: tc.labels}}
			w.must(admin.Create(t.Context(), ns))
			t.Cleanup(func() { end(t.Context(), ns) })
			w.process()
			run = w.until(run, "the run ends", over)
			w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonRefused, jobs.StackName(run))
			w.must(admin.Delete(t.Context(), run))
			w.eventually("the run goes", func() bool { return w.gone(&v1alpha1.Run{}, run.Namespace, run.Name) })
			var inside corev1.ResourceQuotaList
			w.must(admin.List(t.Context(), &inside, client.InNamespace(ns.Name)))
			if now := (&corev1.Namespace{}); w.gone(now, "", ns.Name) || now.DeletionTimestamp != nil || len(inside.Items) > 0 {
				t.Error("it was touched")
			}
		})
	}
}

func TestADeletedRunTakesEverythingWithIt(t *testing.T) {
	for _, h := range halts {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h.hold(w)
			w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			w.must(admin.Delete(t.Context(), run))
			w.eventually("the run goes", func() bool { return w.gone(&v1alpha1.Run{}, run.Namespace, run.Name) })
			w.nothingLeft(run)
		})
	}
}

func TestARunIsReleasedAfterItsDeadline(t *testing.T) {
	w := newWorld(t)
	p := w.process()
	run := w.until(w.start(), "the run passes", kept)
	w.node.keepNamespaces(true)
	w.must(admin.Delete(t.Context(), run))
	w.eventually("the namespace is on its way", func() bool {
		ns := &corev1.Namespace{}
		return !w.gone(ns, "", jobs.StackName(run)) && ns.DeletionTimestamp != nil
	})
	w.later(9*time.Minute, run)
	p.kill(t)
	w.process()
	if w.gone(&v1alpha1.Run{}, run.Namespace, run.Name) {
		t.Fatal("the run was released before its deadline")
	}
	w.later(2*time.Minute, run)
	w.eventually("the run is released", func() bool { return w.gone(&v1alpha1.Run{}, run.Namespace, run.Name) })
	w.logged("is released although", run.Name)
	w.node.keepNamespaces(false)
}
