package delivery

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestOldDeliveriesArePrunedWithoutCopies(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	delivery := func(name string, age time.Duration) *v1alpha1.Delivery {
		d := &v1alpha1.Delivery{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "conductor"}}
		if age > 0 {
			d.Status.ProcessedAt = new(metav1.NewTime(now.Add(-age)))
		}
		return d
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithObjects(delivery("old", keepProcessed+time.Second), delivery("young", keepProcessed-time.Second), delivery("open", 0)).
		WithInterceptorFuncs(interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if asked := (&client.ListOptions{}).ApplyOptions(options); asked.UnsafeDisableDeepCopy == nil || !*asked.UnsafeDisableDeepCopy {
				t.Error("every Delivery of the cache is copied")
			}
			return c.List(ctx, list, options...)
		}}).Build()
	p := &Pruner{Client: kube, Namespace: "conductor", Now: func() time.Time { return now }}
	if err := p.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left v1alpha1.DeliveryList
	if err := kube.List(t.Context(), &left, client.UnsafeDisableDeepCopy); err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 2 || left.Items[0].Name != "open" || left.Items[1].Name != "young" {
		t.Errorf("%d deliveries are left: %+v", len(left.Items), left.Items)
	}
}

func TestPruningRunsUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	listed := 0
	kube := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			listed++
			cancel()
			return errDown
		},
	}).Build()
	p := &Pruner{Client: kube, Namespace: "conductor", Now: time.Now}
	if err := p.Prune(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	if err := p.Start(ctx); err != nil || listed != 2 {
		t.Errorf("listed %d times, %v", listed, err)
	}
}
