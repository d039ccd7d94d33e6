//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// keeping is the small repository's .conductor.yaml with keep.
func keeping(keep string) map[string]string {
	return map[string]string{".conductor.yaml": "version: 1\nkeep: " + keep + "\ntests:\n  smoke: sh /test.sh\n"}
}

// TestStackExpires keeps a stack for a few seconds and checks for leftovers.
func TestStackExpires(t *testing.T) {
	t.Parallel()
	r := small(t, keeping("5s"))
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed || run.Status.Keep != "5s" {
		t.Fatalf("outcome %s, kept for %q: %s", run.Status.Outcome, run.Status.Keep, run.Status.Message)
	}
	r.gone(run)
	eventually(t, patience, func() error {
		run = r.get(run)
		c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackKept)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonExpired || run.Status.ExpiresAt != nil {
			return fmt.Errorf("the run says %+v, expires at %v", c, run.Status.ExpiresAt)
		}
		return nil
	})
	if lived := time.Since(run.Status.FinishedAt.Time); lived < 5*time.Second {
		t.Errorf("the stack was gone %s after the outcome, before its time", lived)
	}
	eventually(t, patience, func() error {
		if got := r.marked("The stack expired (5s) and was deleted."); len(got) != 1 {
			return fmt.Errorf("the comment does not say that the stack is gone: %s", r.comment(run))
		}
		return nil
	})
}

// TestKeepForever keeps a stack until its Run is deleted, and everything else with it.
func TestKeepForever(t *testing.T) {
	t.Parallel()
	r := small(t, keeping("forever"))
	run := r.test()
	if run.Status.Keep != "forever" || run.Status.ExpiresAt != nil {
		t.Errorf("kept for %q until %v", run.Status.Keep, run.Status.ExpiresAt)
	}
	contains(t, "comment", r.comment(run), "The stack is kept until someone deletes it")

	noteCleaned(run)
	if err := here.Client.Delete(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	r.gone(run)
	eventually(t, patience, func() error {
		err := here.Client.Get(t.Context(), client.ObjectKeyFromObject(run), &v1alpha1.Run{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the deleted run is still there: %v", err)
		}
		return nil
	})
}

// TestDeletedRunTakesItsBuildsAlong deletes a Run during its builds.
func TestDeletedRunTakesItsBuildsAlong(t *testing.T) {
	t.Parallel()
	r := small(t, map[string]string{"Dockerfile.test": "FROM busybox:1.36\nRUN sleep 300\n"})
	r.push(tag, "")
	run := r.await(1, "building beside its stack", func(run *v1alpha1.Run) bool {
		return run.Status.Namespace != "" && len(run.Status.Images) == 1 && run.Status.Images[0].Job != ""
	})
	noteCleaned(run)
	if err := here.Client.Delete(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	r.gone(run)
}

// TestStackDeletedByHand deletes a stack's namespace by hand; the run reports it.
func TestStackDeletedByHand(t *testing.T) {
	t.Parallel()
	r := small(t, keeping("8s"))
	run := r.test()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: run.Status.Namespace}}
	if err := client.IgnoreNotFound(here.Client.Delete(t.Context(), ns)); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		c := apimeta.FindStatusCondition(r.get(run).Status.Conditions, v1alpha1.ConditionStackKept)
		if c == nil || c.Status != metav1.ConditionFalse {
			return fmt.Errorf("the run still says %+v", c)
		}
		return nil
	})
	r.gone(run)
}
