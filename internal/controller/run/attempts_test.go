package run

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
)

// The times of an attempt come from the test's container, which may claim any.
func TestAnAttemptsTimesAreBetweenItsReleaseAndWhatConductorSaw(t *testing.T) {
	released, saw := noon, noon.Add(time.Minute)
	future, past := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	for _, tc := range []struct {
		name                string
		started, finished   time.Time
		noted               time.Time
		wantStart, wantEnd  time.Time
		unreleased, unknown bool
	}{
		{name: "honest", started: in(1), finished: in(50), wantStart: in(1), wantEnd: in(50)},
		{name: "of 2099", started: in(1), finished: future, wantStart: in(1), wantEnd: saw},
		{name: "of 2099 from first to last", started: future, finished: future, wantStart: saw, wantEnd: saw},
		{name: "of 1970", started: past, finished: past, wantStart: released, wantEnd: released},
		{name: "ended before it started", started: in(50), finished: in(40), wantStart: in(40), wantEnd: in(40)},
		{name: "noted before", started: in(1), finished: future, noted: in(30), wantStart: in(1), wantEnd: in(30)},
		{name: "times that are not known", wantStart: time.Time{}, wantEnd: time.Time{}},
		{name: "no release was noted", unreleased: true, started: past, finished: future, wantStart: past, wantEnd: saw},
	} {
		a := v1alpha1.AttemptStatus{StartedAt: &metav1.MicroTime{Time: released}}
		if tc.unreleased {
			a.StartedAt = nil
		}
		if !tc.noted.IsZero() {
			a.FinishedAt = &metav1.MicroTime{Time: tc.noted}
		}
		got := clamped(evidence.Attempt{StartedAt: tc.started, FinishedAt: tc.finished}, a, saw)
		if !got.StartedAt.Equal(tc.wantStart) || !got.FinishedAt.Equal(tc.wantEnd) {
			t.Errorf("%s: %s to %s, want %s to %s", tc.name, got.StartedAt, got.FinishedAt, tc.wantStart, tc.wantEnd)
		}
	}
}

// However an attempt is judged, its end is noted within these bounds: a suite's history and the report go by it.
func TestTheNotedEndOfAnAttemptIsNotTheContainers(t *testing.T) {
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, end := range map[string]func(s *state, a *v1alpha1.AttemptStatus){
		"its wrapper reports it": func(s *state, a *v1alpha1.AttemptStatus) {
			r := &Reconciler{Log: slog.New(slog.DiscardHandler)}
			r.settle(s, plan.Suite{Name: "api"}, a, evidence.Attempt{FinishedAt: future}, &corev1.Pod{})
		},
		"its container's exit code reports it": func(s *state, a *v1alpha1.AttemptStatus) {
			judgeAttempt(s, plan.Suite{Name: "api"}, a, evidence.Attempt{FinishedAt: future})
		},
		"no time is known": func(s *state, a *v1alpha1.AttemptStatus) {
			judgeAttempt(s, plan.Suite{Name: "api"}, a, evidence.Attempt{})
		},
	} {
		s := newState()
		s.now = noon.Add(time.Minute)
		a := v1alpha1.AttemptStatus{StartedAt: &metav1.MicroTime{Time: noon}}
		if end(s, &a); a.Outcome != v1alpha1.OutcomePassed || a.FinishedAt == nil || !a.FinishedAt.Time.Equal(s.now) {
			t.Errorf("%s: %s at %s, want %s", name, a.Outcome, a.FinishedAt, s.now)
		}
	}
}

// stateOnly is an agent that fails once it has given its state.
type stateOnly struct {
	Agent
	state evidence.AgentState
}

func (a stateOnly) State(context.Context, int64, time.Duration) (evidence.AgentState, error) {
	return a.state, errors.New("the connection broke off")
}

// What a wrapper reported is read again for the suite's result, which the history keeps.
func TestASuitesResultDoesNotHaveTheContainersTimes(t *testing.T) {
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	key := evidence.AttemptKey{Suite: "api", Number: 1}
	agent := stateOnly{state: evidence.AgentState{Attempts: []evidence.AttemptState{{Key: key, Ended: true, Attempt: &evidence.Attempt{AttemptKey: key, StartedAt: noon, FinishedAt: future}}}}}
	r := opened(&Reconciler{Now: func() time.Time { return noon.Add(time.Hour) }})
	st := &v1alpha1.SuiteStatus{Name: "api", Shards: 1, Attempts: []v1alpha1.AttemptStatus{{
		Number: 1, StartedAt: &metav1.MicroTime{Time: noon}, FinishedAt: &metav1.MicroTime{Time: noon.Add(time.Minute)},
	}}}
	kept, _ := r.gather(t.Context(), st, agent)
	full := kept.Suite
	if full.FinishedAt == nil || !full.FinishedAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("the suite ended at %v", full.FinishedAt)
	}
}

// newAttempt is a Run whose suite e2e has one attempt; its stack is up since noon. With started it was released then.
func newAttempt(t *testing.T, started bool) (*rig, *v1alpha1.SuiteStatus) {
	t.Helper()
	w := newRig(t, nil)
	w.begin()
	w.ended(v1alpha1.ConditionStackReady, 0)
	w.state().begin(v1alpha1.ConditionTestsPassed, "Running e2e")
	st := suiteStatus(&w.run.Status, "e2e")
	st.Shards = 1
	if err := w.createAttempt(t.Context(), w.state(), w.plan.Suites[0], st, 0, 1); err != nil {
		t.Fatal(err)
	}
	if started {
		st.Attempts[0].StartedAt = w.at(0)
	}
	return w, st
}

// How an attempt ended is known from its wrapper; where that is silent its pod decides, once the wrapper had its time.
func TestAnAttemptIsObserved(t *testing.T) {
	silent := errors.New("connection refused")
	seen := func(change func(*evidence.AttemptState)) *evidence.AttemptState {
		a := endedAt("e2e", 0, 1, 0, time.Minute)
		change(&a)
		return &a
	}
	const limit = 10*time.Minute + jobs.Grace + wrapperGrace
	for _, tc := range []struct {
		name     string
		new      bool // it is not released yet
		seen     *evidence.AttemptState
		agent    error
		pod      podChange
		agentPod podChange
		after    time.Duration

		outcome  v1alpha1.Outcome
		reason   string
		message  string
		code     *int32
		problem  string
		released int
		requeue  time.Duration
		failure  failure.Kind
		because  string // the reason of the failure
		want     string // its sentence
		doing    string // the stage's message
	}{
		{name: "it is released", new: true, released: 1, requeue: 5 * time.Second},
		{name: "the agent does not answer yet", new: true, agent: silent, after: agentStart - time.Second, failure: failure.Waiting,
			because: v1alpha1.ReasonPending, want: "agent"},
		{name: "the agent does not answer", new: true, agent: silent, after: agentStart, failure: failure.Terminal, because: v1alpha1.ReasonUnavailable,
			want: "3m0s"},
		{name: "the agent started late", new: true, agent: silent, after: agentStart, agentPod: func(p *corev1.Pod) {
			running(p)
			p.Status.PodIP = "10.0.0.9"
			p.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(noon.Add(time.Minute))
		}, failure: failure.Waiting, because: v1alpha1.ReasonPending, want: "agent"},

		{name: "success", seen: seen(func(*evidence.AttemptState) {}), pod: running, after: 2 * time.Minute, outcome: v1alpha1.OutcomePassed,
			code: new(int32(0))},
		{name: "failure", seen: seen(func(a *evidence.AttemptState) { a.Attempt.ExitCode = 3 }), pod: running, after: 2 * time.Minute,
			outcome: v1alpha1.OutcomeFailed, message: "exit code 3", code: new(int32(3))},
		{name: "ended by its wrapper", seen: seen(func(a *evidence.AttemptState) { a.Attempt.ExitCode, a.Attempt.TimedOut = 137, true }), pod: running,
			after:   11 * time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonTimeout, message: "within 10m0s (tests.e2e.timeout)"},
		{name: "it could not be started", seen: seen(func(a *evidence.AttemptState) {
			a.Attempt.ExitCode, a.Attempt.Problems = -1, []string{"run: no such file"}
		}), pod: running, after: 2 * time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonCrashed, message: "could not be started: run: no such file"},

		{name: "its pod ended and the agent does not know it", pod: exited(1, "Error", time.Minute), after: 2 * time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonCrashed, message: "was lost: it ended with exit code 1", code: new(int32(1))},
		{name: "its pod ended and the agent is silent, just now", agent: silent, pod: exited(1, "Error", time.Minute),
			after: time.Minute + settleTimeout - time.Second, requeue: 500 * time.Millisecond},
		{name: "its pod ended and the agent stays silent", agent: silent, pod: exited(1, "Error", time.Minute), after: time.Minute + settleTimeout,
			outcome: v1alpha1.OutcomeFailed, message: "exit code 1", code: new(int32(1)), problem: "agent did not answer"},
		{name: "its pod ran out of memory and the agent stays silent", agent: silent, pod: exited(137, "OOMKilled", time.Minute), after: 2 * time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonOutOfMemory, message: "ran out of memory", code: new(int32(137))},
		{name: "its wrapper ended after the kernel had killed the test", agent: silent, pod: exited(1, "OOMKilled", time.Minute), after: 2 * time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonOutOfMemory, message: "ran out of memory", code: new(int32(1))},
		{name: "its pod is gone with its node", agent: silent, pod: func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "NodeLost" },
			after:   time.Minute,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonNodeLost, message: "node-1 became unreachable"},

		{name: "its image is not there yet", pod: waits("ErrImagePull", "manifest unknown"), after: 10 * time.Second, requeue: 10 * time.Second,
			doing: "cannot start yet: the image"},
		{name: "its image is not there", pod: waits("ErrImagePull", "manifest unknown"), after: time.Minute, failure: failure.Terminal,
			because: v1alpha1.ReasonImageUnavailable, want: "Suite e2e cannot start"},
		{name: "it runs", pod: running, seen: seen(func(a *evidence.AttemptState) { a.Ended, a.Attempt = false, nil }), after: limit - time.Second,
			requeue: time.Second, doing: "Running e2e"},
		{name: "it cannot be ended", pod: running, seen: seen(func(a *evidence.AttemptState) { a.Ended, a.Attempt = false, nil }), after: limit,
			outcome: v1alpha1.OutcomeError, reason: v1alpha1.ReasonStuck, message: "tests.e2e.timeout (10m0s)"},
		{name: "its image took long", pod: running, after: limit, requeue: agentStart + diagnose.PullGrace},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, st := newAttempt(t, !tc.new)
			if tc.seen != nil {
				w.agent.seen(*tc.seen)
			}
			agent := w.watched()
			w.agent.err = tc.agent
			var pods []*corev1.Pod
			if tc.pod != nil {
				pods = append(pods, w.testPod("e2e", 0, 1, tc.pod))
			}
			if tc.agentPod != nil {
				pods = append(pods, w.agentPod(tc.agentPod))
			}
			w.now = noon.Add(tc.after)
			s, a := w.state(), &st.Attempts[0]
			err := w.observeAttempt(t.Context(), s, w.plan.Suites[0], st, a, agent, pods)
			wantFailure(t, err, tc.failure, tc.because, tc.want)
			if wantText(t, a.Message, tc.message); a.Outcome != tc.outcome || a.Reason != tc.reason || tc.message == "" && a.Message != "" {
				t.Errorf("%s, %s: %q", a.Outcome, a.Reason, a.Message)
			}
			if (a.ExitCode == nil) != (tc.code == nil) || tc.code != nil && *a.ExitCode != *tc.code {
				t.Errorf("exit code %v", a.ExitCode)
			}
			if (a.FinishedAt != nil) != (tc.outcome != "") || tc.new && (a.StartedAt != nil) != (tc.released > 0) || tc.released > 0 && st.StartedAt == nil {
				t.Errorf("started %v, ended %v", a.StartedAt, a.FinishedAt)
			}
			if len(w.agent.released) != tc.released || s.requeue != tc.requeue {
				t.Errorf("released %d times, requeue after %s", len(w.agent.released), s.requeue)
			}
			wantText(t, strings.Join(st.Problems, "\n"), tc.problem)
			wantText(t, condition(s, v1alpha1.ConditionTestsPassed).Message, tc.doing)
		})
	}
}

// A test that was ended from outside may have been killed with its container, which the pod's status alone shows, a moment later.
func TestATestThatWasEndedFromOutsideIsSettled(t *testing.T) {
	deleted := func(at time.Time) podChange {
		return func(p *corev1.Pod) {
			running(p)
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: at.Add(30 * time.Second)}, new(int64(30))
		}
	}
	for _, tc := range []struct {
		name    string
		code    int
		signal  string
		timeout bool
		pod     podChange
		after   time.Duration // since its end
		outcome v1alpha1.Outcome
		reason  string
		message string
		requeue time.Duration
	}{
		{name: "its pod is gone", code: 137, signal: "SIGKILL", outcome: v1alpha1.OutcomeFailed, message: "ended by SIGKILL"},
		{name: "it killed itself, maybe", code: 137, signal: "SIGKILL", pod: running, after: settleTimeout - time.Second, requeue: 100 * time.Millisecond},
		{name: "it killed itself", code: 137, signal: "SIGKILL", pod: running, after: settleTimeout, outcome: v1alpha1.OutcomeFailed,
			message: "ended by SIGKILL"},
		{name: "its container ended with it", code: 143, signal: "SIGTERM", pod: exited(143, "Error", time.Minute), outcome: v1alpha1.OutcomeFailed,
			message: "ended by SIGTERM"},
		{name: "it ran out of memory", code: 137, signal: "SIGKILL", pod: exited(137, "OOMKilled", time.Minute), outcome: v1alpha1.OutcomeError,
			reason: v1alpha1.ReasonOutOfMemory, message: "ran out of memory"},
		{name: "its pod was deleted", code: 143, signal: "SIGTERM", pod: deleted(noon), after: settleTimeout, outcome: v1alpha1.OutcomeError,
			reason: v1alpha1.ReasonDeleted, message: "the pod was deleted"},
		{name: "its pod was deleted, and it ended by itself then", code: 1, pod: deleted(noon), after: settleTimeout, outcome: v1alpha1.OutcomeError,
			reason: v1alpha1.ReasonDeleted, message: "the pod was deleted"},
		{name: "its pod was deleted after its end", code: 1, pod: deleted(noon.Add(time.Hour)), outcome: v1alpha1.OutcomeFailed, message: "exit code 1"},
		{name: "its pod was deleted, and it ended well", code: 0, pod: deleted(noon), outcome: v1alpha1.OutcomePassed},
		{name: "its wrapper ended it", code: 137, signal: "SIGKILL", timeout: true, pod: running, outcome: v1alpha1.OutcomeError,
			reason: v1alpha1.ReasonTimeout, message: "tests.e2e.timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, st := newAttempt(t, true)
			var pod *corev1.Pod
			if tc.pod != nil {
				pod = w.testPod("e2e", 0, 1, tc.pod)
			}
			w.now = noon.Add(time.Minute + tc.after)
			s, a := w.state(), &st.Attempts[0]
			w.settle(s, w.plan.Suites[0], a, evidence.Attempt{ExitCode: tc.code, Signal: tc.signal, TimedOut: tc.timeout, FinishedAt: noon.Add(time.Minute)}, pod)
			if wantText(t, a.Message, tc.message); a.Outcome != tc.outcome || a.Reason != tc.reason || s.requeue != tc.requeue {
				t.Errorf("%s, %s: %q, requeue after %s", a.Outcome, a.Reason, a.Message, s.requeue)
			}
		})
	}
}

// timedOut is a Job that reached its deadline.
func timedOut(j *batchv1.Job) {
	j.Status.Conditions = []batchv1.JobCondition{{
		Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonDeadlineExceeded, Message: "too long",
	}}
}

func TestAnAttemptWithoutAPodIsExplained(t *testing.T) {
	const refused = `pods "e2e" is forbidden: exceeded quota: stack, requested: pods=1, used: pods=9, limited: pods=9`
	for _, tc := range []struct {
		name    string
		after   time.Duration
		job     func(*batchv1.Job) // nil leaves it as it is
		deleted bool
		event   [2]string
		because string
		want    string
	}{
		{name: "it was released a moment ago", after: 4 * time.Second, deleted: true},
		{name: "its Job was deleted", after: 5 * time.Second, deleted: true, because: v1alpha1.ReasonDeleted, want: "its Job was deleted"},
		{name: "its Job failed", after: 5 * time.Second, job: timedOut, because: v1alpha1.ReasonTimeout, want: "cannot run: it timed out: too long"},
		{name: "its pod is refused, just now", after: time.Minute, event: [2]string{"FailedCreate", refused}},
		{name: "its pod is refused", after: 2 * time.Minute, event: [2]string{"FailedCreate", refused}, because: v1alpha1.ReasonQuotaExceeded,
			want: "stacks.pods (9)"},
		{name: "nothing explains it", after: 10*time.Minute - time.Second},
		{name: "nothing explains it until its time is up", after: 10 * time.Minute, because: v1alpha1.ReasonTimeout, want: "Suite e2e"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, st := newAttempt(t, true)
			name, jobsOf := jobs.TestName(keyOf("e2e", st.Attempts[0]), 1), w.kube.BatchV1().Jobs(jobs.StackName(w.run))
			job, err := jobsOf.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.job != nil {
				tc.job(job)
				if _, err := jobsOf.UpdateStatus(t.Context(), job, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.deleted {
				if err := jobsOf.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			w.add(w.eventOf(tc.event[0], tc.event[1]))
			w.now = noon.Add(tc.after)
			s := w.state()
			wantFailure(t, w.missingTestPod(t.Context(), s, w.plan.Suites[0], &st.Attempts[0]), failure.Terminal, tc.because, tc.want)
			if s.requeue != 5*time.Second {
				t.Errorf("requeue after %s", s.requeue)
			}
		})
	}
}
