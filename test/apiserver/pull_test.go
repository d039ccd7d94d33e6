//go:build apiserver

package apiserver

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
)

// away is a pod whose image is in a registry that is unreachable from its node.
var away = fate{waiting: "ErrImagePull", message: `failed to pull and unpack image "registry.example/x:1": failed to resolve reference "registry.example/x:1": ` +
	`failed to do request: Head "https://registry.example/v2/x/manifests/1": dial tcp 192.0.2.1:443: connect: no route to host`}

// pulls are the pods of a Run, and their fates once the image can be pulled.
var pulls = []struct {
	what, condition string
	then            fate
}{
	{"build/backend", v1alpha1.ConditionImagesBuilt, exits(0, digest("build/backend"))},
	{"service/redis", v1alpha1.ConditionStackReady, ready},
	{"agent", v1alpha1.ConditionTestsPassed, ready},
	{"test", v1alpha1.ConditionTestsPassed, exits(0, "")},
}

// waitsForPull waits until a Run reports an unreachable registry, and until when the pull is retried.
func (w *world) waitsForPull(run *v1alpha1.Run, condition string) *v1alpha1.Run {
	w.t.Helper()
	return w.looking(run, "the run reports a pull that is tried again", func(r *v1alpha1.Run) bool {
		c := meta.FindStatusCondition(r.Status.Conditions, condition)
		return c != nil && strings.Contains(c.Message, "was unreachable from the node") && strings.Contains(c.Message, "The pull is retried until ")
	})
}

// A registry that is unreachable for five minutes does not fail a run, whichever pod's image is in it.
func TestFiveMinutesWithoutTheRegistryOfAnImage(t *testing.T) {
	for _, tc := range pulls {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.node.set(tc.what, away)
			w.process()
			run := w.waitsForPull(w.start(), tc.condition)
			w.later(5*time.Minute, run)
			if run = w.waitsForPull(run, tc.condition); run.Status.Outcome != "" {
				t.Errorf("ended before its time: %s", run.Status.Message)
			}
			w.node.set(tc.what, tc.then)
			w.once(w.until(run, "the run passes", kept))
		})
	}
}

// One that stays unreachable ends the run, which reports the registry and for how long it was unreachable.
func TestARegistryOfAnImageThatStaysAway(t *testing.T) {
	for _, tc := range pulls {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.node.set(tc.what, away)
			w.process()
			run := w.waitsForPull(w.start(), tc.condition)
			w.later(diagnose.PullGrace, run)
			run = w.until(run, "the run ends", reported)
			w.ended(run, v1alpha1.OutcomeError, tc.condition, v1alpha1.ReasonImageUnavailable, "cannot start: the image", "no route to host", "for 6m0s. Run it again")
		})
	}
}
