//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// agents are the agents of a world's stacks. They read from the node's pods what wrappers would report.
type agents struct {
	mu sync.Mutex
	// allowed are the attempts that are permitted to start, by namespace and Job.
	allowed map[string]bool
	// cases are the test cases in the JUnit files, by suite and attempt, such as "integration/1".
	cases map[string][]evidence.Case
	// silent agents do not respond.
	silent bool
}

func newAgents() *agents {
	return &agents{allowed: map[string]bool{}, cases: map[string][]evidence.Case{}}
}

func (a *agents) hush(silent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = silent
}

// lets reports whether an attempt is permitted to start.
func (a *agents) lets(namespace, job string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.allowed[namespace+"/"+job]
}

// at returns a stack's agent for one process.
func (a *agents) at(r *v1alpha1.Run, p *power) run.Agent {
	return agent{agents: a, run: r, power: p}
}

// poweredAgents are the agents for one process.
type poweredAgents struct {
	*agents
	power *power
}

func (p poweredAgents) At(r *v1alpha1.Run, _ string) run.Agent { return p.at(r, p.power) }

func (poweredAgents) Tokens(*v1alpha1.Run) (evidence.AgentTokens, error) {
	return evidence.AgentTokens{Conductor: "conductor's", Wrapper: "the wrapper's", Source: "the source's"}, nil
}

type agent struct {
	*agents
	run   *v1alpha1.Run
	power *power
}

func (a agent) answers() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.power.lives() {
		return errDead
	}
	if a.silent {
		return errDown
	}
	return nil
}

func (a agent) Go(_ context.Context, key evidence.AttemptKey) error {
	if err := a.answers(); err != nil {
		return err
	}
	a.mu.Lock()
	for _, shards := range []int{1, 2} { // The number of shards is part of the name.
		a.allowed[jobs.StackName(a.run)+"/"+jobs.TestName(key, shards)] = true
	}
	a.mu.Unlock()
	if !a.power.spend(fmt.Sprintf("go %s/%d/%d", key.Suite, key.Shard, key.Number)) {
		return errDead
	}
	return nil
}

// State polls the pods until their state changes.
func (a agent) State(ctx context.Context, since int64, wait time.Duration) (evidence.AgentState, error) {
	for end := time.Now().Add(wait); ; time.Sleep(75 * time.Millisecond) {
		if err := a.answers(); err != nil {
			return evidence.AgentState{}, err
		}
		state, err := a.look(ctx)
		if err != nil || state.Version != since || !time.Now().Before(end) {
			return state, err
		}
	}
}

func (a agent) look(ctx context.Context) (evidence.AgentState, error) {
	var list corev1.PodList
	if err := admin.List(ctx, &list, client.InNamespace(jobs.StackName(a.run)), client.MatchingLabels{v1alpha1.LabelStage: jobs.StageTest}); err != nil {
		return evidence.AgentState{}, err
	}
	state := evidence.AgentState{Version: 1}
	for i := range list.Items {
		p := &list.Items[i]
		shard, _ := strconv.Atoi(p.Labels[v1alpha1.LabelShard])
		number, _ := strconv.Atoi(p.Labels[v1alpha1.LabelAttempt])
		key := evidence.AttemptKey{Suite: p.Labels[v1alpha1.LabelSuite], Shard: shard, Number: number}
		one := evidence.AttemptState{Key: key, Ready: true}
		log := evidence.LogFile{Pod: p.Name, Container: "test", Suite: key.Suite, Shard: shard, Number: number, Bytes: 9}
		if end := ended(p); end != nil && end.Reason != "OOMKilled" {
			one.Ended, one.Complete, log.Ended = true, true, true
			one.Attempt = &evidence.Attempt{AttemptKey: key, ExitCode: int(end.ExitCode), StartedAt: end.StartedAt.Time, FinishedAt: end.FinishedAt.Time, TimedOut: end.Message == timedOut}
			state.Version += 1 << (i % 60)
		}
		state.Attempts, state.Logs = append(state.Attempts, one), append(state.Logs, log)
	}
	return state, nil
}

// timedOut is the message of a fate in which the wrapper ended the test at its timeout.
const timedOut = "timed out"

func ended(p *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Terminated != nil {
			return c.State.Terminated
		}
	}
	return nil
}

func (a agent) Cases(_ context.Context, key evidence.AttemptKey, each func(evidence.Case)) ([]string, error) {
	if err := a.answers(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	cases := slices.Clone(a.cases[fmt.Sprintf("%s/%d", key.Suite, key.Number)])
	a.mu.Unlock()
	for _, c := range cases {
		each(c)
	}
	return nil, nil
}

func (a agent) Blob(_ context.Context, path string) (io.ReadCloser, int64, string, error) {
	if err := a.answers(); err != nil {
		return nil, 0, "", err
	}
	return io.NopCloser(strings.NewReader("not much\n")), 9, "sha256:" + strings.Repeat("0", 64), nil
}

func (a agent) Tail(context.Context, evidence.Tail) (string, error) {
	return "the end of the log\n", a.answers()
}

func (a agent) Usage(context.Context) (map[string]evidence.Usage, error) { return nil, a.answers() }
