package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Cancellation asks for Runs to end.
type Cancellation struct {
	// By is who asks. The authority table decides whether they may.
	By authority.Subject
	// Reason is a text for people; it may be empty.
	Reason string
	// AskedAt is when it was asked; zero means now. CancelEach leaves Runs alone that were asked for later.
	AskedAt time.Time
	// Trace is the trace id of the request.
	Trace string
}

// Cancel asks a Run to end and its objects to be removed; for a finished Run, its stack. The first cancellation of a Run is the one that
// is kept; another one, or one of a Run whose stack is gone, changes nothing. The error is an *authority.Refusal if the authority table
// denies the request.
func (s *Service) Cancel(ctx context.Context, name string, c Cancellation) error {
	log := s.logger().With("trace", c.Trace, "run", name)
	if err := authorize(log, c.By, authority.Cancel, ""); err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { return s.cancel(ctx, log, name, c) })
}

// cancel patches the Run once; a conflict is returned as it is.
func (s *Service) cancel(ctx context.Context, log *slog.Logger, name string, c Cancellation) error {
	run, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	if err := authorize(log, c.By, authority.Cancel, run.Spec.Trust); err != nil {
		return err
	}
	if run.Spec.Cancel != nil || run.Status.Outcome != "" && meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept) {
		return nil
	}
	before := run.DeepCopy()
	run.Spec.Cancel = &v1alpha1.Cancel{By: c.By.Actor.Login, Reason: text.Head(c.Reason, 1024), At: metav1.NewTime(s.now())}
	err = s.Client.Patch(ctx, run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsConflict(err):
		return err
	case apierrors.IsNotFound(err):
		return fmt.Errorf("run %s: %w", name, ErrNotFound)
	case err != nil:
		return fmt.Errorf("cancel run %s: %w", name, err)
	}
	log.Info("run canceled", "actor", c.By.Actor.Login, "reason", c.Reason, "startedBy", v1alpha1.TraceOf(run))
	return nil
}

// CancelEach cancels the Runs of a repository that are under way and match, and returns their names. It can be repeated: Runs that the
// same request has canceled before are returned again, and Runs that were asked for after the request are left alone.
func (s *Service) CancelEach(ctx context.Context, repository int64, c Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error) {
	if c.AskedAt.IsZero() {
		c.AskedAt = s.now()
	}
	if err := authorize(s.logger().With("trace", c.Trace), c.By, authority.Cancel, ""); err != nil {
		return nil, err
	}
	list, err := s.List(ctx, repository)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list {
		run := &list[i]
		if !matches(run) || received(run).After(c.AskedAt) || run.Status.Outcome != "" && !c.hasCanceled(run) {
			continue
		}
		err := s.Cancel(ctx, run.Name, c)
		switch {
		case errors.Is(err, ErrNotFound): // Deleted since it was listed.
		case err != nil:
			return nil, err
		default:
			names = append(names, run.Name)
		}
	}
	return names, nil
}

// hasCanceled reports whether a Run's cancellation is this one, from an earlier attempt. Times in a Run's spec have whole seconds.
func (c Cancellation) hasCanceled(run *v1alpha1.Run) bool {
	have := run.Spec.Cancel
	return have != nil && have.By == c.By.Actor.Login && !have.At.Time.Before(c.AskedAt.Truncate(time.Second))
}
