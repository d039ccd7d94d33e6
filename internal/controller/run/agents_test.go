package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// TestAWatchKeepsHowAttemptsEnded: their files are many and asked for later; the first problem is in an attempt's message.
func TestAWatchKeepsHowAttemptsEnded(t *testing.T) {
	for problems := range 3 {
		key := evidence.AttemptKey{Suite: "e2e", Number: 1}
		a := &evidence.Attempt{AttemptKey: key, ExitCode: 1, Artifacts: []evidence.File{{Path: "shot.png"}}}
		for i := range problems {
			a.Problems = append(a.Problems, fmt.Sprint("problem ", i))
		}
		w := &agentWatch{sessions: &sessions{}}
		w.store(evidence.AgentState{Attempts: []evidence.AttemptState{{Key: key, Ended: true, Attempt: a}}, Logs: []evidence.LogFile{{Pod: "p"}}})
		got, err := w.attempt(t.Context(), key, false)
		if err != nil || got.Attempt == nil || got.Attempt.ExitCode != 1 || len(got.Attempt.Problems) != min(problems, 1) || got.Attempt.Artifacts != nil || w.state.Logs != nil {
			t.Errorf("of %d problems: %+v, %v", problems, got.Attempt, err)
		}
	}
}

// caller is an agent whose states a test hands over one by one; it fails before the first as often as it is set to.
type caller struct {
	Agent
	fails  int
	states chan evidence.AgentState
	open   atomic.Int32
	since  []int64
}

func (c *caller) State(ctx context.Context, since int64, _ time.Duration) (evidence.AgentState, error) {
	c.open.Add(1)
	defer c.open.Add(-1)
	if c.fails--; c.fails >= 0 {
		return evidence.AgentState{}, errors.New("connection refused")
	}
	select {
	case s := <-c.states:
		c.since = append(c.since, since)
		return s, nil
	case <-ctx.Done():
		return evidence.AgentState{}, ctx.Err()
	}
}

// callers are the agents of stacks, by address.
type callers map[string]*caller

func (c callers) At(_ *v1alpha1.Run, address string) Agent { return c[address] }

func (c callers) Tokens(*v1alpha1.Run) (evidence.AgentTokens, error) {
	return evidence.AgentTokens{}, nil
}

// One watch follows the agent of a Run: what changes wakes the Run, and an agent at another address ends the watch of the first.
func TestTheAgentOfARunIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &caller{fails: 3, states: make(chan evidence.AgentState)}, &caller{states: make(chan evidence.AgentState)}
		woken := 0
		run, r := testRun("r", "u"), opened(&Reconciler{Agents: callers{"10.0.0.1": first, "10.0.0.2": second}})
		r.agents.wake = func(*v1alpha1.Run) { woken++ }
		w := r.agents.at(run, "10.0.0.1")
		if r.agents.at(run, "10.0.0.1") != w {
			t.Error("an agent is followed twice")
		}
		began := time.Now()
		key := evidence.AttemptKey{Suite: "e2e", Number: 1}
		for _, step := range []struct {
			version int64
			ended   bool
			woken   int
		}{{1, false, 1}, {1, false, 1}, {2, true, 2}} {
			first.states <- evidence.AgentState{Version: step.version, Attempts: []evidence.AttemptState{{Key: key, Ended: step.ended}}}
			synctest.Wait()
			if got, err := w.attempt(t.Context(), key, false); err != nil || got.Ended != step.ended || woken != step.woken {
				t.Errorf("version %d: %+v, %v; woken %d times", step.version, got, err, woken)
			}
		}
		if took := time.Since(began); took != 350*time.Millisecond {
			t.Errorf("three failures are retried after %s, want 50, 100 and 200 ms", took)
		}
		if !slices.Equal(first.since, []int64{-1, 1, 1}) {
			t.Errorf("asked since %v", first.since)
		}
		if r.agents.at(run, "10.0.0.2") == w {
			t.Error("an agent at another address is the same")
		}
		synctest.Wait()
		if first.open.Load() != 0 || second.open.Load() != 1 {
			t.Errorf("%d and %d agents are followed", first.open.Load(), second.open.Load())
		}
		r.agents.forget(run.UID)
		r.agents.forget(run.UID)
		synctest.Wait()
		if second.open.Load() != 0 || len(r.sessions.runs) != 0 {
			t.Errorf("%d agents are followed, %d sessions are left", second.open.Load(), len(r.sessions.runs))
		}
	})
}

// The end of a pod is known before the watch reports the end of its test: the agent itself is asked then.
func TestAnAgentIsAskedWhenItsWatchMayBeLate(t *testing.T) {
	w := newRig(t, nil)
	watch := w.watched()
	ended := endedAt("e2e", 0, 1, 0, time.Minute)
	w.agent.seen(ended)
	for _, tc := range []struct {
		fresh bool
		err   error
		ended bool
	}{{false, nil, false}, {true, errors.New("away"), false}, {true, nil, true}, {false, errors.New("away"), true}} {
		w.agent.err = tc.err
		got, err := watch.attempt(t.Context(), ended.Key, tc.fresh)
		if got.Ended != tc.ended || tc.fresh && !errors.Is(err, tc.err) {
			t.Errorf("fresh %t: %+v, %v", tc.fresh, got, err)
		}
	}
}

func TestTheAgentOfAStackThatIsDeletedIsNotWaitedFor(t *testing.T) {
	w := newRig(t, nil)
	w.run.Status.Namespace = jobs.StackName(w.run)
	_, err := w.waitForAgent(t.Context(), w.state(), nil, noon)
	wantFailure(t, err, failure.Terminal, v1alpha1.ReasonDeleted, w.run.Status.Namespace)
}
