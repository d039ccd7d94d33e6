package stackns

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

var (
	noon  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	owner = Owner{Label: v1alpha1.LabelRunUID, UID: "u1"}
)

// space is a namespace as Conductor makes it for the owner with a UID.
func space(uid types.UID) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "stack-1", UID: "ns-1", CreationTimestamp: metav1.NewTime(noon),
		Labels: map[string]string{v1alpha1.LabelManaged: v1alpha1.ManagedValue, v1alpha1.LabelConductor: "conductor", v1alpha1.LabelRunUID: string(uid)},
	}}
}

// world is a cluster: what is written with Client is read with Kube.
func world(t *testing.T, objects ...runtime.Object) Namespaces {
	t.Helper()
	kube := fake.NewClientset(objects...)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	writes := fakeclient.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if ns, ok := o.(*corev1.Namespace); ok {
				_, err := kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if ns, ok := o.(*corev1.Namespace); ok {
				return kube.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
			}
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	return Namespaces{Client: writes, Kube: kube, Conductor: "conductor"}
}

func going(uid types.UID) *corev1.Namespace {
	ns, at := space(uid), metav1.NewTime(noon)
	ns.DeletionTimestamp, ns.Finalizers = &at, []string{"kubernetes"}
	return ns
}

func TestANamespaceIsMadeForOneOwner(t *testing.T) {
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "conductor", Namespace: "stack-1"}}
	for _, c := range []struct {
		name   string
		have   []runtime.Object
		reason string // of the failure; "" means that the owner has the namespace
	}{
		{"none is there", nil, ""},
		{"it was made before", []runtime.Object{space("u1")}, ""},
		{"it is another's", []runtime.Object{space("u2")}, v1alpha1.ReasonRefused},
		{"its labels are missing", []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stack-1"}}}, v1alpha1.ReasonRefused},
		{"it is being deleted", []runtime.Object{going("u1")}, v1alpha1.ReasonDeleted},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := world(t, c.have...)
			for range 2 {
				err := n.Create(t.Context(), space("u1"), owner, []client.Object{binding.DeepCopy()})
				if f := failure.Of(err); c.reason == "" && err != nil || c.reason != "" && (f == nil || f.Reason != c.reason) {
					t.Fatalf("error %v, want reason %q", err, c.reason)
				}
			}
			got := &rbacv1.RoleBinding{}
			err := n.Client.Get(t.Context(), client.ObjectKeyFromObject(binding), got)
			if bound := err == nil; bound != (c.reason == "") {
				t.Errorf("Conductor has rights in the namespace: %t", bound)
			}
		})
	}
}

func TestADeletedNamespaceIsNotVerified(t *testing.T) {
	err := world(t).Verify(t.Context(), "stack-1", owner)
	if f := failure.Of(err); f == nil || f.Reason != v1alpha1.ReasonDeleted {
		t.Errorf("error %v", err)
	}
}

func TestOnlyTheOwnersNamespaceIsDeleted(t *testing.T) {
	unlabelled := space("u1")
	delete(unlabelled.Labels, v1alpha1.LabelManaged)
	for _, c := range []struct {
		name            string
		have            []runtime.Object
		there, returned bool
	}{
		{"none is there", nil, false, false},
		{"the owner's", []runtime.Object{space("u1")}, false, true},
		{"the owner's, which is going", []runtime.Object{going("u1")}, true, true},
		{"another's", []runtime.Object{space("u2")}, true, false},
		{"one that Conductor did not make", []runtime.Object{unlabelled}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := world(t, c.have...)
			ns, err := n.Delete(t.Context(), "stack-1", owner)
			if err != nil || (ns != nil) != c.returned {
				t.Errorf("returned %v, %v", ns, err)
			}
			if _, err := n.Get(t.Context(), "stack-1"); (err == nil) != c.there {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestOrphansAreDeleted(t *testing.T) {
	later := noon.Add(orphanAge)
	for _, c := range []struct {
		name   string
		ns     *corev1.Namespace
		now    time.Time
		exists bool
		err    error
		gone   bool
	}{
		{"its owner is gone", space("u1"), later, false, nil, true},
		{"its owner exists", space("u1"), later, true, nil, false},
		{"it is too young", space("u1"), later.Add(-time.Second), false, nil, false},
		{"it is of another kind", space(""), later, false, nil, false},
		{"it is going", going("u1"), later, false, nil, false},
		{"the API server does not answer", space("u1"), later, false, errors.New("timeout"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := world(t, c.ns)
			gone, err := n.DeleteOrphan(t.Context(), c.ns, v1alpha1.LabelRunUID, c.now, func(uid types.UID) (bool, error) {
				if uid != "u1" {
					t.Errorf("asked for %q", uid)
				}
				return c.exists, c.err
			})
			if gone != c.gone || !errors.Is(err, c.err) {
				t.Errorf("deleted: %t, %v", gone, err)
			}
			if _, err := n.Get(t.Context(), "stack-1"); apierrors.IsNotFound(err) != c.gone {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestOnlyOwnNamespacesAreListed(t *testing.T) {
	other := space("u2")
	other.Name, other.Labels[v1alpha1.LabelConductor] = "stack-2", "another-conductor"
	list, err := world(t, space("u1"), other, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}).List(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "stack-1" {
		t.Errorf("listed %v, %v", list, err)
	}
}

func TestFencesOfANamespaceThatGoesAreNotMissed(t *testing.T) {
	policy := jobs.IngressPolicies(&v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "u1"}}, nil)
	terminating := apierrors.NewForbidden(corev1.Resource("networkpolicies"), "wall", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"terminating", terminating, true},
		{"gone", apierrors.NewNotFound(corev1.Resource("namespaces"), "stack-1"), true},
		{"forbidden", apierrors.NewForbidden(corev1.Resource("networkpolicies"), "wall", errors.New("no RoleBinding")), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := world(t)
			n.Client = fakeclient.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return c.err
				},
			}).Build()
			if err := n.ApplyPolicies(t.Context(), policy); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTheAgentIsFoundOnceItHasStarted(t *testing.T) {
	agent := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "stack-1", Labels: map[string]string{v1alpha1.LabelStage: jobs.StageAgent}}}
		p.Status.PodIP = "10.0.0.7"
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		change(p)
		return p
	}
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		found  bool
	}{
		{"it runs", func(*corev1.Pod) {}, true},
		{"it runs again after an end", func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0] = corev1.ContainerStatus{LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}
		}, true},
		{"it has no address", func(p *corev1.Pod) { p.Status.PodIP = "" }, false},
		{"it has not started", func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, false},
		{"it is being deleted", func(p *corev1.Pod) { at := metav1.NewTime(noon); p.DeletionTimestamp = &at }, false},
		{"it is a service's pod", func(p *corev1.Pod) { p.Labels[v1alpha1.LabelStage] = jobs.StageStack }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, err := world(t, agent(c.change)).AgentAddress(t.Context(), "stack-1")
			if c.found && (err != nil || address != "10.0.0.7") || !c.found && !errors.Is(err, ErrNoAgent) {
				t.Errorf("address %q, %v", address, err)
			}
		})
	}
}
