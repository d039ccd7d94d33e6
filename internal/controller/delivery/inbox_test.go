package delivery

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

const guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

// comes is a delivery as the webhook hands it over.
func comes(at time.Time) *v1alpha1.Delivery {
	return &v1alpha1.Delivery{
		ObjectMeta: metav1.ObjectMeta{Name: guid, Annotations: map[string]string{v1alpha1.AnnotationReceivedAt: at.Format(time.RFC3339Nano)}},
		Spec: v1alpha1.DeliverySpec{GUID: guid, Event: v1alpha1.Event{
			Name: "push", InstallationID: 1, Repository: shop, Sender: v1alpha1.Actor{Login: "ada"},
			Push: &v1alpha1.PushEvent{Ref: "refs/tags/qa/a", After: "a1", PushedAt: start.Unix(), Created: true},
		}},
	}
}

func newInbox(t *testing.T, funcs interceptor.Funcs) Inbox {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Delivery{}).WithInterceptorFuncs(funcs).Build()
	return Inbox{Client: c, Live: c, Namespace: "conductor", Log: slog.New(slog.DiscardHandler)}
}

func (i Inbox) get(t *testing.T) *v1alpha1.Delivery {
	t.Helper()
	d := &v1alpha1.Delivery{}
	if err := i.Live.Get(t.Context(), client.ObjectKey{Namespace: "conductor", Name: guid}, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// An owner who granted the missing permission presses Redeliver, a day later.
func TestADeliveryThatFailedIsActedOnAgainWhenItIsRedelivered(t *testing.T) {
	inbox := newInbox(t, interceptor.Funcs{})
	gh := &gitHub{commits: map[string]error{"a1": failure.Terminalf(v1alpha1.ReasonRefused, nil, "The GitHub App lacks a permission")}, asked: map[string]int{}}
	runs, now := &starter{github: gh, started: map[string]int{}}, start
	r := &Reconciler{
		Client: inbox.Client, GitHub: gh, Runs: runs, Rules: trigger.Rules{Tags: []string{"qa/*"}}, Log: inbox.Log,
		Now: func() time.Time { return now },
	}
	deliver := func() (*v1alpha1.Delivery, error) {
		t.Helper()
		if err := inbox.Put(t.Context(), comes(now)); err != nil {
			t.Fatal(err)
		}
		_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "conductor", Name: guid}})
		return inbox.get(t), err
	}
	if d, err := deliver(); err != nil || d.Status.Outcome != v1alpha1.DeliveryFailed || !strings.Contains(d.Status.Reason, "permission") {
		t.Fatalf("%+v, %v", d.Status, err)
	}
	now = now.Add(24 * time.Hour)
	gh.commits["a1"] = errors.New("connection reset")
	if d, err := deliver(); err == nil || d.Status.ProcessedAt != nil {
		t.Errorf("what is transient is not tried again after the redelivery: %+v, %v", d.Status, err)
	}
	gh.commits["a1"] = nil
	for range 3 {
		d, err := deliver()
		if err != nil || d.Status.Outcome != v1alpha1.DeliveryStarted || strings.Contains(d.Status.Reason, "permission") || runs.started["refs/tags/qa/a"] != 1 {
			t.Errorf("%+v, runs %v, %v", d.Status, runs.started, err)
		}
	}
	if at := receivedAt(inbox.get(t)); !at.Time.Equal(now) {
		t.Errorf("received at %s, want the redelivery's %s", at, now)
	}
}

// Two replicas get a redelivery at a time: the second finds that the delivery was acted on meanwhile.
func TestRedeliveriesAtATimeOpenADeliveryOnce(t *testing.T) {
	var race func()
	opened := 0
	inbox := newInbox(t, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
		if other := race; other != nil {
			race = nil
			other()
		}
		err := c.SubResource(sub).Patch(ctx, o, p, opts...)
		if d, ok := o.(*v1alpha1.Delivery); ok && err == nil && d.Status.ProcessedAt == nil {
			opened++
		}
		return err
	}})
	end := func(outcome v1alpha1.DeliveryOutcome) {
		t.Helper()
		d := inbox.get(t)
		before := d.DeepCopy()
		d.Status.ProcessedAt, d.Status.Outcome = &metav1.Time{Time: start}, outcome
		if err := inbox.Client.Status().Patch(t.Context(), d, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	put := func() {
		t.Helper()
		if err := inbox.Put(t.Context(), comes(start)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	end(v1alpha1.DeliveryFailed)
	race = func() { put(); end(v1alpha1.DeliveryStarted) }
	put()
	if d := inbox.get(t); opened != 1 || d.Status.Outcome != v1alpha1.DeliveryStarted {
		t.Errorf("opened %d times, %+v", opened, d.Status)
	}
	for _, outcome := range []v1alpha1.DeliveryOutcome{v1alpha1.DeliveryStarted, v1alpha1.DeliveryRefused, v1alpha1.DeliveryIgnored} {
		end(outcome)
		if put(); opened != 1 || inbox.get(t).Status.Outcome != outcome {
			t.Errorf("a delivery that is %s was opened again", outcome)
		}
	}
}
