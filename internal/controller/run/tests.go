package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// backstop is how much later than Conductor the Job controller ends a suite: it deletes the pod and its log with it.
const backstop = time.Minute

// tests runs the suites one after the other, since they share one stack.
func (r *Reconciler) tests(ctx context.Context, s *state) error {
	if s.plan == nil || !s.is(v1alpha1.ConditionStackReady) || !s.open(v1alpha1.ConditionTestsPassed) {
		return nil
	}
	pods, err := r.stacks.pods(ctx, s.run)
	if err != nil {
		return err
	}
	for _, t := range s.plan.Suites {
		st := suite(s.status(), t.Name)
		if st.Outcome != "" {
			continue
		}
		if st.StartedAt == nil {
			return r.startSuite(ctx, s, t, st)
		}
		if err := r.observeSuite(ctx, s, t, st, pods[""]); err != nil || st.Outcome == "" {
			return err
		}
	}
	r.conclude(s)
	return nil
}

// startSuite makes a suite's Job.
func (r *Reconciler) startSuite(ctx context.Context, s *state, t Suite, st *v1alpha1.SuiteStatus) error {
	ref := t.Image
	if t.Build != "" {
		if ref = image(s.status(), t.Build).Reference(); ref == "" {
			return nil // The stack was up before the tests' image.
		}
	}
	s.begin(v1alpha1.ConditionTestsPassed, "Running "+t.Name)
	job := jobs.Test(jobs.TestInput{
		Run: s.run, Suite: t.Name, Image: ref, Command: t.Test.Command.Args, Shell: t.Test.Command.Shell, Env: t.Test.Env,
		Timeout: t.Test.Timeout.Duration + backstop, PullSecret: r.pullSecret(s.run),
	})
	if err := r.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create test job %s: %w", job.Name, err)
	}
	st.StartedAt = s.micro()
	s.lookAgain(t.Test.Timeout.Duration)
	return nil
}

// observeSuite learns from a suite's pod how it ended.
func (r *Reconciler) observeSuite(ctx context.Context, s *state, t Suite, st *v1alpha1.SuiteStatus, pods []*corev1.Pod) error {
	i := slices.IndexFunc(pods, func(p *corev1.Pod) bool { return p.Labels[v1alpha1.LabelSuite] == jobs.LabelValue(t.Name) })
	left := timeLeft(st.StartedAt, t.Test.Timeout.Duration, s.now)
	s.lookAgain(left)
	if i < 0 {
		return r.missingTestPod(ctx, s, t, st, left)
	}
	pod := pods[i]
	if end := terminated(pod); end != nil {
		st.FinishedAt = s.micro()
		st.Log = r.tail(ctx, pod, 60, 8000)
		st.Outcome = v1alpha1.OutcomePassed
		if end.ExitCode >= 0 {
			st.ExitCode = &end.ExitCode
		}
		if end.ExitCode != 0 {
			st.Outcome, st.Message = v1alpha1.OutcomeFailed, "The tests ended with "+exitSentence(end)
		}
		return nil
	}
	if reason, message, after := blocked(pod, s.now); message != "" {
		if after == 0 {
			return r.errored(s, st, reason, "The tests of "+t.Name+" cannot start: "+message)
		}
		s.lookAgain(after)
	}
	if left > 0 {
		return nil
	}
	st.Log = r.tail(ctx, pod, 60, 8000)
	if err := r.deleteTest(ctx, s.run, t.Name); err != nil {
		return err
	}
	return r.errored(s, st, v1alpha1.ReasonTimeout, fmt.Sprintf("The tests of %s did not end within %s (tests.%s.timeout)", t.Name, t.Test.Timeout.Duration, t.Name))
}

// missingTestPod handles a suite whose pod is not there (yet, or any more).
func (r *Reconciler) missingTestPod(ctx context.Context, s *state, t Suite, st *v1alpha1.SuiteStatus, left time.Duration) error {
	s.lookAgain(5 * time.Second)
	if timeLeft(st.StartedAt, 5*time.Second, s.now) > 0 {
		return nil
	}
	job, err := r.Kube.BatchV1().Jobs(jobs.StackName(s.run)).Get(ctx, jobs.TestName(t.Name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return r.errored(s, st, v1alpha1.ReasonDeleted, "The Job of the suite "+t.Name+" was deleted")
	} else if err != nil {
		return fmt.Errorf("get test job: %w", err)
	}
	for _, c := range job.Status.Conditions {
		if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
			return r.errored(s, st, v1alpha1.ReasonCrashed, "The Job of the suite "+t.Name+" failed: "+c.Message)
		}
	}
	if left <= 0 {
		return r.errored(s, st, v1alpha1.ReasonTimeout, "No pod of the suite "+t.Name+" was started in time")
	}
	return nil
}

// errored ends a suite that could not be run.
func (r *Reconciler) errored(s *state, st *v1alpha1.SuiteStatus, reason, message string) error {
	st.Outcome, st.Message, st.FinishedAt = v1alpha1.OutcomeError, message, s.micro()
	return failure.Terminalf(reason, nil, "%s", message)
}

func (r *Reconciler) deleteTest(ctx context.Context, run *v1alpha1.Run, suite string) error {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: jobs.TestName(suite), Namespace: jobs.StackName(run)}}
	return client.IgnoreNotFound(r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

// conclude sets the outcome once every suite has one.
func (r *Reconciler) conclude(s *state) {
	var failed []string
	for _, st := range s.status().Suites {
		if st.Outcome != v1alpha1.OutcomePassed {
			failed = append(failed, st.Name)
		}
	}
	if len(failed) > 0 {
		message := "Failed: " + strings.Join(failed, ", ")
		s.fail(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonTestsFailed, message)
		s.finish(v1alpha1.OutcomeFailed, v1alpha1.ReasonTestsFailed, message)
		return
	}
	s.done(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonDone, count(len(s.plan.Suites), "suite")+" passed")
	s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "All tests passed")
}
