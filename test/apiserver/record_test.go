//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// record counts how often each object was created, in the whole test process.
var record = &ledger{made: map[string]int{}}

// ledger counts creations from watch events: it notices a second object of the same name even if the first is deleted.
type ledger struct {
	mu   sync.Mutex
	made map[string]int
}

// start watches the kinds that Conductor creates.
func (l *ledger) start(ctx context.Context, c client.WithWatch) error {
	for kind, list := range map[string]client.ObjectList{
		"Namespace": &corev1.NamespaceList{}, "Job": &batchv1.JobList{}, "Deployment": &appsv1.DeploymentList{}, "Run": &v1alpha1.RunList{},
	} {
		w, err := c.Watch(ctx, list)
		if err != nil {
			return fmt.Errorf("watch %s: %w", kind, err)
		}
		go func() {
			for e := range w.ResultChan() {
				if o, ok := e.Object.(client.Object); ok && e.Type == watch.Added {
					l.mu.Lock()
					l.made[kind+" "+o.GetNamespace()+"/"+o.GetName()]++
					l.mu.Unlock()
				}
			}
		}()
	}
	return nil
}

// times is how often an object was created.
func (l *ledger) times(kind, namespace, name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[kind+" "+namespace+"/"+name]
}

// twice lists the objects that were created more than once, of those with a text in their name or namespace.
func (l *ledger) twice(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name, n := range l.made {
		if n > 1 && strings.Contains(name, text) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// buildThings lists the objects of a Run in the builds namespace.
func (w *world) buildThings(run *v1alpha1.Run) []string {
	w.t.Helper()
	mine := client.MatchingLabels{v1alpha1.LabelRunUID: string(run.UID)}
	var jobs batchv1.JobList
	var secrets corev1.SecretList
	w.must(admin.List(w.t.Context(), &jobs, client.InNamespace(w.set.Builds.Namespace), mine))
	w.must(admin.List(w.t.Context(), &secrets, client.InNamespace(w.set.Builds.Namespace), mine))
	var names []string
	for _, j := range jobs.Items {
		names = append(names, "Job "+j.Name)
	}
	for _, s := range secrets.Items {
		names = append(names, "Secret "+s.Name)
	}
	return names
}
