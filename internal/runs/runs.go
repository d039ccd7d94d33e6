// Package runs is the one way in: webhooks, people and agents start, read and cancel Runs through it. Whatever changes something takes an
// authority.Subject and checks the authority table, so that a new driver cannot forget to.
package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

var (
	// ErrNotFound means that the Run does not exist.
	ErrNotFound = errors.New("not found")
	// ErrNoStack means that a Run has no kept stack: it is in progress, or its stack is gone.
	ErrNoStack = errors.New("no kept stack")
	// ErrNoLog means that a log does not exist, or not any more.
	ErrNoLog = errors.New("no log found")
)

// Service manages the Runs of one Conductor.
type Service struct {
	// Client may read from a cache.
	Client client.Client
	// Indexed means that Client reads from a cache with the index that Index adds. Without it List reads all Runs and filters them.
	Indexed bool
	// Namespace is Conductor's own.
	Namespace string
	// GitHub and Ceilings are needed only to start Runs: what GitHub knows about a commit, and the operator's current limits.
	GitHub   GitHub
	Ceilings func() v1alpha1.Ceilings
	// Forks allows Runs of the code of forks, if the command names the commit.
	Forks bool
	// Logs reads the logs of pods; if it is nil, only what the Runs themselves keep of them is found.
	Logs Logs
	// Logger gets a line for each Run that is started, canceled or refused; nil discards them.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Get returns a Run, or ErrNotFound.
func (s *Service) Get(ctx context.Context, name string) (*v1alpha1.Run, error) {
	run := &v1alpha1.Run{}
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, run)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("run %s: %w", name, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("get run %s: %w", name, err)
	}
	return run, nil
}

// repositoryField is the name of the index of Runs by repository id.
const repositoryField = "spec.repository.id"

// Index indexes a cache's Runs by repository. It uses the id in the spec, not the label, which a Run created with kubectl may lack.
func Index(ctx context.Context, cache client.FieldIndexer) error {
	err := cache.IndexField(ctx, &v1alpha1.Run{}, repositoryField, func(o client.Object) []string {
		run, ok := o.(*v1alpha1.Run)
		if !ok {
			return nil
		}
		return []string{strconv.FormatInt(run.Spec.Repository.ID, 10)}
	})
	if err != nil {
		return fmt.Errorf("index the runs by repository: %w", err)
	}
	return nil
}

// List returns the Runs of a repository by its id, newest first; 0 means all. They are read-only: they may share memory with a cache.
func (s *Service) List(ctx context.Context, repository int64) ([]v1alpha1.Run, error) {
	options := []client.ListOption{client.InNamespace(s.Namespace), client.UnsafeDisableDeepCopy}
	if s.Indexed && repository != 0 {
		options = append(options, client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector(repositoryField, strconv.FormatInt(repository, 10))})
	}
	var list v1alpha1.RunList
	if err := s.Client.List(ctx, &list, options...); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	runs := slices.DeleteFunc(list.Items, func(r v1alpha1.Run) bool { return repository != 0 && r.Spec.Repository.ID != repository })
	slices.SortFunc(runs, func(a, b v1alpha1.Run) int { return NewestFirst(&a, &b) })
	return runs, nil
}

// NewestFirst compares Runs by age. Creation times have whole seconds, so Runs of the same second are ordered by when Conductor received
// what started them, and then by name: the order is total and the same for everyone.
func NewestFirst(a, b *v1alpha1.Run) int {
	return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), received(b).Compare(received(a)), cmp.Compare(a.Name, b.Name))
}

// received returns when Conductor received what started the Run.
func received(run *v1alpha1.Run) time.Time {
	if at := run.Spec.Trigger.ReceivedAt; at != nil {
		return at.Time
	}
	return run.CreationTimestamp.Time
}

// watchPause is the interval at which Watch polls.
const watchPause = 500 * time.Millisecond

// Watch calls each with the Run whenever it changed, and returns it once its outcome is known. It polls: that needs only the right to
// get, and survives broken connections.
func (s *Service) Watch(ctx context.Context, name string, each func(*v1alpha1.Run)) (*v1alpha1.Run, error) {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for version := ""; ; {
		run, err := s.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if run.ResourceVersion != version {
			version = run.ResourceVersion
			each(run)
		}
		if run.Status.Outcome != "" {
			return run, nil
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Service) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
