package run

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// reconcileTests runs the suites one after the other, since they share one stack. The pods of the first one are made as soon as its image is
// known, and those of each further one while the one before runs: they wait for leave, and no one waits for them.
func (r *Reconciler) reconcileTests(ctx context.Context, s *state) error {
	if s.plan == nil || s.status().Namespace == "" || !s.isOpen(v1alpha1.ConditionTestsPassed) {
		return nil
	}
	if s.isTrue(v1alpha1.ConditionStackReady) {
		if err := r.reportCrashes(ctx, s); err != nil {
			return err
		}
	}
	for i, t := range s.plan.Suites {
		st := suiteStatus(s.status(), t.Name)
		if st.Outcome != "" {
			continue
		}
		if err := r.createFirstAttempts(ctx, s, t, st); err != nil {
			return err
		}
		if !s.isTrue(v1alpha1.ConditionStackReady) || !compact.HasAttempts(st) {
			return nil
		}
		s.begin(v1alpha1.ConditionTestsPassed, "Running "+t.Name)
		if timeLeft(s.stageTime(v1alpha1.ConditionStackReady).FinishedAt, addressTime, s.now) > 0 {
			r.checkAddresses(ctx, s)
		}
		if err := r.runSuite(ctx, s, t, st); err != nil {
			return err
		}
		if st.Outcome != "" {
			continue
		}
		if !isPrepared(st) {
			return nil
		}
		return r.createNextAttempts(ctx, s, i+1)
	}
	noteCrashes(s)
	r.setOutcome(s)
	return nil
}

// createNextAttempts makes the pods of the suite that comes next, if there is one.
func (r *Reconciler) createNextAttempts(ctx context.Context, s *state, i int) error {
	if i >= len(s.plan.Suites) {
		return nil
	}
	return r.createFirstAttempts(ctx, s, s.plan.Suites[i], suiteStatus(s.status(), s.plan.Suites[i].Name))
}

// createFirstAttempts makes the first attempts of a suite's shards, once its image is known, as far as there is room for test pods.
func (r *Reconciler) createFirstAttempts(ctx context.Context, s *state, t plan.Suite, st *v1alpha1.SuiteStatus) error {
	st.Shards = int32(t.Test.Shards)
	for shard := range st.Shards {
		if hasAttempt(st, shard) {
			continue
		}
		if openAttempts(s.status()) >= r.Settings.Stacks.TestsAtOnce {
			return nil
		}
		if err := r.createAttempt(ctx, s, t, st, shard, 1); err != nil {
			return err
		}
	}
	return nil
}

// isPrepared reports whether each shard of a suite has an attempt.
func isPrepared(st *v1alpha1.SuiteStatus) bool {
	for shard := range st.Shards {
		if !hasAttempt(st, shard) {
			return false
		}
	}
	return true
}

func hasAttempt(st *v1alpha1.SuiteStatus, shard int32) bool {
	return slices.ContainsFunc(st.Attempts, func(a v1alpha1.AttemptStatus) bool { return a.Shard == shard })
}

// openAttempts is how many attempts there are that have not ended.
func openAttempts(st *v1alpha1.RunStatus) int {
	n := 0
	for _, suite := range st.Suites {
		for _, a := range suite.Attempts {
			if suite.Outcome == "" && a.Outcome == "" {
				n++
			}
		}
	}
	return n
}

// createAttempt makes the Job of an attempt, and notes it. Where the image is not known yet it does nothing.
func (r *Reconciler) createAttempt(ctx context.Context, s *state, t plan.Suite, st *v1alpha1.SuiteStatus, shard, number int32) error {
	ref := t.Image
	if t.Build != "" {
		ref = imageStatus(s.status(), t.Build).Reference()
	}
	if ref == "" || t.Pending {
		return nil
	}
	argv, err := r.findArgv(ctx, s, t, ref)
	if err != nil {
		return err
	}
	job := s.plan.TestJob(&t, int(shard), int(number), ref, argv)
	if err := r.Client.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create test job %s: %w", job.Name, err)
	}
	st.Attempts = append(st.Attempts, v1alpha1.AttemptStatus{Shard: shard, Number: number, CreatedAt: s.timestamp()})
	return nil
}

// findArgv finds what the wrapper of a suite runs. Without a command in the file it is the image's own, for which the registry is asked.
func (r *Reconciler) findArgv(ctx context.Context, s *state, t plan.Suite, ref string) ([]string, error) {
	if argv := t.Argv(nil); len(argv) > 0 {
		return argv, nil
	}
	own, ok := s.images.Configs[ref]
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		_, file, err := r.Registry.ImageConfig(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("look up what the image of %s runs: %w", t.Name, err)
		}
		if own, err = compose.ParseImageConfig(file); err != nil {
			return nil, failure.Terminalf(v1alpha1.ReasonImageUnavailable, err, "Suite %s cannot run: the configuration of its image cannot be read", t.Name)
		}
	}
	argv := t.Argv(&own)
	if len(argv) == 0 {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "Suite %s has nothing to run: the image %s has neither an ENTRYPOINT nor a CMD. Set tests.%s.command", t.Name, ref, t.Name)
	}
	return argv, nil
}

// runSuite starts a suite's attempts, learns how they ended, retries what failed, and ends the suite when no attempt is open.
func (r *Reconciler) runSuite(ctx context.Context, s *state, t plan.Suite, st *v1alpha1.SuiteStatus) error {
	pods, err := r.stacks.pods(ctx, s.run)
	if err != nil {
		return err
	}
	began := s.stageTime(v1alpha1.ConditionTestsPassed).StartedAt.Time
	agent, err := r.waitForAgent(ctx, s, pods[""], began)
	if err != nil {
		return r.noteBroken(s, st, err)
	}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	open := false
	for i := range st.Attempts { // Attempts that are added below are observed when their pods change.
		a := &st.Attempts[i]
		if a.Outcome != "" {
			continue
		}
		if err := r.observeAttempt(ctx, s, t, st, a, agent, pods[""]); err != nil {
			return r.noteBroken(s, st, err)
		}
		if a.Outcome == "" {
			open = true
		} else if again := a.Outcome != v1alpha1.OutcomePassed && int(a.Number) <= t.Test.Retry; again {
			open = true
			had := len(st.Attempts)
			err := r.createAttempt(ctx, s, t, st, a.Shard, a.Number+1)
			if len(st.Attempts) == had { // Its image is not known yet, after a restart. It is observed again, and so is this.
				a.Outcome = ""
			}
			if err != nil {
				return err
			}
		}
	}
	if !isPrepared(st) {
		return r.createFirstAttempts(ctx, s, t, st) // Others have ended, which makes room.
	}
	if open {
		return nil
	}
	return r.closeSuite(ctx, s, t, st, agent, pods[""])
}

// noteBroken ends a suite that could not be run, on a terminal error.
func (r *Reconciler) noteBroken(s *state, st *v1alpha1.SuiteStatus, err error) error {
	if f := failure.Of(err); f != nil && f.Kind == failure.Terminal {
		st.Outcome, st.Message, st.FinishedAt = v1alpha1.OutcomeError, text.Truncate(f.Sentence, 2048), s.timestamp()
	}
	return err
}

// closeSuite ends a suite whose attempts have all ended: the last one of each shard counts.
func (r *Reconciler) closeSuite(ctx context.Context, s *state, t plan.Suite, st *v1alpha1.SuiteStatus, agent Agent, pods []*corev1.Pod) error {
	worst := worstAttempt(st)
	if pod := attemptPod(pods, t.Name, worst); worst.Outcome != v1alpha1.OutcomePassed && pod != nil && terminated(pod) == nil &&
		worst.FinishedAt != nil && s.now.Sub(worst.FinishedAt.Time) < 2*time.Second {
		// The wrapper reports the end before the kubelet has the end of the log.
		s.requeueAfter(100 * time.Millisecond)
		return nil
	}
	err := r.takeStep(s, stepResults(t.Name), func(ctx context.Context, run *v1alpha1.Run) taken {
		return r.readResults(ctx, run, t.Name, agent)
	})
	if err != nil {
		return err
	}
	st.ExitCode = worst.ExitCode
	st.Reason = cmp.Or(st.Reason, brokenBy(st))
	st.Log = r.suiteLog(ctx, t.Name, worst, agent, pods)
	st.Outcome, st.FinishedAt = worst.Outcome, worst.FinishedAt
	if worst.Message != "" {
		st.Message = worst.Message
	}
	if st.FinishedAt == nil {
		st.FinishedAt = s.timestamp()
	}
	return nil
}

// readResults reads what the attempts of a suite showed. What cannot be read is noted with the suite.
func (r *Reconciler) readResults(ctx context.Context, run *v1alpha1.Run, name string, agent Agent) taken {
	kept, err := r.gather(ctx, suiteStatus(&run.Status, name), agent)
	if err != nil {
		r.Log.Warn("the test cases of a suite could not be read", "run", run.Name, "suite", name, "error", err)
	}
	r.compare(ctx, run, &kept)
	put := sync.OnceFunc(func() { r.results.put(run.UID, kept, false) })
	return taken{drop: func() { r.results.grow(-kept.Size) }, note: func(s *state) error {
		st := suiteStatus(s.status(), name)
		if err != nil {
			st.Problems = append(st.Problems, "The test reports could not be read: "+text.Truncate(err.Error(), 300))
		}
		put()
		noteResult(st, kept.Suite)
		return nil
	}}
}

// lastAttempts are the last attempts of a suite's shards, by shard.
func lastAttempts(st *v1alpha1.SuiteStatus) []v1alpha1.AttemptStatus {
	last := make([]v1alpha1.AttemptStatus, max(1, int(st.Shards)))
	for _, a := range st.Attempts {
		if int(a.Shard) < len(last) && a.Number > last[a.Shard].Number {
			last[a.Shard] = a
		}
	}
	return last
}

// brokenBy is the reason of the last shard that came to no result; a test whose Job is still to be ended goes before the others.
func brokenBy(st *v1alpha1.SuiteStatus) (reason string) {
	for _, a := range lastAttempts(st) {
		if a.Outcome == v1alpha1.OutcomeError && a.Reason != "" && reason != v1alpha1.ReasonStuck {
			reason = a.Reason
		}
	}
	return reason
}

// worstAttempt is the one among them that the suite's outcome comes from.
func worstAttempt(st *v1alpha1.SuiteStatus) v1alpha1.AttemptStatus {
	return slices.MaxFunc(lastAttempts(st), func(a, b v1alpha1.AttemptStatus) int { return rank(a.Outcome) - rank(b.Outcome) })
}

func rank(o v1alpha1.Outcome) int {
	return slices.Index([]v1alpha1.Outcome{v1alpha1.OutcomePassed, v1alpha1.OutcomeFailed, v1alpha1.OutcomeError}, o)
}

// setOutcome sets the outcome once every suite has one.
func (r *Reconciler) setOutcome(s *state) {
	var failed, broken []string
	reason := v1alpha1.ReasonTestsFailed
	for _, st := range s.status().Suites {
		switch st.Outcome {
		case v1alpha1.OutcomePassed:
		case v1alpha1.OutcomeFailed:
			failed = append(failed, st.Name)
		default:
			broken = append(broken, st.Message)
			if reason = cmp.Or(st.Reason, reason); reason == v1alpha1.ReasonStuck {
				reason = v1alpha1.ReasonTimeout // For people a test that could not even be ended took too long.
			}
		}
	}
	switch {
	case len(broken) > 0:
		message := strings.Join(broken, "; ")
		if len(failed) > 0 {
			message += "; failed: " + strings.Join(failed, ", ")
		}
		s.fail(v1alpha1.ConditionTestsPassed, reason, message)
		s.finish(v1alpha1.OutcomeError, reason, message)
	case len(failed) > 0:
		message := "Failed: " + strings.Join(failed, ", ")
		s.fail(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonTestsFailed, message)
		s.finish(v1alpha1.OutcomeFailed, v1alpha1.ReasonTestsFailed, message)
	default:
		s.done(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonDone, text.Plural(len(s.plan.Suites), "suite")+" passed")
		s.finish(v1alpha1.OutcomePassed, v1alpha1.ReasonDone, "All tests passed")
	}
}
