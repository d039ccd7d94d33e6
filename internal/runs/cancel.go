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
	return s.end(ctx, authority.Cancel, name, c)
}

// Down deletes the kept stack of a finished Run. Like Cancel it can be repeated. The error is ErrNoStack if the Run is in progress.
func (s *Service) Down(ctx context.Context, name string, c Cancellation) error {
	return s.end(ctx, authority.Down, name, c)
}

// end sets the cancellation of a Run.
func (s *Service) end(ctx context.Context, action authority.Action, name string, c Cancellation) error {
	log := s.logger().With("trace", c.Trace, "run", name)
	if err := authorize(log, c.By, action, ""); err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { return s.tryEnd(ctx, log, action, name, c) })
}

// tryEnd patches the Run once; a conflict is returned as it is.
func (s *Service) tryEnd(ctx context.Context, log *slog.Logger, action authority.Action, name string, c Cancellation) error {
	run, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	if err := authorize(log, c.By, action, run.Spec.Trust); err != nil {
		return err
	}
	if action == authority.Down && run.Status.Outcome == "" {
		return fmt.Errorf("run %s is in progress: %w", name, ErrNoStack)
	}
	if run.Spec.Cancel != nil || run.Status.Outcome != "" && meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept) {
		return nil
	}
	before := run.DeepCopy()
	run.Spec.Cancel = &v1alpha1.Cancel{By: c.By.Actor.Login, Reason: text.Head(c.Reason, 1024), At: metav1.NewTime(s.now())}
	if err := s.patch(ctx, run, before); err != nil {
		return err
	}
	log.Info("run canceled", "action", action, "actor", c.By.Actor.Login, "reason", c.Reason, "startedBy", v1alpha1.TraceOf(run))
	return nil
}

// patch writes the changes of a Run's spec, unless it has changed since it was read: then the error is a conflict, as it is.
func (s *Service) patch(ctx context.Context, run, before *v1alpha1.Run) error {
	err := s.Client.Patch(ctx, run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	switch {
	case err == nil || apierrors.IsConflict(err):
		return err
	case apierrors.IsNotFound(err):
		return fmt.Errorf("run %s: %w", run.Name, ErrNotFound)
	}
	return fmt.Errorf("patch run %s: %w", run.Name, err)
}

// CancelEach cancels the Runs of a repository that are in progress and match, and returns their names. It can be repeated: Runs that the
// same request has canceled before are returned again, and Runs that were asked for after the request are left alone.
func (s *Service) CancelEach(ctx context.Context, repository int64, c Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error) {
	return s.endEach(ctx, authority.Cancel, repository, c, func(run *v1alpha1.Run) bool {
		return (run.Status.Outcome == "" || run.Status.Outcome == v1alpha1.OutcomeCanceled && c.hasEnded(run)) && matches(run)
	})
}

// DownEach deletes the kept stacks of the finished Runs of a repository that match, and returns the names of the Runs. It can be repeated
// like CancelEach.
func (s *Service) DownEach(ctx context.Context, repository int64, c Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error) {
	now := s.now()
	return s.endEach(ctx, authority.Down, repository, c, func(run *v1alpha1.Run) bool {
		return run.Status.Outcome != "" && run.Status.Outcome != v1alpha1.OutcomeCanceled && (run.IsKept(now) || c.hasEnded(run)) && matches(run)
	})
}

// CloseEach ends the Runs of a repository that match, because their issue or pull request was closed: it cancels those in progress and
// deletes the kept stacks of the others, except where the repository keeps them (keep.after_close). It can be repeated like CancelEach.
func (s *Service) CloseEach(ctx context.Context, repository int64, c Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error) {
	now := s.now()
	return s.endEach(ctx, authority.Close, repository, c, func(run *v1alpha1.Run) bool {
		return (run.Status.Outcome == "" || run.IsKept(now) || c.hasEnded(run)) && !run.Status.KeptAfterClose && matches(run)
	})
}

func (s *Service) endEach(ctx context.Context, action authority.Action, repository int64, c Cancellation, matches func(*v1alpha1.Run) bool) ([]string, error) {
	if c.AskedAt.IsZero() {
		c.AskedAt = s.now()
	}
	if err := authorize(s.logger().With("trace", c.Trace), c.By, action, ""); err != nil {
		return nil, err
	}
	list, err := s.List(ctx, repository)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list {
		run := &list[i]
		if received(run).After(c.AskedAt) || !matches(run) {
			continue
		}
		err := s.end(ctx, action, run.Name, c)
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

// hasEnded reports whether a Run's cancellation is this one, from an earlier attempt. Times in a Run's spec have whole seconds.
func (c Cancellation) hasEnded(run *v1alpha1.Run) bool {
	have := run.Spec.Cancel
	return have != nil && have.By == c.By.Actor.Login && !have.At.Time.Before(c.AskedAt.Truncate(time.Second))
}
