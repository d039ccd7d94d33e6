package run

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/stackns"
)

// Agents reaches the agents of stacks.
type Agents interface {
	// At is the agent of a Run at the address of its pod.
	At(run *v1alpha1.Run, address string) Agent
	// Tokens are what the agent's Secret holds for a Run.
	Tokens(run *v1alpha1.Run) (evidence.AgentTokens, error)
}

// Agent is the agent of one stack. Errors of what it does not have hold evidence.ErrAbsent.
type Agent interface {
	// Go lets an attempt start. It can be repeated.
	Go(ctx context.Context, key evidence.AttemptKey) error
	// State answers at once when its version is not since, else when that changes or after wait.
	State(ctx context.Context, since int64, wait time.Duration) (evidence.AgentState, error)
	// Cases calls each with the test cases of an attempt, one by one, and returns what could not be read of them.
	Cases(ctx context.Context, key evidence.AttemptKey, each func(evidence.Case)) (problems []string, err error)
	// Blob opens what is at one of evidence's paths.
	Blob(ctx context.Context, path string) (content io.ReadCloser, size int64, digest string, err error)
	// Tail is the end of a container's log, masked.
	Tail(ctx context.Context, tail evidence.Tail) (string, error)
	// Usage is what services used at most, by label value; empty where the cluster has no metrics.
	Usage(ctx context.Context) (map[string]evidence.Usage, error)
}

// agentStart is how long a stack's agent may take until it answers, once its image is on the node.
const agentStart = 3 * time.Minute

// agentTime is how long an agent may keep a reconcile waiting.
const agentTime = 10 * time.Second

// stackAgents follows the agents of the Runs in progress, so that a Run is reconciled as soon as a test has ended.
type stackAgents struct {
	*sessions
	agents Agents
	wake   func(*v1alpha1.Run)
}

// agentWatch follows one agent.
type agentWatch struct {
	Agent
	sessions *sessions
	address  string
	stop     context.CancelFunc
	state    evidence.AgentState
}

// at follows the agent of a Run at an address, or finds the watch that is there.
func (a *stackAgents) at(run *v1alpha1.Run, address string) *agentWatch {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.of(run.UID)
	if of.agent != nil {
		if of.agent.address == address {
			return of.agent
		}
		of.agent.stop()
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &agentWatch{Agent: a.agents.At(run, address), sessions: a.sessions, address: address, stop: stop}
	of.agent = w
	go w.follow(ctx, run.DeepCopy(), a.wake)
	return w
}

// follow asks for the state again and again until the context ends.
func (w *agentWatch) follow(ctx context.Context, run *v1alpha1.Run, wake func(*v1alpha1.Run)) {
	since, pause := int64(-1), 50*time.Millisecond
	for ctx.Err() == nil {
		state, err := w.State(ctx, since, 30*time.Second)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, 2*time.Second)
			continue
		}
		pause = 50 * time.Millisecond
		if state.Version != since {
			w.store(state)
			wake(run)
		}
		since = state.Version
	}
}

// store keeps of a state how attempts ended. What they left behind is asked for when it is needed.
func (w *agentWatch) store(state evidence.AgentState) {
	state.Logs = nil
	for i := range state.Attempts {
		if a := state.Attempts[i].Attempt; a != nil {
			first := min(len(a.Problems), 1)
			a.JUnit, a.Artifacts, a.Problems = nil, nil, slices.Clone(a.Problems[:first])
		}
	}
	w.sessions.mu.Lock()
	defer w.sessions.mu.Unlock()
	w.state = state
}

// attempt is what is known of an attempt; fresh asks the agent instead of remembering.
func (w *agentWatch) attempt(ctx context.Context, key evidence.AttemptKey, fresh bool) (evidence.AttemptState, error) {
	if fresh {
		state, err := w.State(ctx, -1, 0)
		if err != nil {
			return evidence.AttemptState{}, err
		}
		w.store(state)
	}
	w.sessions.mu.Lock()
	defer w.sessions.mu.Unlock()
	for _, a := range w.state.Attempts {
		if a.Key == key {
			return a, nil
		}
	}
	return evidence.AttemptState{}, nil
}

// forget ends a Run's watch.
func (a *stackAgents) forget(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(uid, func(s *session) {
		if s.agent != nil {
			s.agent.stop()
			s.agent = nil
		}
	})
}

// answersSince is when a stack's agent began to run, or a moment that is later.
func answersSince(pods []*corev1.Pod, moment time.Time) time.Time {
	p := stackns.AgentPod(pods)
	if p == nil {
		return moment
	}
	for _, c := range p.Status.ContainerStatuses {
		if up := c.State.Running; up != nil && up.StartedAt.After(moment) {
			return up.StartedAt.Time
		}
	}
	return moment
}

// waitForAgent is the agent of a Run whose stack is there; since is when it should have begun to answer.
func (r *Reconciler) waitForAgent(ctx context.Context, s *state, pods []*corev1.Pod, since time.Time) (*agentWatch, error) {
	if p := stackns.AgentPod(pods); p != nil {
		return r.agents.at(s.run, p.Status.PodIP), nil
	}
	if err := r.namespaces().Verify(ctx, s.status().Namespace, stackns.OfRun(s.run)); err != nil {
		return nil, err
	}
	limit := agentStart
	for _, p := range pods {
		if p.Labels[v1alpha1.LabelStage] != jobs.StageAgent || stackns.HasStarted(p) {
			continue
		}
		limit = agentStart + diagnose.PullGrace // Its image may come from a registry that was away.
		yet, err := r.cannotStart(ctx, s, p, r.subject(s, diagnose.Test, "agent"), "The stack's agent")
		if err != nil {
			return nil, err
		}
		if yet != "" {
			return nil, failure.Waitingf(v1alpha1.ReasonPending, diagnose.TimeLeft(since, limit, s.now), "%s", yet)
		}
	}
	left := diagnose.TimeLeft(since, limit, s.now)
	if left == 0 {
		return nil, failure.Terminalf(v1alpha1.ReasonTimeout, nil, "The stack's agent did not start within %s. Run it again; if it happens again, ask your Conductor operator", limit)
	}
	return nil, failure.Waitingf(v1alpha1.ReasonPending, left, "Waiting for the stack's agent")
}

// absent reports whether an agent answered that it does not have something.
func absent(err error) bool { return errors.Is(err, evidence.ErrAbsent) }
