// Package delivery acts on what GitHub said: it turns a Delivery into a Run, a cancel, or an answer. It also looks for what
// GitHub did not say: tags whose push made no event.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/text"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// Runs is the door that Runs are started and ended through.
type Runs interface {
	// Start makes a Run, or finds the one of this name that is there already.
	Start(ctx context.Context, req runs.Request) (*v1alpha1.Run, error)
	// Cancel asks a Run to end; asking again changes nothing.
	Cancel(ctx context.Context, name, by, reason string) error
	// List lists the Runs of a repository by its id, newest first; 0 means all.
	List(ctx context.Context, repository int64) ([]v1alpha1.Run, error)
}

// Reconciler acts on Deliveries.
type Reconciler struct {
	Client client.Client
	GitHub GitHub
	Runs   Runs
	Rules  trigger.Rules
	Log    *slog.Logger
	Now    func() time.Time
}

// deadline is how long a Delivery is tried; GitHub forgets deliveries after three days (docs.github.com, handling failed
// webhook deliveries), and a run that starts so late helps no one.
const deadline = 6 * time.Hour

// Reconcile acts on one Delivery and notes what it became. What it does can be done twice: Runs are named by what the
// event means, and comments and reactions are looked for first.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	d := &v1alpha1.Delivery{}
	if err := r.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if d.Status.ProcessedAt != nil || d.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	before := d.DeepCopy()
	err := r.act(ctx, d)
	if f := failure.Of(err); f != nil {
		late := r.now().Sub(receivedAt(d).Time) > deadline
		switch {
		case f.Kind == failure.Terminal || late:
			r.Log.Error("a delivery cannot be acted on", "delivery", d.Name, "error", err)
			d.Status.Outcome, d.Status.Reason = v1alpha1.DeliveryFailed, f.Sentence
		case f.Kind == failure.Waiting:
			return ctrl.Result{RequeueAfter: f.After}, nil
		default:
			return ctrl.Result{}, fmt.Errorf("act on delivery %s: %w", d.Name, err)
		}
	}
	now := metav1.NewTime(r.now())
	d.Status.ProcessedAt = &now
	d.Status.Reason = text.Head(d.Status.Reason, 1024)
	r.Log.Info("delivery", "delivery", d.Name, "event", d.Spec.Event.Name, "outcome", d.Status.Outcome, "run", d.Status.Run, "reason", d.Status.Reason)
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Status().Patch(ctx, d, client.MergeFrom(before)))
}

// act does what the event asks for.
func (r *Reconciler) act(ctx context.Context, d *v1alpha1.Delivery) error {
	e := d.Spec.Event
	decision := trigger.Decide(e, r.Rules)
	d.Status.Reason = decision.Reason
	if decision.Action == trigger.Ignore {
		d.Status.Outcome = v1alpha1.DeliveryIgnored
		return nil
	}
	if e.Comment != nil {
		return r.comment(ctx, d, decision)
	}
	return r.push(ctx, d, decision)
}

// push starts the Run of a pushed tag.
func (r *Reconciler) push(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) error {
	e := d.Spec.Event
	if run, err := r.polled(ctx, d); err != nil || run != "" {
		d.Status.Outcome, d.Status.Run = v1alpha1.DeliveryStarted, run
		return err
	}
	return r.start(ctx, d, runs.Request{
		Name: trigger.RunName(e), Repository: e.Repository, InstallationID: e.InstallationID, Ref: e.Push.Ref, SHA: e.Push.HeadSHA, Object: e.Push.After,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, Delivery: d.Spec.GUID, ReceivedAt: receivedAt(d)},
		Actor:   e.Sender, Suites: decision.Suites,
	})
}

// polled finds the Run that the comparison of refs has started for this very push, when the delivery came late.
func (r *Reconciler) polled(ctx context.Context, d *v1alpha1.Delivery) (string, error) {
	e := d.Spec.Event
	list, err := r.Runs.List(ctx, e.Repository.ID)
	if err != nil {
		return "", fmt.Errorf("list runs: %w", err)
	}
	for _, run := range list {
		if run.Spec.Trigger.Kind == v1alpha1.TriggerPoll && run.Spec.Ref == e.Push.Ref && run.Spec.Object == e.Push.After &&
			e.Push.PushedAt <= run.CreationTimestamp.Unix() {
			return run.Name, nil
		}
	}
	return "", nil
}

// start makes the Run and notes it.
func (r *Reconciler) start(ctx context.Context, d *v1alpha1.Delivery, req runs.Request) error {
	run, err := r.Runs.Start(ctx, req)
	if err != nil {
		return err
	}
	faults.Started()
	d.Status.Outcome, d.Status.Run = v1alpha1.DeliveryStarted, run.Name
	return nil
}

// receivedAt is when a delivery came, the last time that it did.
func receivedAt(d *v1alpha1.Delivery) *metav1.MicroTime {
	at := d.CreationTimestamp.Time
	if t, err := time.Parse(time.RFC3339Nano, d.Annotations[v1alpha1.AnnotationReceivedAt]); err == nil {
		at = t
	}
	m := metav1.NewMicroTime(at)
	return &m
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

var errNoRun = errors.New("no run is under way")
