package runs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

// Extension asks for a stack to be kept longer.
type Extension struct {
	// By is who asks. The authority table decides whether they may.
	By authority.Subject
	// For is counted from AskedAt; Forever asks for no end instead.
	For     time.Duration
	Forever bool
	// AskedAt is when it was asked; zero means now.
	AskedAt time.Time
	// Trace is the trace id of the request.
	Trace string
}

// Extend keeps the stack of a finished Run for at least a time from now, and returns when it expires; the zero time means never. A stack
// that is kept longer already stays as it is. The ceilings bound all of its time: a result before AskedAt plus For, or one that is not zero
// although Forever was asked for, is the latest that they allow. The result of a request that is repeated is the same. The error is an
// *authority.Refusal if the authority table denies the request, and ErrNoStack if no stack is kept.
func (s *Service) Extend(ctx context.Context, name string, e Extension) (time.Time, error) {
	if e.AskedAt.IsZero() {
		e.AskedAt = s.now()
	}
	log := s.logger().With("trace", e.Trace, "run", name)
	var expiry time.Time
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		expiry, err = s.extend(ctx, log, name, e)
		return err
	})
	return expiry, err
}

// extend patches the Run once; a conflict is returned as it is.
func (s *Service) extend(ctx context.Context, log *slog.Logger, name string, e Extension) (time.Time, error) {
	run, err := s.kept(ctx, log, name, e.By, authority.Extend)
	if err != nil {
		return time.Time{}, err
	}
	before, had := run.DeepCopy(), run.Expiry()
	until := e.until(run)
	run.Spec.Extension = &v1alpha1.Extension{By: e.By.Actor.Login, Until: until}
	if had == nil || until != nil && !had.Before(until) {
		run.Spec.Extension = before.Spec.Extension
	}
	if now := metav1.NewTime(s.now()); run.Status.Idle != nil { // A command is activity.
		run.Spec.ActiveAt = &now
	}
	if err := s.patch(ctx, run, before); err != nil {
		return time.Time{}, err
	}
	expiry := run.Expiry()
	log.Info("stack extended", "actor", e.By.Actor.Login, "expires", expiry, "startedBy", v1alpha1.TraceOf(run))
	if expiry == nil {
		return time.Time{}, nil
	}
	return expiry.Time, nil
}

// until is the end of an extension within the ceilings of a Run; nil means never.
func (e Extension) until(run *v1alpha1.Run) *metav1.Time {
	most := run.Status.FinishedAt.Add(run.Spec.Ceilings.KeepMax.Duration)
	at := e.AskedAt.Add(e.For)
	switch {
	case e.Forever && run.Spec.Ceilings.KeepForever:
		return nil
	case e.Forever || at.After(most):
		at = most
	}
	return &metav1.Time{Time: at.Truncate(time.Second)}
}

// kept returns a Run whose stack is kept, for an action that the authority table allows.
func (s *Service) kept(ctx context.Context, log *slog.Logger, name string, by authority.Subject, action authority.Action) (*v1alpha1.Run, error) {
	if err := authorize(log, by, action, ""); err != nil {
		return nil, err
	}
	run, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := authorize(log, by, action, run.Spec.Trust); err != nil {
		return nil, err
	}
	if !run.IsKept(s.now()) {
		return nil, fmt.Errorf("run %s: %w", name, ErrNoStack)
	}
	return run, nil
}

// touchInterval bounds how often the activity on a stack is stored.
const touchInterval = time.Minute

// Touch notes that a command uses a Run's kept stack, which starts the time anew after which an idle stack is deleted. It is stored at most
// once a minute, and only if idleness ends the stack. The error is an *authority.Refusal if the authority table denies the action, and
// ErrNoStack if no stack is kept.
func (s *Service) Touch(ctx context.Context, name string, by authority.Subject, action authority.Action) error {
	log := s.logger().With("run", name)
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		run, err := s.kept(ctx, log, name, by, action)
		if err != nil || run.Status.Idle == nil {
			return err
		}
		now := s.now()
		if a := run.Spec.ActiveAt; a != nil && now.Sub(a.Time) < touchInterval {
			return nil
		}
		before := run.DeepCopy()
		run.Spec.ActiveAt = &metav1.Time{Time: now}
		return s.patch(ctx, run, before)
	})
}
