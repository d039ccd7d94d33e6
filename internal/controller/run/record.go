package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/result"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// recordPatience is how long a stack's agent may take to have everything of the tests: artifacts come after the result. A canceled Run
	// does not wait for it.
	recordPatience = 2 * time.Minute
	// recordTime is how long one try may take: a stack whose agent is slow on purpose holds a worker no longer.
	recordTime = 15 * time.Minute
)

// reconcileRecord keeps what the Run showed in the registry, where it outlives the stack and the Run. It runs once the outcome is known, and
// nothing is taken down before it has ended.
func (r *Reconciler) reconcileRecord(ctx context.Context, s *state) error {
	if !s.hasOutcome() || !s.isOpen(v1alpha1.ConditionRecorded) {
		return nil
	}
	if meta.FindStatusCondition(s.status().Conditions, v1alpha1.ConditionRecorded) == nil {
		s.begin(v1alpha1.ConditionRecorded, "Keeping the record")
		s.status().Step = &v1alpha1.StepStatus{Name: stepRecord}
		r.guard.leave(s.run.UID)
		return nil // Nothing is ended before the outcome is stored; see reconcileKeep.
	}
	s.recorded = true
	if r.steps.has(s.run.UID, stepRecord) {
		return r.takeStep(s, stepRecord, nil)
	}
	if err := r.endTests(ctx, s); err != nil {
		return err
	}
	// Without an agent the record has nothing of the stack.
	agent, err := r.findAgent(ctx, s.run)
	if err != nil && len(s.status().Services) > 0 {
		r.Log.Warn("a record is kept without logs of the stack", "run", s.run.Name, "error", err)
	}
	known, ready := r.collectState(ctx, s, agent)
	if !ready {
		s.requeueAfter(200 * time.Millisecond)
		return nil
	}
	return r.takeStep(s, stepRecord, func(ctx context.Context, run *v1alpha1.Run) taken { return r.keepRecord(ctx, run, agent, known) })
}

// keepRecord brings the record to the registry, and what refers to it.
func (r *Reconciler) keepRecord(ctx context.Context, run *v1alpha1.Run, agent Agent, known evidence.AgentState) taken {
	err := r.pushRecord(ctx, run, agent, known)
	return taken{err: err, note: func(s *state) error {
		for _, st := range run.Status.Suites {
			suiteStatus(s.status(), st.Name).Log = st.Log
		}
		if s.status().Record = run.Status.Record; err == nil {
			s.done(v1alpha1.ConditionRecorded, v1alpha1.ReasonDone, "The record is kept as "+run.Status.Record.Reference)
		}
		return nil
	}}
}

// pushRecord pushes the record and notes it in run, then makes what refers to it.
func (r *Reconciler) pushRecord(ctx context.Context, run *v1alpha1.Run, agent Agent, known evidence.AgentState) error {
	r.refreshLogs(ctx, run, agent)
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	c := newCollector(r, run, agent)
	if agent != nil {
		c.usage, _ = agent.Usage(ctx)
	}
	kept, err := r.Registry.PushRecord(ctx, run.Spec.Repository, run.Name, annotations(run), c.files(ctx, known), func(missing []error) ([]evidence.Layer, error) {
		return c.head(ctx, missing)
	})
	if err != nil {
		return fmt.Errorf("push the record: %w", err)
	}
	run.Status.Record = &kept
	r.results.recorded(run.UID)
	return r.linkRecord(ctx, run, kept)
}

// linkRecord has the images refer to the record, and the histories of the suites hold this Run.
func (r *Reconciler) linkRecord(ctx context.Context, run *v1alpha1.Run, kept v1alpha1.RecordStatus) error {
	var images []string
	for _, i := range run.Status.Images {
		if i.Digest != "" {
			images = append(images, i.Reference())
		}
	}
	if err := r.Registry.LinkImages(ctx, kept, images); err != nil {
		return fmt.Errorf("have the images refer to the record: %w", err)
	}
	branch := run.Status.Branch
	if branch == "" || run.Spec.Trust == v1alpha1.TrustFork {
		return nil
	}
	suites, err := r.Results(ctx, run)
	if err != nil && len(suites) == 0 {
		r.Log.Warn("a run's suites are not in their histories", "run", run.Name, "error", err)
	}
	for _, full := range suites {
		if full.Outcome != string(v1alpha1.OutcomePassed) && full.Outcome != string(v1alpha1.OutcomeFailed) {
			continue
		}
		err := r.Registry.UpdateHistory(ctx, run.Spec.Repository, branch, full.Name, func(h *evidence.History) evidence.History {
			entry := result.Entry(run.Name, run.Spec.SHA, full)
			entry.Setup = setupTime(run)
			return result.Record(h, run.Spec.Repository.FullName(), branch, full.Name, entry)
		})
		if err != nil {
			return fmt.Errorf("keep the history of %s on %s: %w", full.Name, branch, err)
		}
	}
	return nil
}

// endTests ends the attempts that were never started, and those that are still running.
func (r *Reconciler) endTests(ctx context.Context, s *state) error {
	for _, st := range s.status().Suites {
		for _, a := range compact.Attempts(&st) {
			if compact.IsOver(&st, a) {
				continue
			}
			t := plan.Suite{Name: st.Name}
			t.Test.Shards = int(st.Shards)
			if err := r.deleteTest(ctx, s.run, t, a); err != nil {
				return fmt.Errorf("end a test: %w", err)
			}
		}
	}
	return nil
}

// collectState is what the agent knows, and whether that is all there will be.
func (r *Reconciler) collectState(ctx context.Context, s *state, agent Agent) (evidence.AgentState, bool) {
	if agent == nil {
		return evidence.AgentState{}, true
	}
	late := s.run.Spec.Cancel != nil || s.now.Sub(s.status().FinishedAt.Time) > recordPatience
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	known, err := agent.State(ctx, -1, 0)
	if err != nil {
		return known, late
	}
	for _, a := range known.Attempts {
		if a.Ended && !a.Complete && !late && endedByItself(s.status(), a.Key) {
			return known, false
		}
	}
	if !late && !logged(s.status(), known.Logs) {
		return known, false
	}
	return known, true
}

// logged reports whether the whole log of each attempt that ended by itself is there.
func logged(st *v1alpha1.RunStatus, logs []evidence.LogFile) bool {
	for _, suite := range st.Suites {
		for _, a := range suite.Attempts {
			if byItself(a) && !slices.ContainsFunc(logs, func(l evidence.LogFile) bool {
				return labelled(suite.Name, l.Suite) && l.Shard == int(a.Shard) && l.Number == int(a.Number) && !l.Init && l.Ended
			}) {
				return false
			}
		}
	}
	return true
}

// endedByItself reports whether an attempt ended by itself: of the others nothing more is waited for. Of one that was folded it is not known, so
// that it is waited for.
func endedByItself(st *v1alpha1.RunStatus, key evidence.AttemptKey) bool {
	for _, suite := range st.Suites {
		is := func(a v1alpha1.AttemptStatus) bool { return keyOf(suite.Name, a) == key }
		if i := slices.IndexFunc(suite.Attempts, is); i >= 0 {
			return byItself(suite.Attempts[i])
		}
		if slices.ContainsFunc(compact.Attempts(&suite), is) {
			return true
		}
	}
	return false
}

func byItself(a v1alpha1.AttemptStatus) bool {
	return a.Outcome == v1alpha1.OutcomePassed || a.Outcome == v1alpha1.OutcomeFailed || a.Reason == v1alpha1.ReasonTimeout
}

// refreshLogs takes the ends of the tests' logs once more: what a test printed last may come after its end was known.
func (r *Reconciler) refreshLogs(ctx context.Context, run *v1alpha1.Run, agent Agent) {
	if agent == nil {
		return
	}
	pods, err := r.stacks.pods(ctx, run)
	if err != nil {
		return
	}
	for i := range run.Status.Suites {
		st := &run.Status.Suites[i]
		if st.Outcome == "" || len(st.Attempts) == 0 { // Of a folded one the log stays as it was.
			continue
		}
		worst := worstAttempt(st)
		if pod := attemptPod(pods[""], st.Name, worst); pod != nil {
			if end, err := agent.Tail(ctx, tailOf(pod, 60)); err == nil && strings.TrimSpace(end) != "" {
				st.Log = text.Tail(redact.Token(end), 8000)
			}
		}
	}
}

// annotations are those of the record's manifest.
func annotations(run *v1alpha1.Run) map[string]string {
	var images []string
	for _, i := range run.Status.Images {
		if i.Digest != "" {
			images = append(images, i.Reference())
		}
	}
	a := map[string]string{
		ocispec.AnnotationRevision:    run.Spec.SHA,
		ocispec.AnnotationSource:      run.Spec.Repository.HTMLURL,
		evidence.AnnotationRun:        run.Name,
		evidence.AnnotationRepository: run.Spec.Repository.FullName(),
		evidence.AnnotationOutcome:    string(run.Status.Outcome),
	}
	if len(images) > 0 {
		a[evidence.AnnotationImages] = strings.Join(images, " ")
	}
	if t := run.Status.FinishedAt; t != nil {
		a[ocispec.AnnotationCreated] = t.UTC().Format(time.RFC3339)
	}
	return a
}

// resultOf is the Run's result.json.
func resultOf(run *v1alpha1.Run, suites []evidence.Suite) evidence.Result {
	st := run.Status
	out := evidence.Result{
		SchemaVersion: evidence.SchemaVersion, Run: run.Name, Repository: run.Spec.Repository.FullName(), SHA: run.Spec.SHA, Ref: run.Spec.Ref,
		Branch: st.Branch, Trust: string(run.Spec.Trust), Trigger: string(run.Spec.Trigger.Kind), Actor: run.Spec.Actor.Login, Issue: st.Issue,
		Outcome: string(st.Outcome), Message: st.Message, StartedAt: instant(st.StartedAt), FinishedAt: instant(st.FinishedAt),
		Suites: withLogs(st.Suites, suites), Notes: st.Notes,
	}
	for _, known := range stages {
		c := meta.FindStatusCondition(st.Conditions, known.Condition)
		if c == nil || known.Always {
			continue
		}
		e := evidence.Stage{Name: known.Name, Status: string(c.Status), Reason: c.Reason, Message: c.Message}
		for _, t := range st.Stages {
			if t.Name == known.Name {
				e.StartedAt, e.FinishedAt = instant(t.StartedAt), instant(t.FinishedAt)
			}
		}
		out.Stages = append(out.Stages, e)
	}
	for _, i := range st.Images {
		out.Images = append(out.Images, evidence.Image{Name: i.Name, Reference: i.Reference(), Log: i.Log})
	}
	for _, svc := range st.Services {
		out.Services = append(out.Services, evidence.Service{Name: svc.Name, State: string(svc.State), Message: svc.Message})
	}
	return out
}

// withLogs are the results of all suites that have ended, with the ends of their logs: the Run will not keep them. A suite whose result
// could not be read is there with what its status has.
func withLogs(ended []v1alpha1.SuiteStatus, results []evidence.Suite) []evidence.Suite {
	out := slices.Clone(results)
	for _, st := range ended {
		i := slices.IndexFunc(out, func(s evidence.Suite) bool { return s.Name == st.Name })
		switch {
		case i >= 0:
			out[i].Log = st.Log
		case st.Outcome != "":
			out = append(out, evidence.Suite{
				Name: st.Name, Outcome: string(st.Outcome), ExitCode: st.ExitCode, Message: st.Message, Shards: int(st.Shards),
				StartedAt: instant(st.StartedAt), FinishedAt: instant(st.FinishedAt), Log: st.Log,
			})
		}
	}
	return out
}
