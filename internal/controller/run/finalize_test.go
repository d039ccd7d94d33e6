package run

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	kubetesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// cluster is a reconciler whose API server is in memory.
type cluster struct {
	*Reconciler
	kube *fake.Clientset
	log  *bytes.Buffer
}

func newCluster(t *testing.T, funcs interceptor.Funcs, run *v1alpha1.Run, objects ...runtime.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	b := &cluster{kube: fake.NewClientset(objects...), log: &bytes.Buffer{}}
	funcs.Delete = func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		if ns, ok := o.(*corev1.Namespace); ok {
			return b.kube.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
		}
		return c.Delete(ctx, o, opts...)
	}
	b.Reconciler = &Reconciler{
		Client:   fakeclient.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Run{}).WithObjects(run).WithInterceptorFuncs(funcs).Build(),
		Registry: &sourceShelf{}, Kube: b.kube, Log: slog.New(slog.NewTextHandler(b.log, nil)), Now: func() time.Time { return noon },
		Dir: t.TempDir(),
	}
	b.open()
	b.Settings.Deadlines = settings.Default().Deadlines
	b.Settings.Namespace, b.Settings.Builds.Namespace = "conductor", "conductor-builds"
	return b
}

// refuse has the API server answer every request of a verb to a resource with an error.
func (b *cluster) refuse(verb, resource string, err error) {
	b.kube.PrependReactor(verb, resource, func(kubetesting.Action) (bool, runtime.Object, error) { return true, nil, err })
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no RoleBinding"))
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// deleted is a Run that was deleted some time ago, and stackOf the namespace of its stack.
func deleted(ago time.Duration) *v1alpha1.Run {
	at := metav1.NewTime(noon.Add(-ago))
	return &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{
		Name: "shop-1", Namespace: "conductor", UID: "1", DeletionTimestamp: &at, Finalizers: []string{v1alpha1.Finalizer},
	}}
}

func stackOf(run *v1alpha1.Run) *corev1.Namespace {
	ns := namespace(jobs.StackName(run))
	ns.Labels = jobs.Labels(run, jobs.StageStack)
	return ns
}

func TestADeletedRunIsReleased(t *testing.T) {
	going := namespace("conductor-builds")
	going.DeletionTimestamp = &metav1.Time{Time: noon}
	unavailable := apierrors.NewServiceUnavailable("etcd is away")
	for _, tc := range []struct {
		name   string
		ago    time.Duration
		builds *corev1.Namespace
		err    error
		stack  bool
		gone   bool
		again  bool
		log    string
	}{
		{name: "nothing is left", builds: namespace("conductor-builds"), gone: true},
		{name: "builds namespace gone", err: forbidden("jobs"), gone: true},
		{name: "builds namespace going", builds: going, err: forbidden("jobs"), gone: true},
		{name: "builds refused in a namespace that is there", builds: namespace("conductor-builds"), err: forbidden("jobs")},
		{name: "refused until the deadline", ago: settings.Default().Deadlines.Finalize.Duration, builds: namespace("conductor-builds"), err: forbidden("jobs"), gone: true, log: "no RoleBinding"},
		{name: "API server away just now", ago: settings.Default().Deadlines.Finalize.Duration - time.Second, builds: namespace("conductor-builds"), err: unavailable},
		{name: "API server away until the deadline", ago: 2 * time.Hour, builds: namespace("conductor-builds"), err: unavailable, gone: true, log: "etcd is away"},
		{name: "stack still there", ago: settings.Default().Deadlines.Finalize.Duration - time.Second, stack: true, builds: namespace("conductor-builds"), again: true},
		{name: "stack still there at the deadline", ago: settings.Default().Deadlines.Finalize.Duration, stack: true, builds: namespace("conductor-builds"), gone: true, log: "no reason is given"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := deleted(tc.ago)
			var objects []runtime.Object
			if tc.builds != nil {
				objects = append(objects, tc.builds)
			}
			if tc.stack {
				objects = append(objects, stackOf(run))
			}
			b := newCluster(t, interceptor.Funcs{}, run, objects...)
			if tc.err != nil {
				b.refuse("list", "jobs", tc.err)
			}
			next, err := b.finalize(t.Context(), run)
			if (err != nil) != (!tc.gone && !tc.again) || (next.RequeueAfter > 0) != tc.again {
				t.Errorf("finalize: %+v, %v", next, err)
			}
			gone := apierrors.IsNotFound(b.Client.Get(t.Context(), client.ObjectKeyFromObject(run), &v1alpha1.Run{}))
			if gone != tc.gone {
				t.Errorf("the run is gone: %t, want %t", gone, tc.gone)
			}
			if !strings.Contains(b.log.String(), tc.log) || tc.log == "" && b.log.Len() > 0 {
				t.Errorf("log: %q, want %q", b.log, tc.log)
			}
		})
	}
}

// A builds namespace that Conductor cannot read holds no stack beyond its time.
func TestAStackExpiresWhateverBecomesOfTheBuilds(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	run.Status = v1alpha1.RunStatus{
		Outcome: v1alpha1.OutcomePassed, FinishedAt: &metav1.MicroTime{Time: noon.Add(-time.Hour)}, Keep: "1h", Namespace: jobs.StackName(run),
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonInProgress}},
	}
	b := newCluster(t, interceptor.Funcs{}, run, namespace("conductor-builds"))
	b.refuse("list", "jobs", forbidden("jobs"))
	s := &state{run: run, now: noon}
	if err := b.reconcileKeep(t.Context(), s); !apierrors.IsForbidden(err) {
		t.Errorf("keep: %v, want what keeps the builds from being deleted", err)
	}
	if c := condition(s, v1alpha1.ConditionStackKept); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonExpired {
		t.Errorf("StackKept = %+v", c)
	}
}
