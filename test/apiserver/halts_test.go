//go:build apiserver

package apiserver

import (
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// halt is a point at which a world can hold a Run.
type halt struct {
	name string
	// hold is called before the Run is started; reached reports whether the Run is there; release lets it continue.
	hold    func(*world)
	reached func(*v1alpha1.Run) bool
	release func(*world)
}

var errDown = errors.New("connection refused")

// halts are the points before the outcome, one in each stage.
var halts = []halt{
	{
		"checkout",
		func(w *world) { w.github.failAlways("Archive", errDown) },
		func(r *v1alpha1.Run) bool { return is(r, v1alpha1.ConditionCheckedOut, metav1.ConditionUnknown) },
		func(w *world) { w.github.mend("Archive") },
	},
	{
		"building",
		func(w *world) { w.node.set("build", running) },
		func(r *v1alpha1.Run) bool {
			return len(r.Status.Images) == 3 && r.Status.Images[2].Job != "" && state(r, "redis") == v1alpha1.ServiceReady
		},
		func(w *world) {
			for _, name := range []string{"backend", "frontend", "tests"} {
				w.node.set("build/"+name, exits(0, digest("build/"+name)))
			}
		},
	},
	{
		"starting the stack",
		func(w *world) { w.node.set("service/backend", running) },
		func(r *v1alpha1.Run) bool {
			return is(r, v1alpha1.ConditionImagesBuilt, metav1.ConditionTrue) && state(r, "backend") == v1alpha1.ServiceStarting
		},
		func(w *world) { w.node.set("service/backend", ready) },
	},
	{
		"testing",
		func(w *world) { w.node.set("test", running) },
		func(r *v1alpha1.Run) bool { return len(r.Status.Suites) > 0 && r.Status.Suites[0].StartedAt != nil },
		func(w *world) { w.node.set("test", exits(0, "")) },
	},
}

// reporting holds a Run whose outcome is known but not reported.
var reporting = halt{
	"reporting",
	func(w *world) { w.github.failAlways("UpsertComment", errDown) },
	func(r *v1alpha1.Run) bool {
		return r.Status.Outcome != "" && is(r, v1alpha1.ConditionReported, metav1.ConditionUnknown) && is(r, v1alpha1.ConditionStackKept, metav1.ConditionTrue)
	},
	func(w *world) { w.github.mend("UpsertComment") },
}
