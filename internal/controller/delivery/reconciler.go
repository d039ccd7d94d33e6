// Package delivery acts on what GitHub delivered: it turns a Delivery into Runs, cancellations and replies. It also polls for what
// GitHub does not deliver: tags whose push made no event.
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
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// Runs starts and cancels Runs. Both check the authority table: their error is an *authority.Refusal if it denies the request.
type Runs interface {
	// Start creates a Run, or returns the one of this name that exists.
	Start(ctx context.Context, req runs.Request) (*v1alpha1.Run, error)
	// CancelEach cancels the Runs of a repository that are under way and match, and returns their names. It can be repeated.
	CancelEach(ctx context.Context, repository int64, c runs.Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error)
	// CloseEach ends the Runs and stacks of a repository that match, because their issue was closed, and returns their names. It can be
	// repeated.
	CloseEach(ctx context.Context, repository int64, c runs.Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error)
	// Extend keeps the stack of a finished Run for at least a time, and returns when it expires; zero means never. It can be repeated.
	Extend(ctx context.Context, name string, e runs.Extension) (time.Time, error)
	// DownEach deletes the kept stacks of the finished Runs of a repository that match, and returns their names. It can be repeated.
	DownEach(ctx context.Context, repository int64, c runs.Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error)
	// Touch notes that a command uses a Run's kept stack.
	Touch(ctx context.Context, name string, by authority.Subject, action authority.Action) error
	// List returns the Runs of a repository by its id, newest first; 0 means all.
	List(ctx context.Context, repository int64) ([]v1alpha1.Run, error)
}

// Reconciler acts on Deliveries.
type Reconciler struct {
	Client client.Client
	GitHub GitHub
	Runs   Runs
	Rules  trigger.Rules
	// Ready reports whether comments may be acted on: not before those were taken from GitHub's log that are older. Nil means always.
	Ready func() bool
	// Observer gets every decision that was acted on; nil means none.
	Observer observe.Observer
	Log      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// deadline is how long a Delivery is retried after it was stored. GitHub forgets deliveries after three days (docs.github.com, handling failed
// webhook deliveries), and a run that starts so late does not help anyone.
const deadline = 6 * time.Hour

// Reconcile acts on one Delivery and records the result, in the order in which those of an issue were received. Acting can be repeated:
// Runs are named by what the event means, a cancellation knows what it has canceled before, and comments and reactions are searched for
// before they are created.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	d := &v1alpha1.Delivery{}
	if err := r.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if d.Status.ProcessedAt != nil || d.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	if isNext, err := r.isNext(ctx, d); err != nil {
		return ctrl.Result{}, err
	} else if !isNext {
		return ctrl.Result{RequeueAfter: orderPause}, nil
	}
	results, err := r.act(ctx, d)
	if f := failure.Of(err); f != nil {
		switch {
		case r.isFinal(d, f):
			results = append(results, r.failed(d, err))
		case f.Kind == failure.Waiting:
			r.log(d).Info("delivery waits", "reason", f.Sentence, "after", f.After)
			return ctrl.Result{RequeueAfter: f.After}, nil
		default:
			return ctrl.Result{}, fmt.Errorf("act on delivery %s: %w", d.Name, err)
		}
	}
	faults.At(faults.Acted)
	return ctrl.Result{}, r.record(ctx, d, results)
}

// record notes what a Delivery became. Decisions are observed after that, so that a retry does not repeat them.
func (r *Reconciler) record(ctx context.Context, d *v1alpha1.Delivery, results []result) error {
	before := d.DeepCopy()
	now := metav1.NewTime(r.now())
	d.Status = summarize(results)
	d.Status.ProcessedAt = &now
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, d, client.MergeFrom(before))); err != nil {
		return fmt.Errorf("record delivery %s: %w", d.Name, err)
	}
	r.log(d).Info("delivery", "event", d.Spec.Event.Name, "outcome", d.Status.Outcome, "run", d.Status.Run, "reason", d.Status.Reason)
	for _, res := range results {
		if res.decision != nil {
			r.observe(*res.decision)
		}
	}
	return nil
}

// act does what the event asks for.
func (r *Reconciler) act(ctx context.Context, d *v1alpha1.Delivery) ([]result, error) {
	decision := trigger.Decide(d.Spec.Event, r.Rules)
	switch {
	case decision.IsIgnored():
		return []result{{outcome: v1alpha1.DeliveryIgnored, reason: decision.Reason}}, nil
	case d.Spec.Event.Comment != nil:
		return r.comment(ctx, d, decision)
	}
	act := r.push
	if decision.Ends > 0 {
		act = r.closed
	}
	res, err := act(ctx, d, decision)
	if err != nil {
		return nil, err
	}
	return []result{res}, nil
}

// push starts the Run of a pushed tag.
func (r *Reconciler) push(ctx context.Context, d *v1alpha1.Delivery, decision trigger.Decision) (result, error) {
	e := d.Spec.Event
	if run, err := r.polled(ctx, d); err != nil || run != "" {
		return result{outcome: v1alpha1.DeliveryStarted, reason: decision.Reason, runs: []string{run}}, err
	}
	res, err := r.start(ctx, runs.Request{
		By: authority.Pusher(e.Sender), Name: trigger.RunName(e), Repository: e.Repository, InstallationID: e.InstallationID,
		Ref: e.Push.Ref, SHA: e.Push.HeadSHA, Object: e.Push.After,
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, Delivery: d.Spec.GUID, ReceivedAt: receivedAt(d)},
	})
	return r.decided(d, e.Sender, authority.StartByTag, decision.Reason, res, err)
}

// polled returns the Run that the poll has started for this very push, if the delivery came late.
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

// start starts a Run.
func (r *Reconciler) start(ctx context.Context, req runs.Request) (result, error) {
	run, err := r.Runs.Start(ctx, req)
	if err != nil {
		return result{}, err
	}
	faults.At(faults.Started)
	return result{outcome: v1alpha1.DeliveryStarted, runs: []string{run.Name}, trust: run.Spec.Trust}, nil
}

// decided completes the result of a request with the authority's decision. A refusal becomes a result; other errors are returned.
func (r *Reconciler) decided(d *v1alpha1.Delivery, by v1alpha1.Actor, action authority.Action, reason string, res result, err error) (result, error) {
	refusal, isRefused := errors.AsType[*authority.Refusal](err)
	switch {
	case isRefused && refusal.Answer == "":
		res = result{outcome: v1alpha1.DeliveryIgnored, reason: refusal.Reason, trust: refusal.Trust}
	case isRefused:
		res = result{outcome: v1alpha1.DeliveryRefused, reason: refusal.Reason, reply: refusal.Answer, trust: refusal.Trust}
	case err != nil:
		return result{}, err
	case res.reason == "":
		res.reason = reason
	}
	if isRefused {
		reason = refusal.Reason
	}
	res.decision = &observe.Decision{
		Trace: d.Spec.GUID, Repository: d.Spec.Event.Repository, Actor: by, Action: string(action), Trust: res.trust, Allowed: !isRefused, Reason: reason,
	}
	return res, nil
}

// isFinal reports whether a failure ends a Delivery: it is terminal, or the Delivery was retried for too long.
func (r *Reconciler) isFinal(d *v1alpha1.Delivery, f *failure.Error) bool {
	since := receivedAt(d).Time
	if d.CreationTimestamp.After(since) { // It was found in GitHub's log later.
		since = d.CreationTimestamp.Time
	}
	return f.Kind == failure.Terminal || r.now().Sub(since) > deadline
}

// failed returns the result of a failure that is final.
func (r *Reconciler) failed(d *v1alpha1.Delivery, err error) result {
	r.log(d).Error("delivery failed", "error", err)
	return result{outcome: v1alpha1.DeliveryFailed, reason: failure.Of(err).Sentence}
}

// log returns the logger for a Delivery; every line has its trace id.
func (r *Reconciler) log(d *v1alpha1.Delivery) *slog.Logger { return r.Log.With("trace", d.Spec.GUID) }

// receivedAt returns when a delivery was last received.
func receivedAt(d *v1alpha1.Delivery) *metav1.MicroTime {
	at := d.CreationTimestamp.Time
	if t, err := time.Parse(time.RFC3339Nano, d.Annotations[v1alpha1.AnnotationReceivedAt]); err == nil {
		at = t
	}
	m := metav1.NewMicroTime(at)
	return &m
}

func (r *Reconciler) observe(d observe.Decision) {
	if r.Observer != nil {
		r.Observer.Decided(d)
	}
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
