//go:build apiserver

package apiserver

import (
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestACancelEndsARunInEveryStageAndLeavesNothing(t *testing.T) {
	for _, h := range halts {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h.hold(w)
			w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			w.cancel(run, "wrong branch")
			run = w.until(run, "the run is canceled and gone", over)
			if run.Status.Outcome != v1alpha1.OutcomeCanceled {
				t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
			}
			w.nothingLeft(run)
			got := w.github.commentsOn(issueNumber)
			if len(got) != 1 || !strings.Contains(got[0], "ada") || !strings.Contains(got[0], "wrong branch") {
				t.Errorf("the issue does not say who canceled and why: %q", got)
			}
			for name, c := range w.github.checkRuns() {
				if c.Status != "completed" || c.Conclusion != "cancelled" {
					t.Errorf("check run %s is %s, %s", name, c.Status, c.Conclusion)
				}
			}
			if got := reason(run, v1alpha1.ConditionStackKept); got != v1alpha1.ReasonCanceled {
				t.Errorf("StackKept is False for %s", got)
			}
		})
	}
}

// A Run that is canceled before any process has seen it creates nothing.
func TestACancelBeforeTheFirstLookMakesNothing(t *testing.T) {
	w := newWorld(t)
	run := w.start()
	w.cancel(run, "")
	w.process()
	run = w.until(run, "the run is canceled", over)
	if run.Status.Outcome != v1alpha1.OutcomeCanceled || w.github.count("Archive") != 0 || len(w.node.started()) != 0 {
		t.Errorf("outcome %q, %d checkouts, started %v", run.Status.Outcome, w.github.count("Archive"), w.node.started())
	}
	if got := w.github.commentsOn(issueNumber); len(got) != 1 || !strings.Contains(got[0], "ada") {
		t.Errorf("comments on the issue: %q", got)
	}
}

// The result of a Run is final; a late cancel only deletes the stack.
func TestACancelAfterTheOutcomeTakesTheStackDownAndKeepsTheResult(t *testing.T) {
	for _, late := range []bool{false, true} {
		name := "reporting"
		if late {
			name = "kept"
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			reporting.hold(w)
			w.process()
			run := w.until(w.start(), "the outcome is known", reporting.reached)
			if late {
				reporting.release(w)
				w.poke(run)
				run = w.until(run, "the run is reported", kept)
			}
			w.cancelByHand(run)
			if !late {
				w.until(run, "the stack is deleted although the outcome could not be reported", func(r *v1alpha1.Run) bool {
					return reason(r, v1alpha1.ConditionStackKept) == v1alpha1.ReasonCanceled
				})
				reporting.release(w)
				w.poke(run)
			}
			run = w.until(run, "the stack is gone and the run reported", over)
			if run.Status.Outcome != v1alpha1.OutcomePassed {
				t.Errorf("outcome %q", run.Status.Outcome)
			}
			w.nothingLeft(run)
		})
	}
}
