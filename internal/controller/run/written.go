package run

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// written remembers Runs as this process wrote them last, until its cache has caught up. A look that begins at an older state does
// everything again and then finds that it cannot be noted.
type written struct {
	mu   sync.Mutex
	runs map[types.UID]*v1alpha1.Run
}

// keep remembers a Run as a write has left it.
func (w *written) keep(run *v1alpha1.Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if have := w.runs[run.UID]; have != nil && older(run, have) {
		return
	}
	if w.runs == nil {
		w.runs = map[types.UID]*v1alpha1.Run{}
	}
	w.runs[run.UID] = run.DeepCopy()
}

// newest is the Run as the cache has it, or as it was written if that is newer.
func (w *written) newest(cached *v1alpha1.Run) *v1alpha1.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	have := w.runs[cached.UID]
	if have == nil {
		return cached
	}
	if older(cached, have) {
		return have.DeepCopy()
	}
	delete(w.runs, cached.UID)
	return cached
}

// older reports whether a is an older state than b; false where that cannot be told.
func older(a, b *v1alpha1.Run) bool {
	n, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && n < 0
}
