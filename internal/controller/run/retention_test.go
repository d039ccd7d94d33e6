package run

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// finishedRun is a Run of which nothing is left to do, of the noon's second.
func finishedRun(name string, repository int64) *v1alpha1.Run {
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "conductor", UID: types.UID("uid-" + name), Finalizers: []string{v1alpha1.Finalizer},
			CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)),
		},
		Spec: v1alpha1.RunSpec{Repository: v1alpha1.Repository{ID: repository}},
	}
	run.Status.Outcome = v1alpha1.OutcomePassed
	meta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReported, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	meta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonExpired})
	return run
}

func receivedAt(run *v1alpha1.Run, at time.Time) *v1alpha1.Run {
	run.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(at))
	return run
}

// retired sweeps a world of an API server and a cache that may lag behind it.
type retired struct {
	t       *testing.T
	server  client.WithWatch
	cache   []v1alpha1.Run
	reads   int
	sweeper *Sweeper
}

func newRetired(t *testing.T, keep int, runs ...*v1alpha1.Run) *retired {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	build := fake.NewClientBuilder().WithScheme(scheme)
	for _, run := range runs {
		build = build.WithObjects(run)
	}
	w := &retired{t: t, server: build.Build()}
	cached := interceptor.NewClient(w.server, interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if asked := (&client.ListOptions{}).ApplyOptions(options); asked.UnsafeDisableDeepCopy == nil || !*asked.UnsafeDisableDeepCopy {
				t.Error("every Run of the cache is copied")
			}
			list.(*v1alpha1.RunList).Items = slices.Clone(w.cache)
			rand.Shuffle(len(w.cache), func(i, j int) { w.cache[i], w.cache[j] = w.cache[j], w.cache[i] })
			return nil
		},
	})
	live := interceptor.NewClient(w.server, interceptor.Funcs{List: w.page})
	w.sweeper = &Sweeper{Reconciler: &Reconciler{Client: cached, Live: live, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}}
	w.sweeper.Settings.Namespace = "conductor"
	w.sweeper.Settings.Retention = settings.Retention{Age: metav1.Duration{Duration: 24 * time.Hour}, PerRepository: keep}
	w.catchUp()
	return w
}

// page answers two metadata at a time, whatever the limit.
func (w *retired) page(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	of, ok := list.(*metav1.PartialObjectMetadataList)
	if !ok || asked.Limit == 0 || asked.Limit > 1000 {
		w.t.Errorf("%T is read from the API server, %d at a time", list, asked.Limit)
	}
	w.reads++
	if err := c.List(ctx, of, client.InNamespace(asked.Namespace)); err != nil {
		return err
	}
	from := 0
	if asked.Continue != "" {
		if _, err := fmt.Sscan(asked.Continue, &from); err != nil {
			return err
		}
	}
	to := min(from+2, len(of.Items))
	if of.Continue = ""; to < len(of.Items) {
		of.Continue = fmt.Sprint(to)
	}
	of.Items = of.Items[from:to]
	return nil
}

// catchUp brings the cache to what the API server has.
func (w *retired) catchUp() {
	w.t.Helper()
	var list v1alpha1.RunList
	if err := w.server.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	w.cache = list.Items
}

func (w *retired) sweep() {
	w.t.Helper()
	if err := w.sweeper.retire(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// kept are the names of the Runs that are there and not being deleted.
func (w *retired) kept() string {
	w.t.Helper()
	var list v1alpha1.RunList
	if err := w.server.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, run := range list.Items {
		if run.DeletionTimestamp == nil {
			names = append(names, run.Name)
		}
	}
	return strings.Join(names, " ")
}

func TestWidowsAreFoundWithoutCopies(t *testing.T) {
	widow, kept := finishedRun("widow", 1), finishedRun("kept", 1)
	for _, run := range []*v1alpha1.Run{widow, kept} {
		meta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
		run.Status.Namespace = "stack-" + run.Name
	}
	w := newRetired(t, 3, widow, kept)
	w.sweeper.open()
	if err := w.sweeper.wakeRunsWithoutStack(t.Context(), []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "stack-kept"}}}); err != nil {
		t.Fatal(err)
	}
	if n := len(w.sweeper.stacks.wake); n != 1 || (<-w.sweeper.stacks.wake).Object.Name != "widow" {
		t.Error("not the one Run whose stack is gone was woken up")
	}
}

func TestTheNewestRunsAreTheSameInAnyOrderOfListing(t *testing.T) {
	for range 50 {
		w := newRetired(t, 3, finishedRun("a", 1), finishedRun("b", 1), finishedRun("c", 1), finishedRun("d", 1), finishedRun("e", 1), finishedRun("x", 2),
			receivedAt(finishedRun("y", 1), noon.Add(-time.Hour+time.Millisecond)), receivedAt(finishedRun("z", 1), noon.Add(-time.Hour+time.Microsecond)))
		// The cache lags: the second and the third sweep do not see what the first one deleted.
		for range 3 {
			w.sweep()
		}
		w.catchUp()
		w.sweep()
		if got := w.kept(); got != "a x y z" {
			t.Fatalf("%q are kept: want the two that were received last, the first by name of the others, and the other repository's", got)
		}
	}
}

func TestARunThatIsGoneTakesNoPlace(t *testing.T) {
	w := newRetired(t, 3, finishedRun("a", 1), finishedRun("b", 1), finishedRun("c", 1), finishedRun("d", 1), finishedRun("e", 1))
	for _, name := range []string{"a", "b"} { // A user deletes them; the finalizer holds the first, the second is gone, and the cache has both.
		run := finishedRun(name, 1)
		if err := w.server.Delete(t.Context(), run); err != nil {
			t.Fatal(err)
		}
	}
	held := &v1alpha1.Run{}
	if err := w.server.Get(t.Context(), client.ObjectKey{Namespace: "conductor", Name: "b"}, held); err != nil {
		t.Fatal(err)
	}
	held.Finalizers = nil
	if err := w.server.Update(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	if got := w.kept(); got != "c d e" {
		t.Errorf("%q are kept, want the three that are left", got)
	}
	w.catchUp()
	w.sweep()
	if got := w.kept(); got != "c d e" {
		t.Errorf("once the cache has caught up, %q are kept", got)
	}
}

func TestARunThatChangedIsJudgedAgain(t *testing.T) {
	w := newRetired(t, 1, finishedRun("a", 1), finishedRun("b", 1))
	changed := &v1alpha1.Run{}
	if err := w.server.Get(t.Context(), client.ObjectKey{Namespace: "conductor", Name: "b"}, changed); err != nil {
		t.Fatal(err)
	}
	changed.Annotations = map[string]string{"changed": "true"}
	if err := w.server.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	if got := w.kept(); got != "a b" {
		t.Errorf("%q are kept: a Run was deleted in another state than the one that was judged", got)
	}
	w.catchUp()
	w.sweep()
	if got := w.kept(); got != "a" {
		t.Errorf("%q are kept", got)
	}
}

func TestTheAPIServerIsAskedOnlyWhenThereIsSomethingToDelete(t *testing.T) {
	unfinished := finishedRun("c", 1)
	unfinished.Status.Outcome = ""
	w := newRetired(t, 2, finishedRun("a", 1), finishedRun("b", 1), unfinished)
	w.sweep()
	if w.reads != 0 {
		t.Errorf("the metadata of Runs were read %d times", w.reads)
	}
}

func TestSurplusIsByAgeAndByNumber(t *testing.T) {
	old, kept := finishedRun("old", 1), finishedRun("kept", 1)
	old.CreationTimestamp, kept.CreationTimestamp = metav1.NewTime(noon.Add(-49*time.Hour)), metav1.NewTime(noon.Add(-49*time.Hour))
	meta.SetStatusCondition(&kept.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	list := []v1alpha1.Run{*old, *kept, *finishedRun("young", 1)}
	var got []string
	for _, run := range surplus(list, func(*v1alpha1.Run) bool { return true }, settings.Retention{Age: metav1.Duration{Duration: 48 * time.Hour}, PerRepository: 9}, noon) {
		got = append(got, run.Name)
	}
	if diff := cmp.Diff([]string{"old"}, got); diff != "" {
		t.Error(diff)
	}
}
