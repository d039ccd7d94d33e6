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

// away ends the registry's processes; back starts them again, and so does the end of the test.
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

// TestRegistryAwayForAMinute ends the registry for a minute: before a run begins, while its images are built, and while its tests run.
// The run passes. Only a build that had begun may fail, and then the report has the builder's own words.
func TestRegistryAwayForAMinute(t *testing.T) {
	for _, tc := range []struct {
		name string
		is   func(*v1alpha1.Run) bool
	}{
		{"Beginning", nil},
		{"Building", func(run *v1alpha1.Run) bool { return len(run.Status.Images) > 0 && run.Status.Images[0].Job != "" }},
		{"Testing", func(run *v1alpha1.Run) bool { return run.Status.Phase == v1alpha1.PhaseTesting }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, r := open(t), enduring(t)
			if tc.is != nil {
				r.start()
				r.until(tc.name, tc.is)
			}
			back := away(t)
			if tc.is == nil {
				r.start()
			}
			time.Sleep(time.Minute) // The time is what is tested.
			back()
			run := r.outlived()
			if tc.name == "Building" && run.Status.Outcome == v1alpha1.OutcomeError {
				says(t, "comment", r.comment(run), here.Registry)
				return
			}
			r.survived(run, l.of(run))
		})
	}
}

// TestRegistryStaysAway ends the registry for good: the run ends and says why, its record is given up after its time, and nothing
// of it is left.
func TestRegistryStaysAway(t *testing.T) {
	install(t, map[string]any{"runTimeout": "90s"})
	r := small(t, keeping("5s"))
	away(t)
	r.start()
	run := r.until("finished", lab.Finished)
	if run.Status.Outcome != v1alpha1.OutcomeError {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	t.Log(run.Status.Message)
	r.explains(run, badInput{conclusion: "timed_out", want: []string{
		"The run did not end within 1m30s (runTimeout); it got to its stage builds: The registry " + here.Registry + " did not answer",
	}})
	eventually(t, 13*time.Minute, func() error {
		run = r.get(run)
		if c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded); c == nil || c.Status != metav1.ConditionFalse {
			return fmt.Errorf("the record is not given up: %+v", c)
		}
		return nil
	})
	r.gone(run)
	eventually(t, patience, func() error {
		want := "The registry " + here.Registry + " did not answer (tried for 10m0s). Run it again, and if it stays so, ask the operator"
		if text := strings.ReplaceAll(r.comment(run), `\`, ""); !strings.Contains(text, want) {
			return fmt.Errorf("the comment does not say %q:\n%s", want, text)
		}
		return nil
	})
}
