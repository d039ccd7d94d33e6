package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The steps that read what a stranger has written, and may need more memory than there is. A step is in the status before it begins.
const (
	stepCheckout = "reading the files of the commit"
	stepFiles    = "reading more files of the commit"
	stepRecord   = "keeping the record"
)

// stepResults is the step of a suite whose attempts have ended.
func stepResults(suite string) string { return "reading the results of " + suite }

const (
	// maxProcessEnds is how many processes may end while a Run alone was in a step.
	maxProcessEnds = 2
	// guardPause is the time after which a Run asks again that waits for suspects, notedPause that after which one goes on whose step has
	// just been noted: its own write wakes it before.
	guardPause = 500 * time.Millisecond
	notedPause = 20 * time.Millisecond
)

// guard finds the Run that ends this process again and again. After a process ended without stopping, the Runs that were in a step are
// suspects: each of them takes its step while no other Run is in one, so that the next end of the process has one cause.
type guard struct {
	// list gives the Runs as they are when this process begins, for reading only.
	list func(context.Context) ([]v1alpha1.Run, error)
	// unclean reports whether the process before this one ended without stopping; nil means that it never did.
	unclean func() bool

	mu    sync.Mutex
	ready bool
	// judged are the Runs whose step this process has brought up to date, suspects those that have to be alone in the step that they wait for.
	judged, suspects map[types.UID]bool
	// inside are the Runs in a step.
	inside map[types.UID]bool
}

// prepare finds the suspects, once in the life of this process.
func (g *guard) prepare(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ready {
		return nil
	}
	g.judged, g.suspects, g.inside = map[types.UID]bool{}, map[types.UID]bool{}, map[types.UID]bool{}
	if g.unclean != nil && g.unclean() {
		all, err := g.list(ctx)
		if err != nil {
			return fmt.Errorf("find the runs that were in a step: %w", err)
		}
		for i := range all {
			if all[i].Status.Step != nil && all[i].DeletionTimestamp == nil {
				g.suspects[all[i].UID] = true
			}
		}
	}
	g.ready = true
	return nil
}

// judge brings the step of a Run up to date that an earlier process began: the end of a process while the Run was alone in it counts.
func (g *guard) judge(run *v1alpha1.Run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	step := run.Status.Step
	if step == nil {
		delete(g.inside, run.UID)
		delete(g.suspects, run.UID)
		return
	}
	if g.judged[run.UID] {
		return
	}
	if step.Suspect = g.suspects[run.UID]; step.Suspect && step.Alone {
		step.Deaths++
	}
	step.Alone = false
}

// confirm notes that the API server has what judge found: the steps that come are this process's own.
func (g *guard) confirm(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.judged[uid] = true
}

// enter counts a Run in; false where it has to wait. While a suspect waits no other Run enters. It can be repeated.
func (g *guard) enter(uid types.UID, suspect bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside[uid] {
		return true
	}
	if suspect {
		g.suspects[uid] = true
	}
	if suspect = g.suspects[uid]; suspect && len(g.inside) > 0 || !suspect && len(g.suspects) > 0 {
		return false
	}
	g.inside[uid] = true
	return true
}

// leave counts a Run out. No other Run waits for it until it enters again.
func (g *guard) leave(uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.inside, uid)
	delete(g.suspects, uid)
}

// forget drops what is known of a Run.
func (g *guard) forget(uid types.UID) {
	g.leave(uid)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.judged, uid)
}

// takeStep takes a step of a Run that may need much memory and time, and notes what it has brought; until then its error is a wait. The
// step is in the status before, by itself and as the only one of a suspect. A Run that is suspected of a later step repeats the ones before
// that under suspicion, too.
func (r *Reconciler) takeStep(s *state, name string, do func(context.Context, *v1alpha1.Run) taken) error {
	step := s.status().Step
	if step == nil || step.Name != name && !step.Suspect {
		step = &v1alpha1.StepStatus{Name: name}
		s.status().Step = step
	}
	if s.noted == nil || *s.noted != *step {
		return waitForOthersf(notedPause, "%s", capitalize(name))
	}
	if !r.guard.enter(s.run.UID, step.Suspect) {
		return waitForOthersf(guardPause, "Waiting for %s: Conductor restarted, and the runs that it was working on are taken one at a time", name)
	}
	if step.Suspect && !step.Alone {
		step.Alone = true
		return waitForOthersf(notedPause, "%s, alone", capitalize(name))
	}
	got, err := r.steps.take(s, name, do)
	if errors.Is(err, errRunning) {
		if !r.steps.has(s.run.UID, name) { // It waits to be taken again, and holds no one.
			r.guard.leave(s.run.UID)
		}
		return err
	}
	r.guard.leave(s.run.UID)
	step.Alone = false
	if err == nil {
		err = got.err
	}
	if got.note != nil {
		if noted := got.note(s); err == nil {
			err = noted
		}
	}
	if errors.Is(err, errOtherRuns) || step.Name != name { // The step that it is suspected of has not begun.
		return err
	}
	if step.Suspect = false; err == nil {
		s.status().Step = nil
	}
	return err
}

// enforceGuard ends a Run that has ended this process too often. What it left behind is read no more.
func (r *Reconciler) enforceGuard(s *state) {
	step := s.status().Step
	// It was canceled, or took too long; or its record is not tried any more.
	if step != nil && s.hasOutcome() && (step.Name != stepRecord || !s.isOpen(v1alpha1.ConditionRecorded)) {
		s.status().Step = nil
		r.steps.forget(s.run.UID, func() {})
		r.guard.leave(s.run.UID)
	}
	if step == nil || step.Deaths < maxProcessEnds {
		return
	}
	message := fmt.Sprintf("Conductor's own process ended %d times while it was %s of this run, the last %d times while it did nothing else. "+
		"The usual cause is that it needs more memory than Conductor has. Ask your Conductor operator why the process ended", step.Deaths+1, step.Name, step.Deaths)
	s.status().Step = nil // The Run is a suspect until that is stored: a retry has to come to the same conclusion.
	s.fail(v1alpha1.ConditionRecorded, v1alpha1.ReasonProcessEnded, "There is no record: what the run left behind is not read again")
	if s.hasOutcome() {
		s.addNote(message)
		return
	}
	s.finish(v1alpha1.OutcomeError, v1alpha1.ReasonProcessEnded, message)
}
