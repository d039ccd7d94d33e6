package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/result"
)

// results keeps what the suites of Runs showed until it is told and recorded. A status has no room for it, and what is not here
// is asked of the stack's agent or read from the record again.
type results struct {
	mu     sync.Mutex
	suites map[types.UID]map[string]evidence.Suite
}

func (c *results) put(run types.UID, s evidence.Suite) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suites == nil {
		c.suites = map[types.UID]map[string]evidence.Suite{}
	}
	if c.suites[run] == nil {
		c.suites[run] = map[string]evidence.Suite{}
	}
	c.suites[run][s.Name] = s
}

func (c *results) get(run types.UID, suite string) (evidence.Suite, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.suites[run][suite]
	return s, ok
}

func (c *results) drop(run types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.suites, run)
}

// Results are what the suites of a Run showed, as far as they have ended: from memory or, after a restart, from the stack's agent and,
// when that is gone, from the record. A suite that none of them knows is left out; the error is one of asking, which may pass.
func (r *Reconciler) Results(ctx context.Context, run *v1alpha1.Run) ([]evidence.Suite, error) {
	source := &sources{r: r, run: run}
	return source.suites(ctx), source.err
}

// Shown is a Run with the texts that it has left to its record, and the Results.
func (r *Reconciler) Shown(ctx context.Context, run *v1alpha1.Run) (*v1alpha1.Run, []evidence.Suite, error) {
	source := &sources{r: r, run: run}
	suites := source.suites(ctx)
	if compact.IsFolded(&run.Status) && source.pull(ctx) {
		run = compact.Restore(run, source.record)
	}
	return run, suites, source.err
}

// suites are those that have ended.
func (s *sources) suites(ctx context.Context) []evidence.Suite {
	var all []evidence.Suite
	r, run := s.r, s.run
	for i := range run.Status.Suites {
		st := &run.Status.Suites[i]
		if st.Outcome == "" || !compact.HasAttempts(st) {
			continue
		}
		full, ok := r.results.get(run.UID, st.Name)
		if !ok {
			if full, ok = s.suite(ctx, st); ok && !told(run) {
				r.results.put(run.UID, full)
			}
		}
		if ok {
			full.Outcome, full.Message = string(st.Outcome), st.Message
			all = append(all, full)
		}
	}
	return all
}

// told says whether the outcome is on GitHub: from then on results are asked for seldom and need not be held.
func told(run *v1alpha1.Run) bool {
	return run.Status.Report != nil && run.Status.Report.Final
}

// sources are where the results of one Run's suites are found when they are not in memory. Each is asked once.
type sources struct {
	r   *Reconciler
	run *v1alpha1.Run

	looked   bool
	agent    Agent
	pulled   bool
	record   evidence.Result
	unpulled error // why there is no record
	err      error
}

// suite is what a suite showed: from the agent, else from the record. Of a folded Run the record goes first, since its texts are there
// as well.
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
		full, err := s.r.gather(ctx, s.run, st, s.agent)
		if err == nil {
			s.r.compare(ctx, s.run, &full)
			return full, true
		}
		s.err = err
	}
	return s.recorded(ctx, st.Name)
}

// recorded is what the record has of a suite.
func (s *sources) recorded(ctx context.Context, suite string) (evidence.Suite, bool) {
	if !s.pull(ctx) {
		return evidence.Suite{}, false
	}
	for _, full := range s.record.Suites {
		if full.Name == suite {
			return full, true
		}
	}
	return evidence.Suite{}, false
}

// pull reads the record, once, and reports whether it is there.
func (s *sources) pull(ctx context.Context) bool {
	if s.run.Status.Record == nil {
		return false
	}
	if !s.pulled {
		s.pulled = true
		s.record, s.unpulled = s.r.Registry.Result(ctx, *s.run.Status.Record)
	}
	s.err = s.unpulled
	if failure.IsTerminal(s.err) {
		s.r.Log.Warn("a record cannot be read again", "run", s.run.Name, "error", s.err)
		s.err = nil // Waiting would not help.
	}
	return s.unpulled == nil
}

// findAgent finds the agent of a Run that is no longer watched.
func (r *Reconciler) findAgent(ctx context.Context, run *v1alpha1.Run) (Agent, error) {
	if run.Status.Namespace == "" {
		return nil, errors.New("there is no stack")
	}
	list, err := r.Kube.CoreV1().Pods(run.Status.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelStage + "=" + jobs.StageAgent})
	if err != nil {
		return nil, fmt.Errorf("look for the stack's agent: %w", err)
	}
	for i := range list.Items {
		if p := agentPod([]*corev1.Pod{&list.Items[i]}); p != nil {
			return r.Agents.At(run, p.Status.PodIP), nil
		}
	}
	return nil, errors.New("the stack's agent is gone")
}

// gather asks the agent what the attempts of a suite left behind, and makes the suite's result of it. It gives what there is even
// with an error.
func (r *Reconciler) gather(ctx context.Context, run *v1alpha1.Run, st *v1alpha1.SuiteStatus, agent Agent) (evidence.Suite, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	state, err := agent.State(ctx, -1, 0)
	cases := map[evidence.AttemptKey][]evidence.Case{}
	var attempts []evidence.Attempt
	for _, a := range compact.Attempts(st) {
		attempt := known(state, keyOf(st.Name, a))
		if attempt == nil {
			attempt = unseen(st.Name, a)
		} else if err == nil {
			var problems []string
			cases[attempt.AttemptKey], problems, err = agent.Cases(ctx, attempt.AttemptKey)
			if absent(err) {
				err = nil
			}
			attempt.Problems = append(attempt.Problems, problems...)
		}
		attempts = append(attempts, clamped(*attempt, a, r.now()))
	}
	full := result.Suite(st.Name, attempts, cases)
	full.Shards = int(st.Shards)
	return full, err
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

// unseen is an attempt whose wrapper could not tell how it ended.
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

// compare sets a suite against the last run of it on the branch. What cannot be compared is not.
func (r *Reconciler) compare(ctx context.Context, run *v1alpha1.Run, full *evidence.Suite) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	branch := r.branch(ctx, run)
	if branch == "" {
		return
	}
	history, err := r.Registry.History(ctx, run.Spec.Repository, branch, full.Name)
	if err != nil {
		r.Log.Warn("the history of a suite could not be read", "run", run.Name, "suite", full.Name, "branch", branch, "error", err)
		return
	}
	result.Compare(full, history, run.Name)
}

// branch is the branch that a Run's results are compared on; empty when it is on none that is known.
func (r *Reconciler) branch(ctx context.Context, run *v1alpha1.Run) string {
	if run.Status.Branch != "" || run.Status.IssueSource != "" {
		return run.Status.Branch
	}
	if b := branchOf(run.Spec.Ref, nil); b != "" {
		return b
	}
	hints, err := r.GitHub.Hints(ctx, run.Spec.InstallationID, run.Spec.Repository, run.Spec.Object, run.Spec.SHA)
	if err != nil {
		r.Log.Warn("the branch of a run could not be looked up", "run", run.Name, "error", err)
		return ""
	}
	return branchOf(run.Spec.Ref, hints.Branches)
}

// describe brings a suite's status to what its result says.
func describe(st *v1alpha1.SuiteStatus, full evidence.Suite) {
	st.Totals, st.Failures = result.Status(full)
	if st.Message = cut(full.Message, 2048); full.Compared != nil {
		failing, fixed := int32(len(full.Compared.NewlyFailing)), int32(len(full.Compared.NewlyFixed))
		st.NewlyFailing, st.NewlyFixed = &failing, &fixed
	}
	for _, p := range result.Problems(full) {
		if len(st.Problems) < 10 {
			st.Problems = append(st.Problems, cut(p, 512))
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
	text, err := agent.Tail(ctx, pod.Name, pod.Spec.Containers[0].Name, 60)
	if err != nil {
		return r.tail(ctx, pod, 60, 8000)
	}
	return last(redact.Token(text), 8000)
}
