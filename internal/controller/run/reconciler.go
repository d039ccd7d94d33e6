package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/faults"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

// runner is a stage and what reconciles it.
type stageRunner struct {
	stage.Stage
	run func(*Reconciler, context.Context, *state) error
}

// stages is the way of a Run, in the order of stage.Table.
var stages []stageRunner

func init() {
	run := map[string]func(*Reconciler, context.Context, *state) error{
		"checkout": (*Reconciler).reconcileCheckout,
		"secrets":  (*Reconciler).reconcileSecrets,
		"builds":   (*Reconciler).reconcileBuilds,
		"images":   (*Reconciler).reconcileImages,
		"stack":    (*Reconciler).reconcileStack,
		"tests":    (*Reconciler).reconcileTests,
		"record":   (*Reconciler).reconcileRecord,
		"report":   (*Reconciler).reconcileReport,
		"keep":     (*Reconciler).reconcileKeep,
	}
	for _, st := range stage.Table {
		stages = append(stages, stageRunner{st, run[st.Name]})
	}
}

// Reconciler moves Runs through their stages.
type Reconciler struct {
	// Client reads Runs, namespaces and the builds namespace from its cache and writes anything.
	Client client.Client
	// Live reads Runs from the API server itself.
	Live client.Reader
	// Kube reads logs and what must not come from a cache.
	Kube     kubernetes.Interface
	GitHub   GitHub
	Registry Registry
	Agents   Agents
	Planner  Planner
	Settings settings.Settings
	// Dir is where checkouts are kept while their Runs are under way.
	Dir string
	// Unclean reports whether the leader before this process ended without stopping; nil means that it did not.
	Unclean func() bool
	// Observer is given the transitions of Runs; nil means none.
	Observer observe.Observer
	// Log is the operators' log.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	sessions *sessions
	plans    *planning
	guard    *guard
	steps    *steps
	// checkouts is the room on disk for what the plans are made of.
	checkouts room
	// fetched are the repositories whose commits are being fetched.
	fetched turns
	// large is the turn of large checkouts.
	large largeTurn
	// undeleted notes once that the registry deletes nothing.
	undeleted sync.Once
	results   *results
	stacks    *stackPods
	agents    *stackAgents
	lookups   *imageLookups
}

// Reconcile runs every stage of one Run and writes its status once.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	run := &v1alpha1.Run{}
	if err := r.Client.Get(ctx, req.NamespacedName, run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	run = r.sessions.newest(run)
	if run.DeletionTimestamp != nil {
		return r.finalize(ctx, run)
	}
	if !controllerutil.ContainsFinalizer(run, v1alpha1.Finalizer) {
		return ctrl.Result{}, r.addFinalizer(ctx, run)
	}
	if err := r.guard.prepare(ctx); err != nil {
		return ctrl.Result{}, err
	}
	before := run.DeepCopy()
	r.guard.judge(run)
	s := &state{run: run, noted: before.Status.Step, now: r.now(), clock: r.now, deadlines: r.Settings.Deadlines}
	defer func() { // Whatever happens: there are few of them.
		if s.plan != nil {
			s.plan.release()
		}
	}()
	err := r.walk(ctx, s)
	faults.Between(&before.Status, s.status())
	if perr := r.patchStatus(ctx, before, s); perr != nil {
		if apierrors.IsConflict(perr) {
			return ctrl.Result{RequeueAfter: 10 * time.Millisecond}, nil
		}
		return ctrl.Result{}, errors.Join(err, perr)
	}
	r.guard.confirm(run.UID)
	r.steps.stored(run.UID, s.now)
	r.notifyObserver(before, s.run)
	if err != nil {
		r.Log.Warn("a stage will be tried again", "run", run.Name, "error", err)
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.requeue}, nil
}

// walk runs every stage in order. Its error is one that a retry may mend.
func (r *Reconciler) walk(ctx context.Context, s *state) error {
	if s.status().StartedAt == nil {
		s.status().StartedAt = s.timestamp()
	}
	r.enforceLimits(s)
	r.enforceGuard(s)
	var errs []error
	for _, st := range stages {
		if s.hasOutcome() && !st.Always {
			continue
		}
		if err := s.handleError(st, st.run(r, ctx, s)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", st.Name, err))
		}
	}
	s.leaveToRecord()
	s.status().Phase = s.phase()
	s.status().ObservedGeneration = s.run.Generation
	return errors.Join(errs...)
}

// enforceLimits ends a Run that was cancelled or that took too long.
func (r *Reconciler) enforceLimits(s *state) {
	if s.hasOutcome() {
		return
	}
	if c := s.run.Spec.Cancel; c != nil {
		message := "Canceled by " + c.By
		if c.Reason != "" {
			message += ": " + c.Reason
		}
		s.finish(v1alpha1.OutcomeCanceled, v1alpha1.ReasonCanceled, message)
		return
	}
	limit := s.run.Spec.Ceilings.RunTimeout.Duration
	left := s.status().StartedAt.Add(limit).Sub(s.now)
	if limit > 0 && left <= 0 {
		where := "it began"
		for _, st := range stages {
			if s.isOpen(st.Condition) {
				where = "its stage " + st.Name
				if c := meta.FindStatusCondition(s.status().Conditions, st.Condition); c != nil && c.Message != "" {
					where += ": " + c.Message
				}
				break
			}
		}
		s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonTimeout, fmt.Sprintf("The run did not end within %s (runTimeout); it got to %s", limit, where))
		return
	}
	s.requeueAfter(left)
}

// patchStatus writes what the stages changed. A status that the API server refuses for what is in it would be refused again and again;
// another one that reports this is written instead.
func (r *Reconciler) patchStatus(ctx context.Context, before *v1alpha1.Run, s *state) error {
	err := r.writeStatus(ctx, before, s)
	if isRefused(err) {
		return r.storeRefusal(ctx, before, s, err)
	}
	return err
}

// writeStatus writes a status, and nothing when it is the one before.
func (r *Reconciler) writeStatus(ctx context.Context, before *v1alpha1.Run, s *state) error {
	if equality.Semantic.DeepEqual(before.Status, s.run.Status) {
		return nil
	}
	if !compact.Bound(s.run) { // Its plan would have been refused; a later version may list more.
		r.Log.Error("a run is larger than it may be", "run", s.run.Name, "allowed", compact.MaxRun)
	}
	err := r.Client.Status().Patch(ctx, s.run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return err
	}
	r.sessions.keepWritten(s.run)
	return nil
}

func (r *Reconciler) addFinalizer(ctx context.Context, run *v1alpha1.Run) error {
	before := run.DeepCopy()
	controllerutil.AddFinalizer(run, v1alpha1.Finalizer)
	return r.Client.Patch(ctx, run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

func (r *Reconciler) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
