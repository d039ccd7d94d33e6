//go:build apiserver

package apiserver

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/runs"
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

func TestAStackIsExtendedWhileItIsKept(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		w.keeping("{ttl: 2h, idle: 1h}")
		p := w.process()
		run := w.until(w.start(), "the run passes", kept)
		service := w.service()
		w.later(50*time.Minute, run)
		w.must(service.Touch(t.Context(), run.Name, authority.OperatorNamed("ada"), authority.Logs))
		w.later(55*time.Minute, run)
		if w.gone(&corev1.Namespace{}, "", jobs.StackName(run)) {
			t.Fatal("a stack that was used is gone")
		}
		ask := runs.Extension{By: authority.OperatorNamed("ada"), For: 4 * time.Hour, AskedAt: w.clock.now()}
		until, err := service.Extend(t.Context(), run.Name, ask)
		w.must(err)
		if restart {
			p.kill(t)
			w.process()
		}
		if again, err := service.Extend(t.Context(), run.Name, ask); err != nil || !again.Equal(until) {
			t.Errorf("asked again: %s, %v, want %s", again, err, until)
		}
		w.until(run, "the status has the extension", func(r *v1alpha1.Run) bool { return r.Status.ExpiresAt != nil && r.Status.ExpiresAt.Time.Equal(until) })
		w.later(3*time.Hour+30*time.Minute, run)
		w.until(run, "the report counts down", func(r *v1alpha1.Run) bool { return reason(r, v1alpha1.ConditionStackKept) == v1alpha1.ReasonExpiring })
		w.later(time.Hour, run)
		run = w.until(run, "the stack goes", over)
		if reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonExpired {
			t.Errorf("StackKept %s", reason(run, v1alpha1.ConditionStackKept))
		}
		w.nothingLeft(run)
	}
}

// closed is the event of the issue's end.
func closed(by string) v1alpha1.Event {
	e := commented(1, by, "")
	e.Name, e.Action, e.Comment, e.Closed = "issues", "closed", nil, &v1alpha1.ClosedEvent{Issue: issueNumber}
	return e
}

func TestClosingAnIssueEndsItsStackUnlessTheRepositoryKeepsIt(t *testing.T) {
	for _, stays := range []bool{false, true} {
		w := newWorld(t)
		w.keeping(fmt.Sprintf("{ttl: 1h, after_close: %t}", stays))
		w.github.permissions["ada"], w.github.head = "write", v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("e", 40)}
		w.process()
		d := w.processed(w.deliver("guid-1", commented(1, "ada", "/conductor test")), v1alpha1.DeliveryStarted)
		run := w.until(&v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: d.Status.Run, Namespace: d.Namespace}}, "the run passes", kept)
		if stays {
			w.processed(w.deliver("guid-2", closed("eve")), v1alpha1.DeliveryIgnored)
			if run = w.get(run); run.Spec.Cancel != nil || w.gone(&corev1.Namespace{}, "", jobs.StackName(run)) {
				t.Errorf("the stack does not stay: %+v", run.Spec.Cancel)
			}
			continue
		}
		w.processed(w.deliver("guid-2", closed("eve")), v1alpha1.DeliveryCanceled)
		run = w.until(run, "the stack goes", over)
		if run.Status.Outcome != v1alpha1.OutcomePassed || reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonCanceled {
			t.Errorf("outcome %s, StackKept %s", run.Status.Outcome, reason(run, v1alpha1.ConditionStackKept))
		}
		w.nothingLeft(run)
		w.eventually("the comment has it", func() bool {
			return strings.Contains(w.github.commentsOn(issueNumber)[0], "Taken down by eve")
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
