package run

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/stage"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// state is one reconcile's view of a Run. Stages change it in memory; Reconcile alone writes it.
type state struct {
	run *v1alpha1.Run
	// plan is the newest plan; nil while there is none.
	plan *loaded
	// images is what is known of the images of the stack.
	images *stackImages
	// noted is the Run's step as the API server has it.
	noted *v1alpha1.StepStatus
	now   time.Time
	// clock is for the timeline, since a stage takes time; nil means now.
	clock func() time.Time
	// deadlines are the operator's; see isPastDeadline.
	deadlines settings.Deadlines
	// recorded is set when this reconcile worked on the record, whose end is not stored yet.
	recorded bool
	// completed are the services whose completion this reconcile found: it is not stored yet.
	completed []string
	// requeue is the shortest time after which a stage wants to be reconciled; 0 when none does.
	requeue time.Duration
}

// status is the Run's status.
func (s *state) status() *v1alpha1.RunStatus { return &s.run.Status }

// hasOutcome reports whether the outcome is known.
func (s *state) hasOutcome() bool { return s.run.Status.Outcome != "" }

// requeueAfter asks for another reconcile after at most d.
func (s *state) requeueAfter(d time.Duration) {
	if d > 0 && (s.requeue == 0 || d < s.requeue) {
		s.requeue = d
	}
}

// isTrue reports whether a condition is True.
func (s *state) isTrue(condition string) bool {
	return meta.IsStatusConditionTrue(s.run.Status.Conditions, condition)
}

// isOpen reports whether a condition is neither True nor False yet.
func (s *state) isOpen(condition string) bool {
	c := meta.FindStatusCondition(s.run.Status.Conditions, condition)
	return c == nil || c.Status == metav1.ConditionUnknown
}

// begin marks a stage as under way; the first call starts its clock.
func (s *state) begin(condition, message string) {
	s.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonInProgress, message)
	if t := s.stageTime(condition); t.StartedAt == nil {
		t.StartedAt = s.timestamp()
	}
}

// done marks a stage as done.
func (s *state) done(condition, reason, message string) {
	s.end(condition, metav1.ConditionTrue, reason, message)
}

// fail marks a stage as failed.
func (s *state) fail(condition, reason, message string) {
	s.end(condition, metav1.ConditionFalse, reason, message)
}

func (s *state) end(condition string, status metav1.ConditionStatus, reason, message string) {
	s.set(condition, status, reason, message)
	t := s.stageTime(condition)
	if t.StartedAt == nil {
		t.StartedAt = s.timestamp()
	}
	if t.FinishedAt == nil {
		t.FinishedAt = s.timestamp()
	}
}

func (s *state) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.run.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: text.Truncate(message, 2048),
		ObservedGeneration: s.run.Generation, LastTransitionTime: metav1.NewTime(s.now),
	})
}

// stageTime is the timeline's entry for the stage of a condition.
func (s *state) stageTime(condition string) *v1alpha1.StageTime {
	name := stage.Of(condition).Name
	for i := range s.run.Status.Stages {
		if s.run.Status.Stages[i].Name == name {
			return &s.run.Status.Stages[i]
		}
	}
	s.run.Status.Stages = append(s.run.Status.Stages, v1alpha1.StageTime{Name: name})
	return &s.run.Status.Stages[len(s.run.Status.Stages)-1]
}

// timestamp is this moment, for the timeline.
func (s *state) timestamp() *metav1.MicroTime {
	t := metav1.NewMicroTime(s.now)
	if s.clock != nil {
		t = metav1.NewMicroTime(s.clock())
	}
	return &t
}

// finish sets the outcome, once, and closes what is still open.
func (s *state) finish(outcome v1alpha1.Outcome, reason, message string) {
	if s.hasOutcome() {
		return
	}
	s.run.Status.Outcome, s.run.Status.Message, s.run.Status.FinishedAt = outcome, text.Truncate(message, 4096), s.timestamp()
	s.expire()
	for _, st := range stages {
		if !st.Always && s.isOpen(st.Condition) {
			s.set(st.Condition, metav1.ConditionFalse, reason, "Not finished: "+message)
			if t := s.stageTime(st.Condition); t.StartedAt != nil && t.FinishedAt == nil {
				t.FinishedAt = s.timestamp()
			}
		}
	}
}

// expire sets when the stack is deleted: with the outcome, so that the first report has it, and later, since it may have been extended or used.
func (s *state) expire() {
	if s.status().Namespace != "" && s.run.Spec.Cancel == nil {
		s.status().ExpiresAt = s.run.Expiry()
	}
}

// handleError turns a stage's error into what happens next. It returns the error when the queue has to back off.
func (s *state) handleError(st stageRunner, err error) error {
	f, otherRuns := failure.Of(err), errors.Is(err, errOtherRuns)
	if f == nil || otherRuns { // While other Runs go first, for as long as they take, the stage does not fail.
		s.clearFailure(st)
	}
	if f == nil {
		return nil
	}
	fails := f.Kind != failure.Terminal && !otherRuns && !errors.Is(err, errRunning) && (!s.hasOutcome() || st.Always)
	if fails && s.isPastDeadline(st) {
		f = failure.Terminalf(v1alpha1.ReasonTimeout, err, "%s (gave up after %s). Run it again; if it happens again, ask your Conductor operator", f.Sentence, s.deadline(st))
	}
	if f.Kind == failure.Terminal {
		s.fail(st.Condition, f.Reason, f.Sentence)
		if !st.Always {
			s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonSkipped, f.Sentence)
		}
		return nil
	}
	if s.isOpen(st.Condition) {
		s.begin(st.Condition, f.Sentence)
	}
	if f.Kind == failure.Waiting {
		s.requeueAfter(f.After)
		return nil
	}
	return err
}

// errOtherRuns is in the chain of an error while a Run waits for other Runs. No stage's deadline counts that time; the Run's does.
var errOtherRuns = errors.New("other runs go first")

// waitForOthersf is a wait for other Runs, after which the Run is reconciled again.
func waitForOthersf(after time.Duration, format string, args ...any) error {
	return errors.Join(failure.Waitingf(v1alpha1.ReasonPending, after, format, args...), errOtherRuns)
}

// isPastDeadline reports whether a stage that keeps failing has used up its time, which begins with the first failure in a row: how long it went well
// before does not count.
func (s *state) isPastDeadline(st stageRunner) bool {
	if st.Deadline == stage.NoDeadline {
		return false
	}
	t := s.stageTime(st.Condition)
	if t.FailingSince == nil {
		since := metav1.NewMicroTime(s.now) // Not a later moment, of a clock that may have been set meanwhile.
		t.FailingSince = &since
	}
	return s.now.Sub(t.FailingSince.Time) > s.deadline(st)
}

// deadline is the operator's for a stage.
func (s *state) deadline(st stageRunner) time.Duration {
	if st.Deadline == stage.RecordDeadline {
		return s.deadlines.Record.Duration
	}
	return s.deadlines.Stage.Duration
}

// clearFailure notes that nothing keeps a stage from going on.
func (s *state) clearFailure(st stageRunner) {
	for i := range s.status().Stages {
		if s.status().Stages[i].Name == st.Name {
			s.status().Stages[i].FailingSince = nil
		}
	}
}

// phase derives the one word that `kubectl get runs` shows.
func (s *state) phase() v1alpha1.RunPhase {
	switch {
	case s.run.DeletionTimestamp != nil:
		return v1alpha1.PhaseDeleting
	case s.hasOutcome() && !s.isOpen(v1alpha1.ConditionReported):
		return v1alpha1.PhaseFinished
	case s.hasOutcome():
		return v1alpha1.PhaseReporting
	case s.run.Status.StartedAt == nil:
		return v1alpha1.PhasePending
	}
	phase := v1alpha1.PhasePreparing
	for _, st := range stages {
		if st.Always {
			break
		}
		if phase = st.Phase; !s.isTrue(st.Condition) {
			break
		}
	}
	return phase
}

// instant is a time of the status as others write it.
func instant(t *metav1.MicroTime) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}
