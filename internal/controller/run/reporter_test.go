package run

import (
	"context"
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// checkPage is the check runs of a commit, by their external ids.
type checkPage struct {
	GitHub
	checks map[string]v1alpha1.CheckRun
}

func (p *checkPage) Hints(context.Context, int64, v1alpha1.Repository, string, string) (v1alpha1.CommitHints, error) {
	return v1alpha1.CommitHints{}, nil
}

func (p *checkPage) UpsertCheckRun(_ context.Context, _ int64, _ v1alpha1.Repository, _ int64, check v1alpha1.CheckRun) (int64, error) {
	p.checks[check.ExternalID] = check
	return int64(len(p.checks)), nil
}

// A process may end, or the API server be away, after any check run was made and before its id is stored.
func TestNoCheckRunIsForgottenWhenItsIDIsNotStored(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	run.Status.StartedAt = &metav1.MicroTime{Time: noon}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lost, page := false, &checkPage{checks: map[string]v1alpha1.CheckRun{}}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(run).WithObjects(run).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if !lost && len(page.checks) > 0 {
				lost = true
				return context.DeadlineExceeded
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	now := noon.Add(suitesGrace)
	reconcile := func() {
		// Each time by a process that remembers nothing.
		r := &Reporter{Client: kube, GitHub: page, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
		r.open(opened(&Reconciler{}))
		for tries := 0; tries == 0 || !lost && tries < 5; tries++ {
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)}); err != nil && !lost {
				t.Fatal(err)
			}
		}
	}
	reconcile()
	if c := page.checks["shop-1"]; !lost || c.Status != "in_progress" {
		t.Fatalf("no write was lost: %t; check run of the whole run: %+v", lost, c)
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
		t.Fatal(err)
	}
	at := metav1.NewMicroTime(now)
	run.Status.Suites = []v1alpha1.SuiteStatus{{Name: "e2e", Outcome: v1alpha1.OutcomePassed, FinishedAt: &at}}
	run.Status.Outcome, run.Status.FinishedAt = v1alpha1.OutcomePassed, &at
	if err := kube.Status().Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	reconcile()
	for _, id := range []string{"shop-1", "shop-1/e2e"} {
		if c := page.checks[id]; c.Conclusion != "success" {
			t.Errorf("check run %s: status %q, conclusion %q", id, c.Status, c.Conclusion)
		}
	}
}
