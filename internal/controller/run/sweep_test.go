package run

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// newSweep is a sweeper in a cluster with one Run, which is as old as its clock.
func newSweep(t *testing.T) (*rig, *Sweeper) {
	t.Helper()
	w := newRig(t, nil)
	w.Settings.Retention.Age.Duration, w.Settings.Retention.PerRepository = 24*time.Hour, 10
	w.now = noon.Add(time.Hour)
	return w, &Sweeper{Reconciler: w.Reconciler, Every: time.Minute}
}

// orphan is a Run that does not exist.
func orphan() *v1alpha1.Run {
	return &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "gone", Namespace: "conductor", UID: "2"}}
}

func TestStacksWithoutARunAreDeleted(t *testing.T) {
	stack := func(run *v1alpha1.Run, change func(*corev1.Namespace)) func(*rig) *corev1.Namespace {
		return func(w *rig) *corev1.Namespace {
			if run == nil {
				run = w.run
			}
			ns := stackOf(run)
			ns.CreationTimestamp = metav1.NewTime(noon)
			if change != nil {
				change(ns)
			}
			return ns
		}
	}
	for _, tc := range []struct {
		name string
		ns   func(*rig) *corev1.Namespace
		live error
		gone bool
		err  bool
	}{
		{name: "its Run is gone", ns: stack(orphan(), nil), gone: true},
		{name: "its Run exists", ns: stack(nil, nil)},
		{name: "a Run of the same name, made anew", ns: stack(nil, func(ns *corev1.Namespace) { ns.Labels[v1alpha1.LabelRunUID] = "0" }), gone: true},
		{name: "too young", ns: stack(orphan(), func(ns *corev1.Namespace) { ns.CreationTimestamp = metav1.NewTime(noon.Add(time.Hour)) })},
		{name: "another Conductor's", ns: stack(orphan(), func(ns *corev1.Namespace) { ns.Labels[v1alpha1.LabelConductor] = "other" })},
		{name: "not made by Conductor", ns: stack(orphan(), func(ns *corev1.Namespace) { delete(ns.Labels, v1alpha1.LabelManaged) })},
		{name: "the API server does not answer", ns: stack(orphan(), nil), live: apierrors.NewServiceUnavailable("etcd is away"), err: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, sweeper := newSweep(t)
			ns := tc.ns(w)
			w.add(ns)
			if tc.live != nil {
				w.Live = failingReader{w.Live, tc.live}
			}
			if err := sweeper.Sweep(t.Context()); (err != nil) != tc.err {
				t.Errorf("error %v", err)
			}
			_, err := w.kube.CoreV1().Namespaces().Get(t.Context(), ns.Name, metav1.GetOptions{})
			if gone := apierrors.IsNotFound(err); gone != tc.gone {
				t.Errorf("gone: %t, %v", gone, err)
			}
		})
	}
}

// failingReader does not answer.
type failingReader struct {
	client.Reader
	err error
}

func (r failingReader) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return r.err
}

func TestBuildsWithoutARunAreDeleted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		owner  *v1alpha1.Run // nil is the Run that exists
		age    time.Duration
		refuse [2]string
		gone   bool
		err    bool
	}{
		{name: "its Run is gone", owner: orphan(), age: time.Hour, gone: true},
		{name: "its Run exists", age: time.Hour},
		{name: "too young", owner: orphan(), age: sweepAge - time.Second},
		{name: "it cannot be deleted", owner: orphan(), age: time.Hour, refuse: [2]string{"delete", "jobs"}, err: true},
		{name: "the Jobs cannot be listed", owner: orphan(), age: time.Hour, refuse: [2]string{"list", "jobs"}, err: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, sweeper := newSweep(t)
			owner := tc.owner
			if owner == nil {
				owner = w.run
			}
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
				Name: "build", Namespace: "conductor-builds", Labels: jobs.Labels(owner, jobs.StageBuild), CreationTimestamp: metav1.NewTime(w.now.Add(-tc.age)),
			}}
			w.add(job, namespace("conductor-builds"))
			secret := jobs.BuildSecret(owner, "conductor-builds", jobs.BuildSecretName(owner), "t", nil)
			if err := w.Client.Create(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			if tc.refuse[0] != "" {
				w.refuse(tc.refuse[0], tc.refuse[1], errors.New("etcd is away"))
			}
			if err := sweeper.Sweep(t.Context()); (err != nil) != tc.err {
				t.Errorf("error %v", err)
			}
			_, err := w.kube.Tracker().Get(batchv1.SchemeGroupVersion.WithResource("jobs"), job.Namespace, job.Name)
			kept := w.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), &corev1.Secret{})
			if apierrors.IsNotFound(err) != tc.gone || apierrors.IsNotFound(kept) != tc.gone {
				t.Errorf("job: %v, secret: %v; want gone %t", err, kept, tc.gone)
			}
		})
	}
}

// A Run whose stack is kept is reconciled when the sweep does not find the namespace: no watch reports that it is gone.
func TestRunsWithoutTheirStackAreReconciled(t *testing.T) {
	for _, tc := range []struct {
		name  string
		kept  bool
		there bool
		woken bool
	}{
		{"its stack is gone", true, false, true},
		{"its stack is there", true, true, false},
		{"its stack is not kept any more", false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, sweeper := newSweep(t)
			run := &v1alpha1.Run{}
			if err := w.Client.Get(t.Context(), client.ObjectKeyFromObject(w.run), run); err != nil {
				t.Fatal(err)
			}
			run.Status.Namespace = jobs.StackName(run)
			s := &state{run: run, now: noon}
			if s.fail(v1alpha1.ConditionStackKept, v1alpha1.ReasonExpired, "gone"); tc.kept {
				s.done(v1alpha1.ConditionStackKept, v1alpha1.ReasonDone, "kept")
			}
			if err := w.Client.Status().Update(t.Context(), run); err != nil {
				t.Fatal(err)
			}
			if tc.there {
				w.add(stackOf(run))
			}
			if err := sweeper.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case e := <-w.stacks.wake:
				if !tc.woken || e.Object.UID != types.UID("1") {
					t.Errorf("woken: %v", e.Object.Name)
				}
			default:
				if tc.woken {
					t.Error("it sleeps")
				}
			}
		})
	}
}

// The sweeper sweeps at once and then at intervals, whatever one sweep runs into, until it is stopped.
func TestSweepsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, sweeper := newSweep(t)
		w.refuse("list", "namespaces", errors.New("etcd is away"))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- sweeper.Start(ctx) }()
		for i := range 3 {
			synctest.Wait()
			sweeps := 0
			for _, a := range w.kube.Actions() {
				if a.Matches("list", "namespaces") {
					sweeps++
				}
			}
			if sweeps != i+1 {
				t.Errorf("%d sweeps after %d intervals", sweeps, i)
			}
			time.Sleep(time.Minute)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("the sweeper ended with %v", err)
		}
		wantText(t, w.log.String(), "a sweep was not complete", "etcd is away")
	})
}
