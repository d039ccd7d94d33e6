//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// ghosts are namespaces that look like stacks of a run that does not exist. They are created first, since the sweep spares young
// namespaces.
var ghosts = struct {
	made   time.Time
	orphan string
	// others do not belong to this Conductor.
	others []string
}{orphan: "stack-ghost-orphan", others: []string{"stack-ghost-unlabelled", "stack-ghost-foreign", "stack-ghost-of-another"}}

// haunt creates the ghosts.
func haunt(ctx context.Context) error {
	of := map[string]string{v1alpha1.LabelConductor: lab.Namespace, v1alpha1.LabelRun: "ghost", v1alpha1.LabelRunUID: "6f1d7b1e-0000-4000-8000-00000000dead"}
	for name, labels := range map[string]map[string]string{
		ghosts.orphan:    with(of, v1alpha1.LabelManaged, v1alpha1.ManagedValue),
		ghosts.others[0]: of,
		ghosts.others[1]: with(of, v1alpha1.LabelManaged, "somebody-else"),
		ghosts.others[2]: with(with(of, v1alpha1.LabelManaged, v1alpha1.ManagedValue), v1alpha1.LabelConductor, "another-conductor"),
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		_, err := here.Kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}
	ghosts.made = time.Now()
	return nil
}

// TestSweepDeletesStacksWithoutRun waits until the sweep deletes the orphan, and for another sweep that spares the others.
func TestSweepDeletesStacksWithoutRun(t *testing.T) {
	t.Parallel()
	spaces := here.Kube.CoreV1().Namespaces()
	t.Cleanup(func() {
		for _, name := range ghosts.others {
			if err := spaces.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
				t.Errorf("delete %s: %v", name, err)
			}
		}
	})
	eventually(t, time.Until(ghosts.made)+3*time.Minute, func() error {
		_, err := spaces.Get(t.Context(), ghosts.orphan, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("namespace %s is still there: %v", ghosts.orphan, err)
	})
	for _, name := range ghosts.others {
		ns, err := spaces.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || ns.DeletionTimestamp != nil {
			t.Errorf("namespace %s is not this Conductor's and was touched: %v %v", name, ns.DeletionTimestamp, err)
		}
	}
}
