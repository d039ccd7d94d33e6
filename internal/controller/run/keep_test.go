package run

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// The look that finds the outcome may be at an old state of the Run. What it decides is not yet true, so it ends nothing.
func TestNothingIsEndedBeforeTheOutcomeIsStored(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", UID: "1"}}
	run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomeError, &metav1.MicroTime{Time: noon}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: jobs.StackName(run), Labels: jobs.Labels(run, jobs.StageStack)}}
	kube := fake.NewClientset(ns)
	r := &Reconciler{Kube: kube, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	s := &state{run: run, now: noon}
	if err := r.reconcileKeep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n := len(kube.Actions()); n > 0 {
		t.Errorf("%d calls before the outcome stands: %v", n, kube.Actions())
	}
	c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackKept)
	if c == nil || c.Status != metav1.ConditionUnknown {
		t.Errorf("StackKept = %+v, want Unknown, so that its change brings the next look", c)
	}
}

// newFinished is a Run whose outcome is stored and whose record is kept; its stack expires an hour after noon.
func newFinished(t *testing.T) *rig {
	t.Helper()
	w := newRig(t, nil)
	w.begin()
	w.add(namespace("conductor-builds"))
	w.run.Status.Keep = "1h0m0s"
	s := w.state()
	s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "All tests passed")
	s.begin(v1alpha1.ConditionStackKept, "Cleaning up")
	s.done(v1alpha1.ConditionRecorded, v1alpha1.ReasonDone, "kept")
	return w
}

// hasStack reports whether the stack's namespace is there.
func (w *rig) hasStack() bool {
	w.t.Helper()
	_, err := w.kube.CoreV1().Namespaces().Get(w.t.Context(), jobs.StackName(w.run), metav1.GetOptions{})
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

func TestAStackIsKeptForItsTime(t *testing.T) {
	cancel := &v1alpha1.Cancel{By: "octocat"}
	const hour = "The stack is kept for 1h0m0s"
	for _, tc := range []struct {
		name    string
		set     func(*rig)
		after   time.Duration
		status  metav1.ConditionStatus
		reason  string
		want    string
		requeue time.Duration
		stack   bool // it is there
		fenced  bool // nothing new gets in
	}{
		{name: "the outcome is not known", set: func(w *rig) { w.run.Status.Outcome, w.run.Status.Conditions = "", nil }, stack: true},
		{name: "the record is being kept", set: func(w *rig) { w.state().begin(v1alpha1.ConditionRecorded, "Keeping the record") },
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonInProgress, want: "Cleaning up", stack: true, fenced: true},
		{name: "it is kept", set: func(*rig) {}, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDone, want: hour, requeue: 45 * time.Minute, stack: true,
			fenced: true},
		{name: "a moment before its end", set: func(*rig) {}, after: time.Hour - time.Second, status: metav1.ConditionTrue, reason: v1alpha1.ReasonExpiring,
			want: "in less than a quarter of an hour", requeue: time.Second, stack: true, fenced: true},
		{name: "extended", set: func(w *rig) { w.extend(3 * time.Hour) }, after: time.Hour, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDone,
			want: hour + ", extended by ada", requeue: time.Hour, stack: true, fenced: true},
		{name: "an hour before the end of an extension", set: func(w *rig) { w.extend(3 * time.Hour) }, after: 2 * time.Hour, status: metav1.ConditionTrue,
			reason: v1alpha1.ReasonExpiring, want: "in less than an hour", requeue: 45 * time.Minute, stack: true, fenced: true},
		{name: "extended forever", set: func(w *rig) { w.run.Spec.Extension = &v1alpha1.Extension{By: "ada"} }, after: 1000 * time.Hour,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonDone, want: "until the run is deleted", stack: true, fenced: true},
		{name: "the extension is up", set: func(w *rig) { w.extend(3 * time.Hour) }, after: 3 * time.Hour, status: metav1.ConditionUnknown,
			reason: v1alpha1.ReasonInProgress, want: "being deleted", requeue: 2 * time.Second},
		{name: "idle", set: func(w *rig) { w.run.Status.Idle = &metav1.Duration{Duration: 10 * time.Minute} }, after: 10 * time.Minute,
			status: metav1.ConditionUnknown, reason: v1alpha1.ReasonInProgress, want: "being deleted", requeue: 2 * time.Second},
		{name: "used", set: func(w *rig) {
			w.run.Status.Idle, w.run.Spec.ActiveAt = &metav1.Duration{Duration: 10 * time.Minute}, &metav1.Time{Time: noon.Add(5 * time.Minute)}
		}, after: 10 * time.Minute, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDone, want: hour, requeue: 5 * time.Minute, stack: true, fenced: true},
		{name: "its time is up", set: func(*rig) {}, after: time.Hour, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonInProgress,
			want: "being deleted", requeue: 2 * time.Second},
		{name: "for ever", set: func(w *rig) { w.run.Status.Keep, w.run.Status.ExpiresAt = v1alpha1.Forever, nil }, after: 1000 * time.Hour,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonDone, want: "until the run is deleted", stack: true, fenced: true},
		{name: "canceled", set: func(w *rig) { w.run.Spec.Cancel = cancel }, status: metav1.ConditionUnknown, reason: v1alpha1.ReasonInProgress,
			want: "being deleted", requeue: 2 * time.Second},
		{name: "there was no stack", set: func(w *rig) {
			w.run.Status.Namespace = ""
			if err := w.kube.CoreV1().Namespaces().Delete(w.t.Context(), jobs.StackName(w.run), metav1.DeleteOptions{}); err != nil {
				w.t.Fatal(err)
			}
		}, status: metav1.ConditionFalse, reason: v1alpha1.ReasonNothingToDo, want: "no stack"},
		{name: "deleted from outside", set: func(w *rig) {
			if err := w.kube.CoreV1().Namespaces().Delete(w.t.Context(), jobs.StackName(w.run), metav1.DeleteOptions{}); err != nil {
				w.t.Fatal(err)
			}
		}, status: metav1.ConditionFalse, reason: v1alpha1.ReasonDeleted, want: "was deleted"},
		{name: "another's namespace", set: func(w *rig) {
			ns := stackOf(orphan())
			ns.Name = jobs.StackName(w.run)
			if _, err := w.kube.CoreV1().Namespaces().Update(w.t.Context(), ns, metav1.UpdateOptions{}); err != nil {
				w.t.Fatal(err)
			}
		}, after: time.Hour, status: metav1.ConditionFalse, reason: v1alpha1.ReasonExpired, want: "1h0m0s", stack: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFinished(t)
			tc.set(w)
			w.now = noon.Add(tc.after)
			s := w.state()
			if err := w.reconcileKeep(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			c := condition(s, v1alpha1.ConditionStackKept)
			if wantText(t, c.Message, tc.want); c.Status != tc.status || c.Reason != tc.reason || s.requeue != tc.requeue || w.hasStack() != tc.stack {
				t.Errorf("%s, %s: %q, requeue after %s, there: %t", c.Status, c.Reason, c.Message, s.requeue, w.hasStack())
			}
			if fenced := len(w.takeApplied()) > 0; fenced != tc.fenced {
				t.Errorf("network policies applied: %t", fenced)
			}
		})
	}
}

// extend extends the stack until a time after noon.
func (w *rig) extend(until time.Duration) {
	w.run.Spec.Extension = &v1alpha1.Extension{By: "ada", Until: &metav1.Time{Time: noon.Add(until)}}
}

func TestWhyAStackIsDeleted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		set    func(*v1alpha1.Run)
		after  time.Duration
		reason string
		want   string
	}{
		{"its time is up", func(*v1alpha1.Run) {}, time.Hour, v1alpha1.ReasonExpired, "The stack was kept for 1h0m0s and is deleted"},
		{"its extension is up", func(r *v1alpha1.Run) {
			r.Spec.Extension = &v1alpha1.Extension{By: "ada", Until: &metav1.Time{Time: noon.Add(2 * time.Hour)}}
		}, 2 * time.Hour,
			v1alpha1.ReasonExpired, "The stack was kept for 1h0m0s, extended by ada, and is deleted"},
		{"idle", func(r *v1alpha1.Run) { r.Status.Idle = &metav1.Duration{Duration: time.Minute} }, time.Minute, v1alpha1.ReasonIdle, "The stack was not used for 1m0s and is deleted"},
		{"used to the end", func(r *v1alpha1.Run) {
			r.Status.Idle, r.Spec.ActiveAt = &metav1.Duration{Duration: time.Minute}, &metav1.Time{Time: noon.Add(time.Hour)}
		}, time.Hour, v1alpha1.ReasonExpired, "The stack was kept for 1h0m0s and is deleted"},
		{"canceled", func(r *v1alpha1.Run) {
			r.Spec.Cancel, r.Status.Outcome = &v1alpha1.Cancel{By: "ada"}, v1alpha1.OutcomeCanceled
		}, 0, v1alpha1.ReasonCanceled,
			"The run was canceled, and its stack is deleted"},
		{"taken down", func(r *v1alpha1.Run) { r.Spec.Cancel = &v1alpha1.Cancel{By: "ada"} }, 0, v1alpha1.ReasonCanceled, "Taken down by ada"},
		{"closed", func(r *v1alpha1.Run) { r.Spec.Cancel = &v1alpha1.Cancel{By: "ada", Reason: "#12 was closed"} }, 0, v1alpha1.ReasonCanceled,
			"Taken down by ada: #12 was closed"},
	} {
		w := newFinished(t)
		tc.set(w.run)
		w.now = noon.Add(tc.after)
		s := w.state()
		s.expire()
		if got := w.reasonToDelete(s); got == nil || got.reason != tc.reason || got.message != tc.want {
			t.Errorf("%s: %+v, want %s: %s", tc.name, got, tc.reason, tc.want)
		}
	}
}

// The namespace goes in the background; what keeps it is reported after a while, and once it is gone its source artifact goes as well.
func TestAStackThatIsDeletedIsFollowedToItsEnd(t *testing.T) {
	w := newFinished(t)
	w.run.Status.Source = &v1alpha1.SourceStatus{Reference: "r.example/sources/acme/shop:shop-1", Digest: someDigest}
	away := errors.New("the registry is away")
	w.shelf.fail = away
	namespaces := w.kube.CoreV1().Namespaces()
	going := func(since time.Duration, message string) func() {
		return func() {
			ns := stackOf(w.run)
			ns.DeletionTimestamp, ns.Finalizers = &metav1.Time{Time: noon.Add(since)}, []string{"example.com/held"}
			if message != "" {
				ns.Status.Conditions = []corev1.NamespaceCondition{{Type: corev1.NamespaceFinalizersRemaining, Status: corev1.ConditionTrue, Message: message}}
			}
			if _, err := namespaces.Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, step := range []struct {
		do      func()
		after   time.Duration
		status  metav1.ConditionStatus
		reason  string
		want    string
		requeue time.Duration
	}{
		{going(time.Hour, ""), time.Hour, metav1.ConditionUnknown, v1alpha1.ReasonInProgress, "being deleted", 2 * time.Second},
		{going(time.Hour, "a finalizer example.com/held"), time.Hour + stuckAfter - time.Second, metav1.ConditionUnknown, v1alpha1.ReasonInProgress,
			"being deleted", 2 * time.Second},
		{func() {}, time.Hour + stuckAfter, metav1.ConditionUnknown, v1alpha1.ReasonStuck, "a finalizer example.com/held", 2 * time.Second},
		{func() {
			if err := w.kube.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("namespaces"), "", jobs.StackName(w.run)); err != nil {
				t.Fatal(err)
			}
		}, 2 * time.Hour, metav1.ConditionFalse, v1alpha1.ReasonExpired, "kept for 1h0m0s", sourceAgain},
		{func() { w.shelf.fail = nil }, 3 * time.Hour, metav1.ConditionFalse, v1alpha1.ReasonExpired, "kept for 1h0m0s", 0},
	} {
		step.do()
		w.now = noon.Add(step.after)
		s := w.state()
		if err := w.reconcileKeep(t.Context(), s); err != nil {
			t.Fatalf("reconcile %d: %v", i, err)
		}
		c := condition(s, v1alpha1.ConditionStackKept)
		if wantText(t, c.Message, step.want); c.Status != step.status || c.Reason != step.reason || s.requeue != step.requeue {
			t.Errorf("reconcile %d: %s, %s: %q, requeue after %s", i, c.Status, c.Reason, c.Message, s.requeue)
		}
		if gone := c.Status == metav1.ConditionFalse; gone != (s.status().ExpiresAt == nil) || (s.status().Source == nil) != (step.requeue == 0) {
			t.Errorf("reconcile %d: expires %v, source %v", i, s.status().ExpiresAt, s.status().Source)
		}
	}
	if w.shelf.deletes != 2 {
		t.Errorf("the source artifact was deleted %d times", w.shelf.deletes)
	}
}

// A registry that lets nothing be deleted is logged once, and holds no Run.
func TestARegistryThatDeletesNothingIsLoggedOnce(t *testing.T) {
	w := newFinished(t)
	w.shelf.fail = failure.Terminalf(v1alpha1.ReasonRefused, nil, "deleting is not allowed")
	for range 2 {
		w.run.Status.Source = &v1alpha1.SourceStatus{}
		s := w.state()
		if w.dropSource(t.Context(), s); s.status().Source != nil || s.requeue != 0 {
			t.Errorf("source %v, requeue after %s", s.status().Source, s.requeue)
		}
	}
	if n := strings.Count(w.log.String(), "deleting is not allowed"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// The builds go with the outcome; while they cannot be deleted the stack is not reported as kept.
func TestTheBuildsGoBeforeTheStackIsKept(t *testing.T) {
	for _, tc := range []struct {
		name, verb, resource string
		kept                 bool
	}{
		{"they are gone", "", "", true}, {"they cannot be listed", "list", "jobs", false}, {"the namespace cannot be read", "get", "namespaces", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFinished(t)
			if tc.verb != "" {
				w.refuse(tc.verb, tc.resource, errors.New("etcd is away"))
			}
			s := w.state()
			if err := w.reconcileKeep(t.Context(), s); (err == nil) != tc.kept || s.isTrue(v1alpha1.ConditionStackKept) != tc.kept {
				t.Errorf("%v, %+v", err, condition(s, v1alpha1.ConditionStackKept))
			}
		})
	}
}
