package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// sweepAge spares what is younger: its Run may have been made a moment ago.
const sweepAge = time.Minute

// Sweeper deletes what belongs to no Run any more, and Runs that are too old to keep. It never touches what does not carry
// Conductor's label.
type Sweeper struct {
	*Reconciler
	// Every is the time between two sweeps.
	Every time.Duration
}

// Start sweeps until the context ends. It runs on the leader only.
func (s *Sweeper) Start(ctx context.Context) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("a sweep was not complete", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep sweeps once.
func (s *Sweeper) Sweep(ctx context.Context) error {
	spaces, err := s.namespaces().List(ctx)
	if err != nil {
		return err
	}
	for i := range spaces {
		if err := s.deleteOrphan(ctx, &spaces[i]); err != nil {
			return err
		}
	}
	if err := s.deleteOrphanBuilds(ctx); err != nil {
		return err
	}
	if err := s.wakeRunsWithoutStack(ctx, spaces); err != nil {
		return err
	}
	return s.retire(ctx)
}

// deleteOrphan deletes a stack's namespace whose Run is gone.
func (s *Sweeper) deleteOrphan(ctx context.Context, ns *corev1.Namespace) error {
	run := ns.Labels[v1alpha1.LabelRun]
	deleted, err := s.namespaces().DeleteOrphan(ctx, ns, v1alpha1.LabelRunUID, s.now(), func(uid types.UID) (bool, error) {
		return s.exists(ctx, run, string(uid))
	})
	if deleted {
		s.Log.Info("a stack without a run is deleted", "namespace", ns.Name, "run", run)
	}
	return err
}

// wakeRunsWithoutStack wakes the Runs whose stack is kept although its namespace is gone.
func (s *Sweeper) wakeRunsWithoutStack(ctx context.Context, spaces []corev1.Namespace) error {
	list, err := s.listRuns(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		run := &list[i]
		kept := meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionStackKept)
		if kept && !slices.ContainsFunc(spaces, func(ns corev1.Namespace) bool { return ns.Name == run.Status.Namespace }) {
			s.stacks.wakeUp(run)
		}
	}
	return nil
}

// deleteOrphanBuilds deletes build Jobs whose Run is gone.
func (s *Sweeper) deleteOrphanBuilds(ctx context.Context) error {
	jobs, err := s.Kube.BatchV1().Jobs(s.Settings.Builds.Namespace).List(ctx, metav1.ListOptions{LabelSelector: s.namespaces().Selector()})
	if err != nil {
		return s.unlessGone(ctx, fmt.Errorf("list build jobs: %w", err))
	}
	background := metav1.DeletePropagationBackground
	for _, job := range jobs.Items {
		if s.now().Sub(job.CreationTimestamp.Time) < sweepAge {
			continue
		}
		name := job.Labels[v1alpha1.LabelRun]
		alive, err := s.exists(ctx, name, job.Labels[v1alpha1.LabelRunUID])
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		err = s.Kube.BatchV1().Jobs(job.Namespace).Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete build job %s: %w", job.Name, err)
		}
		gone := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := s.deleteBuildSecret(ctx, gone); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether the Run with this name and UID exists. It asks the API server itself: a Run that a cache does not know
// yet would lose its stack.
func (s *Sweeper) exists(ctx context.Context, name, uid string) (bool, error) {
	run := &v1alpha1.Run{}
	err := s.Live.Get(ctx, client.ObjectKey{Namespace: s.Settings.Namespace, Name: name}, run)
	if apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("get run %s: %w", name, err)
	}
	return string(run.UID) == uid, nil
}
