package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// newRecord is a Run whose one suite has failed, a minute after noon; its agent has everything that the record needs.
func newRecord(t *testing.T) *rig {
	t.Helper()
	w := newSuites(t, rigConfig)
	w.ended(v1alpha1.ConditionStackReady, 0)
	w.run.Status.Branch = "main"
	img := imageStatus(&w.run.Status, "web")
	img.Repository, img.Digest = "registry.example/acme/shop/web", someDigest
	if _, err := w.reconcile(w.reconcileTests); err != nil {
		t.Fatal(err)
	}
	ended := endedAt("e2e", 0, 1, 1, time.Minute)
	w.agent.cases = map[evidence.AttemptKey][]evidence.Case{ended.Key: {{Class: "shop", Name: "pays", Status: evidence.Failed, Message: "got 502"}}}
	w.agent.seen(ended)
	w.agent.state.Logs = []evidence.LogFile{{Pod: "test-e2e-0-1", Container: "test", Suite: "e2e", Number: 1, Ended: true}}
	w.watched()
	w.setPods(w.agentUp(), w.testPod("e2e", 0, 1, exited(1, "Error", time.Minute)))
	w.now = noon.Add(2 * time.Minute)
	if s, err := w.reconcile(w.reconcileTests); err != nil || s.status().Outcome != v1alpha1.OutcomeFailed {
		t.Fatalf("%v, outcome %q", err, s.status().Outcome)
	}
	return w
}

// store is the first reconcile with the outcome: it stores that before anything is ended or read.
func (w *rig) store() {
	w.t.Helper()
	if s, err := w.reconcile(w.reconcileRecord); err != nil || !s.isOpen(v1alpha1.ConditionRecorded) || s.status().Step == nil {
		w.t.Fatalf("%v, step %+v", err, s.status().Step)
	}
}

func TestTheRecordHasWhatTheRunShowed(t *testing.T) {
	w := newRecord(t)
	if err := w.plans.add(w.run.UID, &Checkout{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	rp := w.sessions.runs[w.run.UID].plan
	rp.file, rp.decoded = w.plan.file, w.plan.Plan
	w.store()
	if len(w.shelf.records) > 0 {
		t.Error("the record was pushed before the outcome was stored")
	}
	w.agent.tail = "the last line, which came late\n"
	s, err := w.reconcile(w.reconcileRecord)
	if err != nil {
		t.Fatal(err)
	}
	c := condition(s, v1alpha1.ConditionRecorded)
	if wantText(t, c.Message, "registry.example/records/acme/shop:shop-1"); c.Status != metav1.ConditionTrue || s.status().Record == nil || s.status().Step != nil {
		t.Errorf("%+v, record %+v, step %+v", c, s.status().Record, s.status().Step)
	}
	for _, name := range []string{evidence.ResultName, "plan.yaml", "logs/test-e2e-0-1.log.gz", "logs/build-web.log.gz"} {
		if !slices.Contains(w.shelf.layers, name) {
			t.Errorf("%s is not among %v", name, w.shelf.layers)
		}
	}
	wantText(t, w.shelf.result, `"run": "shop-1"`, `"outcome": "failed"`, "got 502", "which came late", `"name": "tests"`)
	notes := w.shelf.notes
	if notes[evidence.AnnotationRun] != "shop-1" || notes[evidence.AnnotationOutcome] != "failed" || !strings.HasSuffix(notes[evidence.AnnotationImages], someDigest) {
		t.Errorf("annotations %v", notes)
	}
	wantText(t, suiteStatus(s.status(), "e2e").Log, "which came late")
	if want := "registry.example/acme/shop/web@" + someDigest; !slices.Equal(w.shelf.linked, []string{want}) {
		t.Errorf("linked %v", w.shelf.linked)
	}
	if h := w.shelf.history["main/e2e"]; h == nil || len(h.Runs) != 1 || h.Runs[0].Run != "shop-1" {
		t.Errorf("history %+v", h)
	}
	if s, err = w.reconcile(w.reconcileRecord); err != nil || len(w.shelf.records) != 1 {
		t.Errorf("%d records, %v", len(w.shelf.records), err)
	}
}

func TestTheRecordWaitsForItsTime(t *testing.T) {
	for name, set := range map[string]func(*state){
		"the outcome is not known": func(s *state) { s.status().Outcome = "" },
		"the record is there":      func(s *state) { s.done(v1alpha1.ConditionRecorded, v1alpha1.ReasonDone, "kept") },
		"it was given up":          func(s *state) { s.fail(v1alpha1.ConditionRecorded, v1alpha1.ReasonTimeout, "no answer") },
	} {
		w := newRecord(t)
		s := w.state()
		set(s)
		if err := w.reconcileRecord(t.Context(), s); err != nil || s.status().Step != nil || s.recorded {
			t.Errorf("%s: %v, step %+v", name, err, s.status().Step)
		}
	}
}

// What a registry does not take is tried again; what is pushed by then stays in the status.
func TestARecordThatIsNotTakenIsTriedAgain(t *testing.T) {
	for _, tc := range []struct {
		call   string
		pushed bool
	}{{"PushRecord", false}, {"LinkImages", true}, {"UpdateHistory", true}} {
		t.Run(tc.call, func(t *testing.T) {
			w := newRecord(t)
			w.store()
			w.shelf.fails = map[string]error{tc.call: failure.Transientf(v1alpha1.ReasonUnavailable, nil, "The registry did not answer")}
			s, err := w.reconcile(w.reconcileRecord)
			wantFailure(t, err, failure.Transient, v1alpha1.ReasonUnavailable, "registry")
			if !s.isOpen(v1alpha1.ConditionRecorded) || (s.status().Record != nil) != tc.pushed {
				t.Errorf("%+v, record %+v", condition(s, v1alpha1.ConditionRecorded), s.status().Record)
			}
			w.shelf.fails, w.now = nil, w.now.Add(maxRetry)
			if s, err = w.reconcile(w.reconcileRecord); err != nil || !s.isTrue(v1alpha1.ConditionRecorded) {
				t.Errorf("then: %v, %+v", err, condition(s, v1alpha1.ConditionRecorded))
			}
		})
	}
}

// Histories are of branches that people may trust, and of suites that came to a result.
func TestOnlyResultsOfTheRepositorysBranchesMakeHistory(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*v1alpha1.Run)
		made bool
	}{
		{"a branch", func(*v1alpha1.Run) {}, true},
		{"no branch", func(run *v1alpha1.Run) { run.Status.Branch = "" }, false},
		{"a fork", func(run *v1alpha1.Run) { run.Spec.Trust = v1alpha1.TrustFork }, false},
		{"a suite that was lost", func(run *v1alpha1.Run) { run.Status.Suites[0].Outcome = v1alpha1.OutcomeError }, false},
	} {
		w := newRecord(t)
		tc.set(w.run)
		if err := w.linkRecord(t.Context(), w.run, v1alpha1.RecordStatus{}); err != nil || (w.shelf.history["main/e2e"] != nil) != tc.made {
			t.Errorf("%s: %v, %v", tc.name, err, w.shelf.history)
		}
	}
}

// A record without an agent is kept without what the stack had, which the log mentions.
func TestARecordIsKeptWithoutTheStack(t *testing.T) {
	w := newRecord(t)
	w.setService("db", v1alpha1.ServiceReady, "")
	w.setPods()
	w.store()
	s, err := w.reconcile(w.reconcileRecord)
	if err != nil || !s.isTrue(v1alpha1.ConditionRecorded) || slices.Contains(w.shelf.layers, "logs/test-e2e-0-1.log.gz") {
		t.Errorf("%v, layers %v", err, w.shelf.layers)
	}
	wantText(t, w.log.String(), "without logs of the stack")
}

// Attempts that are not over when the outcome is known, such as those of a canceled Run, are ended before the record is made.
func TestAttemptsThatAreNotOverAreEnded(t *testing.T) {
	w := newSuites(t, "version: 1\ntests: {e2e: {image: busybox, command: x, shards: 3}}\n")
	if _, err := w.reconcile(w.reconcileTests); err != nil {
		t.Fatal(err)
	}
	st := suiteStatus(&w.run.Status, "e2e")
	st.Attempts[0].Outcome, st.Attempts[1].Outcome, st.Attempts[1].Reason = v1alpha1.OutcomePassed, v1alpha1.OutcomeError, v1alpha1.ReasonStuck
	if err := w.endTests(t.Context(), w.state()); err != nil {
		t.Fatal(err)
	}
	var list batchv1.JobList
	if err := w.Client.List(t.Context(), &list, client.InNamespace(jobs.StackName(w.run))); err != nil {
		t.Fatal(err)
	}
	if want := jobs.TestName(evidence.AttemptKey{Suite: "e2e", Number: 1}, 3); len(list.Items) != 1 || list.Items[0].Name != want {
		t.Errorf("%d Jobs are left, want only %s", len(list.Items), want)
	}
	if err := w.endTests(t.Context(), w.state()); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// The record waits for what a test leaves behind, as long as that may still come.
func TestARecordWaitsForItsEvidence(t *testing.T) {
	key := evidence.AttemptKey{Suite: "e2e", Number: 1}
	log := evidence.LogFile{Suite: "e2e", Number: 1, Ended: true}
	for _, tc := range []struct {
		name   string
		set    func(*rig)
		late   time.Duration
		cancel bool
		none   bool // no agent
		ready  bool
	}{
		{name: "all is there", set: func(*rig) {}, ready: true},
		{name: "no agent", set: func(*rig) {}, none: true, ready: true},
		{name: "the agent does not answer", set: func(w *rig) { w.agent.err = errors.New("away") }},
		{name: "the agent does not answer for long", set: func(w *rig) { w.agent.err = errors.New("away") }, late: recordPatience + time.Second,
			ready: true},
		{name: "artifacts are on their way", set: func(w *rig) { w.agent.state.Attempts[0].Complete = false }},
		{name: "artifacts are on their way for long", set: func(w *rig) { w.agent.state.Attempts[0].Complete = false }, late: recordPatience + time.Second,
			ready: true},
		{name: "artifacts of a canceled run", set: func(w *rig) { w.agent.state.Attempts[0].Complete = false }, cancel: true, ready: true},
		{name: "artifacts of a test that was lost", set: func(w *rig) {
			w.agent.state.Attempts[0].Complete = false
			w.run.Status.Suites[0].Attempts[0].Outcome = v1alpha1.OutcomeError
		}, ready: true},
		{name: "artifacts of a test that timed out", set: func(w *rig) {
			w.agent.state.Attempts[0].Complete = false
			w.run.Status.Suites[0].Attempts[0].Outcome, w.run.Status.Suites[0].Attempts[0].Reason = v1alpha1.OutcomeError, v1alpha1.ReasonTimeout
		}},
		{name: "artifacts of an attempt that was folded", set: func(w *rig) {
			w.agent.state.Attempts[0].Complete = false
			w.run.Status.Suites[0].Attempts, w.run.Status.Suites[0].Tries = nil, []int32{1}
		}},
		{name: "artifacts of an attempt that the run does not know", set: func(w *rig) {
			w.agent.state.Attempts = append(w.agent.state.Attempts, evidence.AttemptState{Key: evidence.AttemptKey{Suite: "other"}, Ended: true})
		}, ready: true},
		{name: "no log", set: func(w *rig) { w.agent.state.Logs = nil }},
		{name: "a log that grows", set: func(w *rig) { w.agent.state.Logs[0].Ended = false }},
		{name: "the log of an init container", set: func(w *rig) { w.agent.state.Logs[0].Init = true }},
		{name: "the log of another attempt", set: func(w *rig) { w.agent.state.Logs[0].Number = 2 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil)
			w.run.Status.Suites = []v1alpha1.SuiteStatus{{
				Name: "e2e", Shards: 1, Outcome: v1alpha1.OutcomeFailed, Attempts: []v1alpha1.AttemptStatus{{Number: 1, Outcome: v1alpha1.OutcomeFailed}},
			}}
			w.run.Status.FinishedAt = w.at(0)
			w.agent.state = evidence.AgentState{Attempts: []evidence.AttemptState{{Key: key, Ended: true, Complete: true}}, Logs: []evidence.LogFile{log}}
			tc.set(w)
			if tc.cancel {
				w.run.Spec.Cancel = &v1alpha1.Cancel{By: "octocat"}
			}
			w.now = noon.Add(tc.late)
			var agent Agent = w.agent
			if tc.none {
				agent = nil
			}
			if _, ready := w.collectState(t.Context(), w.state(), agent); ready != tc.ready {
				t.Errorf("ready: %t", ready)
			}
		})
	}
}

// While evidence is missing the stage is reconciled again soon, and nothing is pushed.
func TestARecordThatWaitsIsReconciledSoon(t *testing.T) {
	w := newRecord(t)
	w.store()
	w.agent.state.Logs = nil
	s, err := w.reconcile(w.reconcileRecord)
	if err != nil || s.requeue != 200*time.Millisecond || len(w.shelf.records) > 0 || !s.recorded {
		t.Errorf("%v, requeue after %s, %d records", err, s.requeue, len(w.shelf.records))
	}
}
