package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/result"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Results are what the suites of a Run showed, as far as they have ended: from memory or, after a restart, from the stack's agent and,
// when that is gone, from the record. A suite that none of them knows is left out; the error is one of asking, which is transient.
func (r *Reconciler) Results(ctx context.Context, run *v1alpha1.Run) ([]evidence.Suite, error) {
	source := &sources{r: r, run: run}
	return source.suites(ctx), source.err
}

// shown is what a report of a Run is made of besides the Run: the results of the suites that have ended, and what the record has of a Run
// that left its texts there.
type shown struct {
	suites []evidence.Suite
	record *evidence.Result
	err    error
}

// restore is the Run with the texts that it left to its record.
func (s shown) restore(run *v1alpha1.Run) *v1alpha1.Run {
	if s.record == nil {
		return run
	}
	return compact.Restore(run, *s.record)
}

// readShown reads what a Run showed; it may take minutes.
func (r *Reconciler) readShown(ctx context.Context, run *v1alpha1.Run) shown {
	source := &sources{r: r, run: run}
	out := shown{suites: source.suites(ctx)}
	if compact.IsFolded(&run.Status) && source.readRecord(ctx) {
		record := source.record.Result()
		out.record = &record
	}
	out.err = source.err
	return out
}

// shownInMemory is the same without reading anything; false where something is not in memory.
func (r *Reconciler) shownInMemory(run *v1alpha1.Run) (shown, bool) {
	var out shown
	for _, st := range readableSuites(run) {
		full, ok := r.results.get(run.UID, st.Name)
		if !ok {
			return shown{}, false
		}
		out.suites = append(out.suites, judged(full, st))
	}
	return out, !compact.IsFolded(&run.Status)
}

// readableSuites are the suites of a Run that have a result.
func readableSuites(run *v1alpha1.Run) []*v1alpha1.SuiteStatus {
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded); c != nil && c.Reason == v1alpha1.ReasonProcessEnded {
		return nil // Reading them may end the process once more.
	}
	var all []*v1alpha1.SuiteStatus
	for i := range run.Status.Suites {
		if st := &run.Status.Suites[i]; st.Outcome != "" && compact.HasAttempts(st) {
			all = append(all, st)
		}
	}
	return all
}

// judged is a result with the outcome that the Run's status has.
func judged(full evidence.Suite, st *v1alpha1.SuiteStatus) evidence.Suite {
	full.Outcome, full.Message = string(st.Outcome), st.Message
	return full
}

// suites are those that have ended.
func (s *sources) suites(ctx context.Context) []evidence.Suite {
	var all []evidence.Suite
	for _, st := range readableSuites(s.run) {
		full, ok := s.r.results.get(s.run.UID, st.Name)
		if !ok {
			full, ok = s.suite(ctx, st)
		}
		if ok {
			all = append(all, judged(full, st))
		}
	}
	return all
}

// isReported reports whether the outcome is on GitHub: from then on results are asked for seldom and need not be held.
func isReported(run *v1alpha1.Run) bool {
	return run.Status.Report != nil && run.Status.Report.Final
}

// sources are where the results of one Run's suites are found when they are not in memory. Each is asked once.
type sources struct {
	r   *Reconciler
	run *v1alpha1.Run

	looked   bool
	agent    Agent
	pulled   bool
	record   result.Recorded
	unpulled error // why there is no record
	err      error
}

// suite is what a suite showed: from the agent, else from the record. Of a folded Run the record goes first, since its texts are there
// as well. It is kept in memory from then on.
func (s *sources) suite(ctx context.Context, st *v1alpha1.SuiteStatus) (evidence.Suite, bool) {
	if compact.IsFolded(&s.run.Status) {
		if full, ok := s.recorded(ctx, st.Name); ok {
			return full, true
		}
	}
	if !s.looked {
		s.looked = true
		s.agent, s.err = s.r.findAgent(ctx, s.run)
	}
	if s.agent != nil {
		kept, err := s.r.gather(ctx, st, s.agent)
		if err == nil {
			s.r.compare(ctx, s.run, &kept)
			s.r.results.put(s.run.UID, kept, isReported(s.run) || s.run.Status.Record != nil)
			return kept.Suite, true
		}
		s.r.results.grow(-kept.Size)
		s.err = err
	}
	return s.recorded(ctx, st.Name)
}

// recorded is what the record has of a suite.
func (s *sources) recorded(ctx context.Context, suite string) (evidence.Suite, bool) {
	if !s.readRecord(ctx) {
		return evidence.Suite{}, false
	}
	for _, kept := range s.record.Suites {
		if kept.Suite.Name == suite {
			return kept.Suite, true
		}
	}
	return evidence.Suite{}, false
}

// readRecord reads the record, once, and reports whether it is there.
func (s *sources) readRecord(ctx context.Context) bool {
	if s.run.Status.Record == nil {
		return false
	}
	if !s.pulled {
		s.pulled = true
		s.record, s.unpulled = s.r.readRecord(ctx, s.run)
	}
	s.err = s.unpulled
	if failure.IsTerminal(s.err) {
		s.r.Log.Warn("a record cannot be read again", "run", s.run.Name, "error", s.err)
		s.err = nil // Waiting would not help.
	}
	return s.unpulled == nil
}

// readRecord reads the results of a Run's record, and keeps them in memory.
func (r *Reconciler) readRecord(ctx context.Context, run *v1alpha1.Run) (result.Recorded, error) {
	done, err := r.results.read(ctx)
	if err != nil {
		return result.Recorded{}, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, recordReadTime)
	defer cancel()
	body, err := r.Registry.OpenResult(ctx, *run.Status.Record)
	if err != nil {
		return result.Recorded{}, err
	}
	defer body.Close()
	record, err := result.Read(body, r.results.share())
	for _, kept := range record.Suites {
		r.results.put(run.UID, kept, true)
	}
	return record, err
}

// findAgent finds the agent of a Run that is no longer watched.
func (r *Reconciler) findAgent(ctx context.Context, run *v1alpha1.Run) (Agent, error) {
	if run.Status.Namespace == "" {
		return nil, errors.New("there is no stack")
	}
	address, err := r.namespaces().AgentAddress(ctx, run.Status.Namespace)
	if err != nil {
		return nil, err
	}
	return r.Agents.At(run, address), nil
}

const (
	// recordReadTime is how long the registry may take to hand over the results of a Run.
	recordReadTime = 2 * time.Minute
	// gatherTime is how long an agent may take to hand over the results of a suite: 256 attempts on a busy node.
	gatherTime = 10 * time.Minute
	// readPause is how long an agent may send no test case of an attempt that is read.
	readPause = time.Minute
)

// gather asks the agent what the attempts of a suite left behind, and makes the suite's result of it, one case at a time. It gives what
// there is even with an error. The caller keeps the result or gives its memory back.
func (r *Reconciler) gather(ctx context.Context, st *v1alpha1.SuiteStatus, agent Agent) (result.Kept, error) {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	done, err := r.results.read(ctx)
	if err != nil {
		return result.Kept{Suite: evidence.Suite{Name: st.Name}}, err
	}
	attempts, seen, err := endings(ctx, st, agent, r.now())
	done()
	c := result.Collect(st.Name, attempts, r.results.share())
	for key, more := c.Next(); more; key, more = c.Next() {
		if err == nil && seen[key] {
			err = r.readCases(ctx, agent, key, c)
		}
	}
	full := c.Suite()
	full.Shards = int(st.Shards)
	return result.Kept{Suite: full, Size: c.Size()}, err
}

// readCases adds the cases of one attempt to a suite's result. It waits for a turn of its own, so that a suite of many attempts does not
// keep all others waiting. What is wrong with one attempt is a problem of that one; the error means that no other can be read either.
func (r *Reconciler) readCases(ctx context.Context, agent Agent, key evidence.AttemptKey, c *result.Collection) error {
	done, err := r.results.read(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(readPause, func() { cancel(fmt.Errorf("the stack's agent sent no test case for %s", readPause)) })
	defer stalled.Stop()
	problems, err := agent.Cases(ctx, key, func(one evidence.Case) {
		stalled.Reset(readPause)
		c.Add(one)
	})
	for _, p := range problems {
		c.Problem(p)
	}
	switch {
	case err == nil, absent(err):
		return nil
	case errors.Is(err, evidence.ErrTooLarge):
		c.Problem("The test cases were not read to their end: " + err.Error())
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// endings are a suite's attempts, as far as the agent knows them, and which of them it knows.
func endings(ctx context.Context, st *v1alpha1.SuiteStatus, agent Agent, now time.Time) (attempts []evidence.Attempt, seen map[evidence.AttemptKey]bool, err error) {
	state, err := agent.State(ctx, -1, 0)
	seen = map[evidence.AttemptKey]bool{}
	for _, a := range compact.Attempts(st) {
		attempt := known(state, keyOf(st.Name, a))
		if attempt == nil {
			attempt = unseen(st.Name, a)
		} else {
			seen[attempt.AttemptKey] = true
		}
		attempts = append(attempts, clamped(*attempt, a, now))
	}
	return attempts, seen, err
}

// known is an attempt as its wrapper saw it; nil when the agent does not know.
func known(state evidence.AgentState, key evidence.AttemptKey) *evidence.Attempt {
	for _, a := range state.Attempts {
		if a.Key == key && a.Attempt != nil {
			attempt := *a.Attempt
			return &attempt
		}
	}
	return nil
}

// unseen is an attempt whose wrapper could not report how it ended.
func unseen(suite string, a v1alpha1.AttemptStatus) *evidence.Attempt {
	attempt := &evidence.Attempt{AttemptKey: keyOf(suite, a), ExitCode: -1}
	if a.ExitCode != nil {
		attempt.ExitCode = int(*a.ExitCode)
	}
	if a.StartedAt != nil {
		attempt.StartedAt = a.StartedAt.Time
	}
	if a.FinishedAt != nil {
		attempt.FinishedAt = a.FinishedAt.Time
	}
	if a.Message != "" {
		attempt.Problems = []string{a.Message}
	}
	return attempt
}

// compare sets a suite against the last run of it on the branch. What cannot be compared is not. Histories are in memory one at a time.
func (r *Reconciler) compare(ctx context.Context, run *v1alpha1.Run, kept *result.Kept) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // The wait for the place is part of it.
	defer cancel()
	select {
	case r.results.comparing <- struct{}{}:
		defer func() { <-r.results.comparing }()
	case <-ctx.Done():
		return
	}
	branch := run.Status.Branch
	if branch == "" {
		return
	}
	full := &kept.Suite
	history, err := r.Registry.History(ctx, run.Spec.Repository, branch, full.Name)
	if err != nil {
		r.Log.Warn("the history of a suite could not be read", "run", run.Name, "suite", full.Name, "branch", branch, "error", err)
		return
	}
	result.Compare(full, history, run.Name)
	if full.Compared == nil {
		return
	}
	size := int64(0)
	for _, id := range slices.Concat(full.Compared.NewlyFailing, full.Compared.NewlyFixed) {
		size += int64(len(id)) + 32
	}
	if !r.results.grow(size) {
		r.Log.Warn("a suite is not compared: the memory for test results (memory.results) is full", "run", run.Name, "suite", full.Name)
		full.Compared = nil
		return
	}
	kept.Size += size
}

// noteResult brings a suite's status up to date with its result.
func noteResult(st *v1alpha1.SuiteStatus, full evidence.Suite) {
	st.Totals, st.Failures = result.Status(full)
	if st.Message = text.Truncate(full.Message, 2048); full.Compared != nil {
		failing, fixed := int32(len(full.Compared.NewlyFailing)), int32(len(full.Compared.NewlyFixed))
		st.NewlyFailing, st.NewlyFixed = &failing, &fixed
	}
	for _, p := range result.Problems(full) {
		if len(st.Problems) < 10 {
			st.Problems = append(st.Problems, text.Truncate(p, 512))
		}
	}
}

// suiteLog is the end of the log of the attempt that counts: masked by the agent or, where that is gone, the kubelet's own.
func (r *Reconciler) suiteLog(ctx context.Context, suite string, a v1alpha1.AttemptStatus, agent Agent, pods []*corev1.Pod) string {
	pod := attemptPod(pods, suite, a)
	if pod == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	end, err := agent.Tail(ctx, tailOf(pod, 60))
	if err != nil {
		return r.podTail(ctx, pod, 60, 8000)
	}
	return text.Tail(redact.Token(end), 8000)
}
