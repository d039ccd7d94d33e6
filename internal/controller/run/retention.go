package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// metadataPage is how many Runs' metadata are read from the API server at a time.
const metadataPage = 500

// retire deletes finished Runs without a stack that are older than the retention or not among the newest of their repository. The
// cache shows whether there may be any. Which Runs count comes from the API server, since a cache may still hold newer ones that
// are gone.
func (s *Sweeper) retire(ctx context.Context) error {
	list, err := s.listRuns(ctx)
	if err != nil {
		return err
	}
	inCache := func(run *v1alpha1.Run) bool { return run.DeletionTimestamp == nil }
	if len(surplus(list, inCache, s.Settings.Retention, s.now())) == 0 {
		return nil
	}
	living, err := s.livingRuns(ctx)
	if err != nil {
		return err
	}
	counts := func(run *v1alpha1.Run) bool { return living[run.UID] }
	for _, run := range surplus(list, counts, s.Settings.Retention, s.now()) {
		// A Run that has changed since is judged again at the next sweep.
		gone := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: run.Name, Namespace: run.Namespace}}
		err := s.Client.Delete(ctx, gone, client.Preconditions{UID: &run.UID, ResourceVersion: &run.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete run %s: %w", run.Name, err)
		}
	}
	return nil
}

// surplus are the Runs that retention does not keep. Only those that count take one of their repository's places: not those that are
// being deleted.
func surplus(list []v1alpha1.Run, counts func(*v1alpha1.Run) bool, keep settings.Retention, now time.Time) []*v1alpha1.Run {
	ordered := make([]*v1alpha1.Run, 0, len(list))
	for i := range list {
		if counts(&list[i]) {
			ordered = append(ordered, &list[i])
		}
	}
	slices.SortFunc(ordered, runs.NewestFirst)
	var out []*v1alpha1.Run
	seen := map[int64]int{}
	for _, run := range ordered {
		seen[run.Spec.Repository.ID]++
		isOld := now.Sub(run.CreationTimestamp.Time) > keep.Age.Duration
		if (isOld || seen[run.Spec.Repository.ID] > keep.PerRepository) && isFinished(run) {
			out = append(out, run)
		}
	}
	return out
}

// livingRuns are the UIDs of the Runs that the API server has and is not deleting. Their metadata is read page by page.
func (s *Sweeper) livingRuns(ctx context.Context) (map[types.UID]bool, error) {
	living := map[types.UID]bool{}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunList"))
	for {
		err := s.Live.List(ctx, list, client.InNamespace(s.Settings.Namespace), client.Limit(metadataPage), client.Continue(list.Continue))
		if err != nil {
			return nil, fmt.Errorf("list the metadata of runs: %w", err)
		}
		for i := range list.Items {
			living[list.Items[i].UID] = list.Items[i].DeletionTimestamp == nil
		}
		if list.Continue == "" {
			return living, nil
		}
	}
}

// isFinished reports whether a Run's outcome is reported, or given up to be, and its stack is gone.
func isFinished(run *v1alpha1.Run) bool {
	reported, gone := false, false
	for _, c := range run.Status.Conditions {
		reported = reported || c.Type == v1alpha1.ConditionReported && c.Status != metav1.ConditionUnknown
		gone = gone || c.Type == v1alpha1.ConditionStackKept && c.Status == metav1.ConditionFalse
	}
	return run.Status.Outcome != "" && reported && gone
}
