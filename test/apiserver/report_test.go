//go:build apiserver

package apiserver

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/report"
)

// A response that is lost after its effect does not lead to a second comment or check run.
func TestALostAnswerOfGitHubMakesNothingTwice(t *testing.T) {
	w := newWorld(t)
	for _, op := range []string{"UpsertCheckRun", "UpsertComment"} {
		w.github.fail(op, fault{errDown, true}, fault{errDown, true}, fault{}, fault{errDown, true})
	}
	w.process()
	w.once(w.until(w.start(), "the run passes", kept))
}

func TestReportsOfARunUnderWayAreThreeSecondsApart(t *testing.T) {
	w := newWorld(t)
	w.node.set("build", running)
	w.process()
	run := w.until(w.start(), "the run gets to building", halts[1].reached)
	for _, release := range []func(){
		func() { w.node.set("build/backend", exits(0, digest("build/backend"))) },
		func() { w.node.set("service/backend", running) },
		func() { w.node.set("service/backend", ready) },
		func() { w.node.set("build/frontend", exits(0, digest("build/frontend"))) },
		func() { w.node.set("service/redis", running) },
		func() { w.node.set("service/redis", ready) },
	} {
		before := w.get(run).ResourceVersion
		release()
		w.until(run, "the run takes notice", func(r *v1alpha1.Run) bool { return r.ResourceVersion != before })
		w.later(1200*time.Millisecond, run)
	}
	times := w.github.times("UpsertComment") // Writes for a finished Run are not delayed.
	w.node.set("build/tests", exits(0, digest("build/tests")))
	w.until(run, "the run passes", kept)
	if len(times) < 2 {
		t.Fatalf("only %d reports", len(times))
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < 3*time.Second {
			t.Errorf("reports %d and %d are %s apart", i, i+1, gap)
		}
	}
}

func TestNothingIsSentWhenNothingChanged(t *testing.T) {
	w := newWorld(t)
	w.process()
	run := w.until(w.start(), "the run passes", kept)
	// The outcome is reported first, then the record and the kept stack.
	w.until(run, "the last report is sent", func(r *v1alpha1.Run) bool {
		return r.Status.Record != nil && r.Status.Report.Digest == report.Digest(r, []string{"integration"})
	})
	before := w.github.count("UpsertComment") + w.github.count("UpsertCheckRun")
	for range 5 {
		w.poke(run)
		w.later(time.Second, run)
	}
	p := w.process() // A new process reconciles every Run.
	w.eventually("the process is up to date", func() bool { return w.upToDate(p, run) })
	if after := w.github.count("UpsertComment") + w.github.count("UpsertCheckRun"); after != before {
		t.Errorf("%d more calls", after-before)
	}
}

// The results of single tests stay in a comment when the stack is deleted and only the record holds them.
func TestANewProcessDoesNotForgetWhatTestsShowed(t *testing.T) {
	w := newWorld(t)
	w.keeping("1h")
	w.agents.cases["integration/1"] = []evidence.Case{{Name: "pays", Status: evidence.Failed, Message: "502 at the till"}}
	w.node.set("test", exits(1, ""))
	p := w.process()
	run := w.until(w.start(), "the run fails and that is reported", func(r *v1alpha1.Run) bool { return kept(r) && r.Status.Report.Final })
	p.kill(t)
	w.github.fail("Result", fault{err: errDown}, fault{err: errDown})
	w.process()
	w.later(2*time.Hour, run)
	run = w.until(run, "the stack goes", over)
	w.eventually("the comment says so", func() bool {
		return strings.Contains(w.github.commentsOn(issueNumber)[0], "The stack expired")
	})
	texts := map[string]string{"the comment": w.github.commentsOn(issueNumber)[0]}
	for name, c := range w.github.checkRuns() {
		texts["check run "+name] = c.Text
	}
	for what, text := range texts {
		if !strings.Contains(text, "502 at the till") {
			t.Errorf("%s has forgotten the failing test:\n%s", what, text)
		}
	}
	if len(texts) != 2 {
		t.Errorf("%d texts", len(texts))
	}
	w.nothingLeft(run)
}

// A day after the outcome Conductor gives up reporting, and the Run's condition shows it.
func TestAReportIsGivenUpAfterADay(t *testing.T) {
	w := newWorld(t)
	w.ceilings.Keep.Duration = 100 * time.Hour
	w.github.failAlways("UpsertComment", errDown)
	w.process()
	run := w.until(w.start(), "the outcome is known", reporting.reached)
	w.later(23*time.Hour, run)
	before := w.github.count("UpsertComment")
	w.eventually("it is still tried after 23 hours", func() bool { return w.github.count("UpsertComment") > before })
	if run = w.get(run); !is(run, v1alpha1.ConditionReported, metav1.ConditionUnknown) {
		t.Errorf("Reported is %s", reason(run, v1alpha1.ConditionReported))
	}
	w.later(2*time.Hour, run)
	run = w.until(run, "it is given up", func(r *v1alpha1.Run) bool { return is(r, v1alpha1.ConditionReported, metav1.ConditionFalse) })
	if run.Status.Phase != v1alpha1.PhaseFinished || run.Status.Outcome != v1alpha1.OutcomePassed || run.Status.Report.Message == "" {
		t.Errorf("phase %s, outcome %s, report %+v", run.Status.Phase, run.Status.Outcome, run.Status.Report)
	}
}

// A comment that cannot be written, for example on a locked issue, keeps neither the check run from being reported nor the Run from ending.
func TestALockedIssueLeavesTheCheckRun(t *testing.T) {
	w := newWorld(t)
	w.github.failAlways("UpsertComment", failure.Terminalf(v1alpha1.ReasonRefused, errDown, "Issue #12 is locked"))
	w.github.fail("UpsertCheckRun", fault{err: errDown})
	w.process()
	run := w.until(w.start(), "the run is done with the report", func(r *v1alpha1.Run) bool {
		return r.Status.Outcome != "" && !is(r, v1alpha1.ConditionReported, metav1.ConditionUnknown) && r.Status.Report.Final
	})
	if !is(run, v1alpha1.ConditionReported, metav1.ConditionFalse) || !strings.Contains(run.Status.Report.Message, "locked") {
		t.Errorf("Reported %s, message %q", reason(run, v1alpha1.ConditionReported), run.Status.Report.Message)
	}
	checks := w.github.checkRuns()
	if len(checks) == 0 {
		t.Error("no check run")
	}
	for name, c := range checks {
		if c.Conclusion != "success" {
			t.Errorf("check run %s: %s %s", name, c.Status, c.Conclusion)
		}
	}
}

// The last call of a check run may fail temporarily, besides a comment that can never be written.
func TestAPermanentFailureDoesNotHideOneThatMayPass(t *testing.T) {
	w := newWorld(t)
	w.github.failAlways("UpsertComment", failure.Terminalf(v1alpha1.ReasonRefused, errDown, "Issue #12 is locked"))
	w.node.set("test", running)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.github.fail("UpsertCheckRun", fault{err: errDown}, fault{err: errDown}, fault{err: errDown})
	w.node.set("test", exits(0, ""))
	w.until(run, "the outcome is known", func(r *v1alpha1.Run) bool { return r.Status.Outcome != "" })
	w.eventually("the check runs are reported in the end", func() bool {
		for _, c := range w.github.checkRuns() {
			if c.Conclusion != "success" {
				return false
			}
		}
		return true
	})
}

func TestWhereNoIssueIsNamedTheCheckRunTellsAll(t *testing.T) {
	w := newWorld(t)
	w.github.hints = v1alpha1.CommitHints{Message: "Sell more"}
	w.process()
	run := w.until(w.start(), "the run passes", kept)
	if run.Status.Issue != 0 || w.github.count("UpsertComment") != 0 || len(w.github.checkRuns()) == 0 {
		t.Errorf("issue %d, %d comments, %d check runs", run.Status.Issue, w.github.count("UpsertComment"), len(w.github.checkRuns()))
	}
}
