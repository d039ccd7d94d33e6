//go:build e2e && long

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// away stops the registry's processes; back and the end of the test restart them.
func away(t *testing.T) (back func()) {
	t.Helper()
	back = func() {
		if _, err := lab.Up(context.Background(), io.Discard); err != nil {
			t.Errorf("the registry does not come back: %v", err)
		}
	}
	t.Cleanup(back)
	if err := errors.Join(here.Signal("hub", syscall.SIGKILL), here.Signal("registry", syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	return back
}

// TestRegistryAwayForAMinute stops the registry for a minute, which four runs have to survive: one starts then, one builds, one has yet to
// pull an image of its stack, and one tests. They pass. Only the build in progress may fail, and then the report explains it.
func TestRegistryAwayForAMinute(t *testing.T) {
	l := open(t)
	beginning, building, pulling, tested := enduring(t), enduring(t), pullsLate(t), lasting(t, 15)
	tested.start()
	pulling.start()
	namespace := pulling.beforeGate()
	pulling.until("built", func(run *v1alpha1.Run) bool {
		return apimeta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionImagesBuilt)
	})
	tested.until("testing", func(run *v1alpha1.Run) bool { return run.Status.Phase == v1alpha1.PhaseTesting })
	building.start()
	building.until("building", func(run *v1alpha1.Run) bool { return len(run.Status.Images) > 0 && run.Status.Images[0].Job != "" })
	back := away(t)
	beginning.start()
	pulling.open(namespace)
	pulling.until("waiting for its image", func(run *v1alpha1.Run) bool {
		c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackReady)
		return c != nil && strings.Contains(c.Message, "The registry "+here.Registry+" was unreachable") && strings.Contains(c.Message, "The pull is retried until ")
	})
	time.Sleep(time.Minute) // The duration is what is tested.
	back()
	t.Run("Beginning", func(t *testing.T) { passes(t, beginning, l) })
	t.Run("Testing", func(t *testing.T) { passes(t, tested, l) })
	t.Run("Building", func(t *testing.T) {
		run := (&repo{building.Repository, t}).outlived()
		if run.Status.Outcome != v1alpha1.OutcomeError {
			passes(t, building, l)
			return
		}
		t.Log(run.Status.Message)
		r := &repo{building.Repository, t}
		contains(t, "comment", plain(r.comment(run)), "The registry "+here.Registry+" was unreachable, and a started build is not retried")
	})
	t.Run("Pulling", func(t *testing.T) {
		r := &repo{pulling.Repository, t}
		run := r.finished(1)
		if run.Status.Outcome != v1alpha1.OutcomePassed {
			t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
		}
		r.once(run)
	})
}

// passes waits until a run of an enduring repository has passed.
func passes(t *testing.T, of *repo, l *ledger) {
	r := &repo{of.Repository, t}
	run := r.outlived()
	r.survived(run, l.of(run))
}

// pullsLate makes a repository whose service web waits at a gate, and whose image is not on the node before.
func pullsLate(t *testing.T) *repo {
	t.Helper()
	return small(t, map[string]string{
		"Dockerfile.web":        "FROM busybox:1.36\nCOPY docker-compose.qa.yml /\n",
		"docker-compose.qa.yml": strings.Replace(gated, "  web:\n    image: busybox:1.36\n", "  web:\n    build: {context: ., dockerfile: Dockerfile.web}\n", 1),
		"test.sh":               "echo all is well\n",
	})
}

// TestRegistryStaysAway stops the registry for good: the run ends with an explanation, its record is given up at its deadline, and nothing
// is left behind.
func TestRegistryStaysAway(t *testing.T) {
	install(t, map[string]any{"runTimeout": "40s", "deadlines": map[string]any{"record": "20s"}})
	r := small(t, keeping("5s"))
	away(t)
	r.start()
	run := r.until("finished", lab.Finished)
	if run.Status.Outcome != v1alpha1.OutcomeError {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	t.Log(run.Status.Message)
	r.explains(run, badInput{conclusion: "timed_out", want: []string{
		"The run did not end within 40s (runTimeout); it got to its stage checkout: The registry " + here.Registry + " did not answer",
	}})
	eventually(t, patience, func() error {
		run = r.get(run)
		if c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded); c == nil || c.Status != metav1.ConditionFalse {
			return fmt.Errorf("the record is not given up: %+v", c)
		}
		return nil
	})
	r.gone(run)
	eventually(t, patience, func() error {
		want := "The registry " + here.Registry + " did not answer (gave up after 20s). Run it again; if it happens again, ask your Conductor operator"
		if text := plain(r.comment(run)); !strings.Contains(text, want) {
			return fmt.Errorf("the comment does not say %q:\n%s", want, text)
		}
		return nil
	})
}
