// Package runs is the one door that Runs are started, looked at and ended through, for webhooks, people and agents alike.
package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

var (
	// ErrNotFound says that there is no such Run.
	ErrNotFound = errors.New("there is no such run")
	// ErrNoLog says that there is no log of what was asked for.
	ErrNoLog = errors.New("there is no log")
)

// Service is the door to the Runs of one Conductor.
type Service struct {
	// Client may read from a cache.
	Client client.Client
	// Indexed means that Client reads from a cache with the index that Index adds. Without it List asks for all Runs and filters them.
	Indexed bool
	// Namespace is Conductor's own.
	Namespace string
	// GitHub and Ceilings are needed to start Runs alone: what GitHub knows of a commit, and the operator's limits at the moment.
	GitHub   GitHub
	Ceilings func() v1alpha1.Ceilings
	// Logs reads the logs of pods; nil leaves what the Runs themselves keep of them.
	Logs Logs
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

// repositoryField is the name of the index of Runs by the id of their repository.
const repositoryField = "spec.repository.id"

// Index has a cache find the Runs of one repository. By the id in the spec and not by the label, which a Run made with kubectl does
// not have.
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

// List returns the Runs of a repository by its id, newest first; 0 means all. They may share memory with a cache: they are for reading
// only.
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

// NewestFirst orders Runs. Creation times have whole seconds: Runs of the same second are ordered by when Conductor received what
// started them, and then by name, so that everyone who compares the same Runs finds the same order.
func NewestFirst(a, b *v1alpha1.Run) int {
	return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), received(b).Compare(received(a)), cmp.Compare(a.Name, b.Name))
}

func received(run *v1alpha1.Run) time.Time {
	if at := run.Spec.Trigger.ReceivedAt; at != nil {
		return at.Time
	}
	return run.CreationTimestamp.Time
}

// Cancel asks a Run to end and what it made to be removed; of a Run whose outcome is known, its stack. The first to ask is who
// canceled it; asking again, or when nothing is left, changes nothing.
func (s *Service) Cancel(ctx context.Context, name, by, reason string) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		run, err := s.Get(ctx, name)
		if err != nil {
			return err
		}
		if run.Spec.Cancel != nil || run.Status.Outcome != "" && meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept) {
			return nil
		}
		before := run.DeepCopy()
		run.Spec.Cancel = &v1alpha1.Cancel{By: by, Reason: text.Head(reason, 1024), At: metav1.NewTime(s.now())}
		err = s.Client.Patch(ctx, run, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("run %s: %w", name, ErrNotFound)
		}
		if err != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("cancel run %s: %w", name, err)
		}
		return err
	})
}

// watchPause is the time between two looks of Watch.
const watchPause = 500 * time.Millisecond

// Watch calls each with the Run whenever it changed, and returns it once its outcome is known. It looks twice a second: that needs
// no right but get, and a connection that breaks costs nothing.
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

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
