//go:build apiserver

package apiserver

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// sweep sweeps once.
func (w *world) sweep(p *process) {
	w.t.Helper()
	w.must((&run.Sweeper{Reconciler: p.runner}).Sweep(w.t.Context()))
}

// ghost makes the leftovers of a Run that no longer exists.
func (w *world) ghost(name string) *v1alpha1.Run {
	w.t.Helper()
	g := newRun(name)
	g.Namespace, g.UID = w.set.Namespace, "00000000-0000-4000-8000-000000000000"
	w.must(admin.Create(w.t.Context(), jobs.Namespace(g, false)))
	secret := jobs.BuildSecret(g, w.set.Builds.Namespace, jobs.BuildSecretName(g), "token", nil)
	w.must(admin.Create(w.t.Context(), secret))
	w.must(admin.Create(w.t.Context(), w.job(jobs.BuildName(g, "backend"), jobs.Labels(g, jobs.StageBuild))))
	w.t.Cleanup(func() {
		ns := jobs.Namespace(g, false)
		_ = admin.Delete(w.t.Context(), ns)
	})
	return g
}

// job is some Job in the builds namespace.
func (w *world) job(name string, labels map[string]string) *batchv1.Job {
	pod := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "x", Image: "busybox"}}}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.set.Builds.Namespace, Labels: labels},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}},
	}
}

// left returns what remains of a ghost: whether its namespace exists, and the number of its objects in the builds namespace.
func (w *world) left(g *v1alpha1.Run) (namespace bool, builds int) {
	ns := &corev1.Namespace{}
	return !w.gone(ns, "", jobs.StackName(g)) && ns.DeletionTimestamp == nil, len(w.buildThings(g))
}

func TestASweepDeletesWhatBelongsToNoRunAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.node.set("build", running)
	p := w.process()
	live := w.until(w.start(), "a run is under way", halts[1].reached)
	g := w.ghost("ghost-" + w.set.Namespace)
	stranger := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stack-" + w.set.Namespace + "-stranger", Labels: map[string]string{
		v1alpha1.LabelRun: "x", v1alpha1.LabelRunUID: "y",
	}}}
	w.must(admin.Create(t.Context(), stranger))
	w.must(admin.Create(t.Context(), w.job("stranger", map[string]string{"app": "x"})))

	w.sweep(p)
	if ns, builds := w.left(g); !ns || builds != 2 {
		t.Errorf("what is young was swept: namespace %v, %d things in builds", ns, builds)
	}
	w.clock.advance(2 * time.Minute)
	w.sweep(p)
	if ns, builds := w.left(g); ns || builds != 0 {
		t.Errorf("not swept: namespace %v, builds %v", ns, w.buildThings(g))
	}
	if ns := (&corev1.Namespace{}); w.gone(ns, "", stranger.Name) || ns.DeletionTimestamp != nil || w.gone(&batchv1.Job{}, w.set.Builds.Namespace, "stranger") {
		t.Error("what does not carry Conductor's label was swept")
	}
	if ns, builds := w.left(live); !ns || builds != 4 {
		t.Errorf("a living run's things were swept: namespace %v, builds %v", ns, w.buildThings(live))
	}
}

// A Run of the same name but with another UID is another Run.
func TestASweepKnowsRunsByTheirUID(t *testing.T) {
	w := newWorld(t)
	run := w.start()
	g := w.ghost(run.Name)
	p := w.process()
	w.until(run, "the namespace is refused", reported)
	w.clock.advance(2 * time.Minute)
	w.sweep(p)
	if ns, builds := w.left(g); ns || builds != 0 {
		t.Errorf("not swept: namespace %v, builds %v", ns, w.buildThings(g))
	}
}

func TestOldRunsAreRetired(t *testing.T) {
	w := newWorld(t)
	w.set.Retention.PerRepository = 3
	w.github.failAlways("Archive", failure.Terminalf(v1alpha1.ReasonNotFound, nil, "It is not there"))
	p := w.process()
	runs := func() int {
		var list v1alpha1.RunList
		w.must(admin.List(t.Context(), &list, client.InNamespace(w.set.Namespace)))
		return len(list.Items)
	}
	for range 5 {
		w.until(w.start(), "a run ends", over)
	}
	w.until(w.start(func(s *v1alpha1.RunSpec) { s.Repository.ID = 2 }), "another repository's run ends", over)
	w.github.mend("Archive")
	living := w.until(w.start(func(s *v1alpha1.RunSpec) { s.Repository.ID = 3 }), "a run's stack is kept", kept)
	w.eventually("the three newest of a repository stay, and other repositories'", func() bool { w.sweep(p); return runs() == 5 })
	w.clock.advance(29 * 24 * time.Hour)
	w.sweep(p)
	if n := runs(); n != 5 {
		t.Errorf("%d runs after 29 days", n)
	}
	w.clock.advance(2 * 24 * time.Hour)
	w.eventually("all but the one with a stack go after 30 days", func() bool { w.sweep(p); return runs() == 1 })
	w.poke(living)
	w.until(living, "its stack expires", over)
	w.eventually("and then it goes, too", func() bool { w.sweep(p); return runs() == 0 })
}

// Two Conductors may share a cluster: neither deletes what the other created.
func TestASweepLeavesAnotherConductorsStacksAlone(t *testing.T) {
	mine := newWorld(t)
	other := newWorld(t)
	other.process()
	run := other.until(other.start(), "the other's run passes", kept)
	p := mine.process()
	mine.clock.advance(time.Hour)
	mine.sweep(p)
	if ns, _ := other.left(run); !ns {
		t.Error("the other's stack was swept")
	}
}
