package run

import (
	"context"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// overtime is how long after its time limit a test's wrapper may be silent before Conductor ends the test itself.
const wrapperGrace = 30 * time.Second

// observeAttempt starts an attempt and learns how it ended: from its wrapper, through the agent, or else from its pod.
func (r *Reconciler) observeAttempt(ctx context.Context, s *state, t plan.Suite, st *v1alpha1.SuiteStatus, a *v1alpha1.AttemptStatus, agent *agentWatch, pods []*corev1.Pod) error {
	key := keyOf(t.Name, *a)
	if a.StartedAt == nil {
		if err := agent.Go(ctx, key); err != nil {
			if diagnose.TimeLeft(answersSince(pods, s.stageTime(v1alpha1.ConditionTestsPassed).StartedAt.Time), agentStart, s.now) > 0 {
				return failure.Waitingf(v1alpha1.ReasonPending, 200*time.Millisecond, "Waiting for the stack's agent")
			}
			return failure.Terminalf(v1alpha1.ReasonUnavailable, err, "The stack's agent did not answer for %s. Run it again; if it happens again, ask your Conductor operator", agentStart)
		}
		a.StartedAt = s.timestamp()
		if st.StartedAt == nil {
			st.StartedAt = a.StartedAt
		}
	}
	pod := attemptPod(pods, t.Name, *a)
	dead := pod != nil && terminated(pod) != nil
	seen, err := agent.attempt(ctx, key, dead)
	switch {
	case err == nil && seen.Ended && seen.Attempt != nil:
		r.settle(s, t, a, *seen.Attempt, pod)
		return nil
	case dead && err != nil && diagnose.TimeLeft(endOf(pod), settleTimeout, s.now) > 0:
		s.requeueAfter(500 * time.Millisecond)
		return nil
	case dead && err != nil && ownExit(pod):
		// The wrapper's exit code is the test's own.
		judgeAttempt(s, t, a, evidence.Attempt{ExitCode: int(terminated(pod).ExitCode), FinishedAt: endOf(pod)})
		st.Problems = append(st.Problems, "The stack's agent did not answer: there are no test cases and no artifacts")
		return nil
	case dead:
		markLost(s, t, a, pod, diagnose.Ended(pod, r.subject(s, diagnose.Test, t.Name)))
		return nil
	case pod == nil:
		return r.missingTestPod(ctx, s, t, a)
	}
	yet, err := r.cannotStart(ctx, s, pod, r.subject(s, diagnose.Test, t.Name), "Suite "+t.Name)
	if err != nil {
		return err
	}
	if yet != "" {
		s.begin(v1alpha1.ConditionTestsPassed, yet)
	}
	limit := t.Test.Timeout.Duration + jobs.Grace + wrapperGrace
	if !seen.Ready {
		limit += agentStart + diagnose.PullGrace // Its image may still be on its way.
	}
	wait := timeLeft(a.StartedAt, limit, s.now)
	s.requeueAfter(wait)
	if wait > 0 {
		return nil
	}
	a.Outcome, a.Reason, a.FinishedAt = v1alpha1.OutcomeError, v1alpha1.ReasonStuck, s.timestamp()
	// Its Job is deleted with the Run. Deleted before the outcome is stored, the deletion would be taken for the cause.
	a.Message = fmt.Sprintf("Suite %s exceeded tests.%s.timeout (%s) and could not be terminated", t.Name, t.Name, t.Test.Timeout.Duration)
	return nil
}

func keyOf(suite string, a v1alpha1.AttemptStatus) evidence.AttemptKey {
	return evidence.AttemptKey{Suite: suite, Shard: int(a.Shard), Number: int(a.Number)}
}

// attemptPod is the pod of an attempt; nil when there is none.
func attemptPod(pods []*corev1.Pod, suite string, a v1alpha1.AttemptStatus) *corev1.Pod {
	for _, p := range pods {
		if p.Labels[v1alpha1.LabelSuite] == names.LabelValue(suite) && p.Labels[v1alpha1.LabelShard] == strconv.Itoa(int(a.Shard)) &&
			p.Labels[v1alpha1.LabelAttempt] == strconv.Itoa(int(a.Number)) {
			return p
		}
	}
	return nil
}

// settleTimeout is how long after the end of a test the kubelet may take to report what ended its container, or the agent to answer. A test
// that ended by itself does not wait for it.
const settleTimeout = 30 * time.Second

// settle notes how an attempt ended. The wrapper's report is enough for a test that passed or that ended by itself. One that was killed may
// have run out of memory or lost its pod, and only the pod's status shows that.
func (r *Reconciler) settle(s *state, t plan.Suite, a *v1alpha1.AttemptStatus, seen evidence.Attempt, pod *corev1.Pod) {
	seen = clamped(seen, *a, s.now)
	if pod == nil || seen.ExitCode == 0 || seen.TimedOut || seen.Signal == "" && !deletedBefore(pod, seen.FinishedAt) {
		judgeAttempt(s, t, a, seen)
		return
	}
	f := diagnose.Ended(pod, r.subject(s, diagnose.Test, t.Name))
	switch {
	case f != nil && f.Reason != v1alpha1.ReasonCrashed:
		markLost(s, t, a, pod, f)
	case terminated(pod) == nil && diagnose.TimeLeft(seen.FinishedAt, settleTimeout, s.now) > 0:
		s.requeueAfter(100 * time.Millisecond)
	case deletedBefore(pod, seen.FinishedAt):
		markLost(s, t, a, pod, &diagnose.Finding{Reason: v1alpha1.ReasonDeleted, Sentence: "the pod was deleted while it ran"})
	default:
		judgeAttempt(s, t, a, seen)
	}
}

// endOf is when a pod's container ended.
func endOf(pod *corev1.Pod) time.Time {
	if end := terminated(pod); end != nil {
		return end.FinishedAt.Time
	}
	return time.Time{}
}

// ownExit reports whether the container of a test ended by itself.
func ownExit(pod *corev1.Pod) bool {
	end := terminated(pod)
	return end != nil && end.ExitCode >= 0 && end.ExitCode <= 128 && end.Reason != "OOMKilled" && !diagnose.Deleted(pod, end)
}

// deletedBefore reports whether someone asked for a pod's end before a moment.
func deletedBefore(pod *corev1.Pod, at time.Time) bool {
	if pod.DeletionTimestamp == nil {
		return false
	}
	asked := pod.DeletionTimestamp.Time
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		asked = asked.Add(-time.Duration(*g) * time.Second)
	}
	return asked.Before(at)
}

// clamped is an attempt with its times held between its release and the moment at which Conductor learned of its end: they come from
// the test's own container, whose clock may be wrong and which may claim any. A time that is not known stays unknown.
func clamped(seen evidence.Attempt, a v1alpha1.AttemptStatus, now time.Time) evidence.Attempt {
	to := now
	if a.FinishedAt != nil {
		to = a.FinishedAt.Time
	}
	for _, at := range []*time.Time{&seen.FinishedAt, &seen.StartedAt} {
		if at.IsZero() {
			continue
		}
		if a.StartedAt != nil && at.Before(a.StartedAt.Time) {
			*at = a.StartedAt.Time
		}
		if at.After(to) {
			*at = to
		}
		to = *at // No test starts after its end.
	}
	return seen
}

// judgeAttempt notes how an attempt ended, as its wrapper or its container's exit code reports it.
func judgeAttempt(s *state, t plan.Suite, a *v1alpha1.AttemptStatus, seen evidence.Attempt) {
	if seen = clamped(seen, *a, s.now); seen.FinishedAt.IsZero() {
		seen.FinishedAt = s.now
	}
	finished := metav1.NewMicroTime(seen.FinishedAt)
	a.FinishedAt = &finished
	switch code := int32(seen.ExitCode); {
	case seen.TimedOut:
		a.Outcome, a.Reason = v1alpha1.OutcomeError, v1alpha1.ReasonTimeout
		a.Message = fmt.Sprintf("The tests of %s did not end within %s (tests.%s.timeout)", t.Name, t.Test.Timeout.Duration, t.Name)
	case code < 0:
		a.Outcome, a.Reason = v1alpha1.OutcomeError, v1alpha1.ReasonCrashed
		a.Message = fmt.Sprintf("The tests of %s could not be started", t.Name)
		if len(seen.Problems) > 0 {
			a.Message += ": " + text.Truncate(seen.Problems[0], 800)
		}
	case code == 0:
		a.Outcome, a.ExitCode = v1alpha1.OutcomePassed, &code
	default:
		a.Outcome, a.ExitCode = v1alpha1.OutcomeFailed, &code
		a.Message = "The tests ended with exit code " + strconv.Itoa(seen.ExitCode)
		if seen.Signal != "" {
			a.Message = "The tests were ended by " + seen.Signal
		}
	}
}

// markLost notes how an attempt ended whose wrapper could not report it, because its container was killed or its pod was removed.
func markLost(s *state, t plan.Suite, a *v1alpha1.AttemptStatus, pod *corev1.Pod, f *diagnose.Finding) {
	a.FinishedAt = s.timestamp()
	a.Outcome, a.Reason, a.Message = v1alpha1.OutcomeError, v1alpha1.ReasonCrashed, "The pod of suite "+t.Name+" disappeared; Kubernetes recorded no reason"
	if f != nil {
		a.Reason, a.Message = f.Reason, text.Truncate(f.About("Suite "+t.Name+" was lost"), 1024)
	}
	if end := terminated(pod); end != nil && end.ExitCode >= 0 && !diagnose.Deleted(pod, end) {
		a.ExitCode = &end.ExitCode
	}
}

// missingTestPod handles an attempt whose pod is not there (yet, or any more).
func (r *Reconciler) missingTestPod(ctx context.Context, s *state, t plan.Suite, a *v1alpha1.AttemptStatus) error {
	s.requeueAfter(5 * time.Second)
	if timeLeft(a.StartedAt, 5*time.Second, s.now) > 0 {
		return nil
	}
	name := jobs.TestName(keyOf(t.Name, *a), t.Test.Shards)
	job, err := r.Kube.BatchV1().Jobs(jobs.StackName(s.run)).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failure.Terminalf(v1alpha1.ReasonDeleted, nil, "Suite %s cannot run: its Job was deleted", t.Name)
	} else if err != nil {
		return fmt.Errorf("get test job: %w", err)
	}
	f := diagnose.Job(job)
	if f == nil {
		f = diagnose.Creation(r.listEvents(ctx, job.Namespace, "Job", name), s.now)
	}
	switch {
	case f != nil && f.After == 0:
		return f.Failure("Suite " + t.Name + " cannot run")
	case f != nil:
		s.requeueAfter(f.After)
	}
	if timeLeft(a.StartedAt, t.Test.Timeout.Duration, s.now) <= 0 {
		return failure.Terminalf(v1alpha1.ReasonTimeout, nil, "Suite %s did not run: its pod did not start within %s (tests.%s.timeout)", t.Name, t.Test.Timeout.Duration, t.Name)
	}
	return nil
}

func (r *Reconciler) deleteTest(ctx context.Context, run *v1alpha1.Run, t plan.Suite, a v1alpha1.AttemptStatus) error {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: jobs.TestName(keyOf(t.Name, a), t.Test.Shards), Namespace: jobs.StackName(run)}}
	return client.IgnoreNotFound(r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}
