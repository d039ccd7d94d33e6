//go:build e2e && hostile

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

const (
	// neighbours is the number of normal Runs beside the poison one.
	neighbours = 19
	// poisonTime is how long all of them may take: each death costs the duration of a lease and the kubelet's back-off, and the suspects
	// run one at a time.
	poisonTime = 15 * time.Minute
	// leastDeaths are one among the others and two alone; more than mostDeaths would mean that an innocent Run was suspected for too long.
	leastDeaths, mostDeaths = 3, 5
)

// lifted are values of the chart that raise a bound above the container's memory limit, so that Conductor runs out of memory. All shards
// run at once, so that it happens before the normal Runs have ended.
var lifted = map[string]any{"memory": map[string]any{"results": "4Gi"}, "stacks": map[string]any{"testsAtOnce": 32}}

// poison runs a Run whose results do not fit into Conductor's memory beside normal Runs, with a bound that is too high. The kernel kills
// the leader, not a fault hook. The poison Run ends with the stage and the reason; all others pass.
func (h *table) poison(t *testing.T) {
	tidy(t)
	install(t, lifted)
	limit := enforcedLimit(t)
	bad := asked{imported(t, manyCases(24)), greedy{
		name: "poison", within: poisonTime, want: []string{`\btests\b`, `(?i)\b(two|twice|2) |memory`},
	}}
	var good []*repo
	for range neighbours {
		good = append(good, small(t, patientSmoke))
	}
	r := row{name: fmt.Sprintf("poison, beside %d normal Runs", neighbours), outcome: "it did not end"}
	defer func() { h.rows = append(h.rows, r) }()
	w := watchConductor(t)
	bad.start()
	for _, g := range good {
		g.start()
	}
	run := bad.ended(t)
	var passed []*v1alpha1.Run
	for _, g := range good {
		passed = append(passed, g.outlasting(t))
	}
	r.used = w.stop(t)
	r.outcome, r.sentence = string(run.Status.Outcome), run.Status.Message
	bad.judge(t, run)
	judgeDeaths(t, r.used, passed)
	if r.used.object > runBound {
		t.Errorf("the largest Run has %d bytes, and %d are allowed", r.used.object, runBound)
	}
	if r.used.parent < limit/2 {
		t.Errorf("the peak of Conductor's process was %d bytes: this is not what ended it", r.used.parent)
	}
}

// judgeDeaths checks that the leader died only of memory, as often as expected, and that normal Runs were in progress at its first death.
func judgeDeaths(t *testing.T, used usage, passed []*v1alpha1.Run) {
	t.Helper()
	if n := len(used.deaths); n < leastDeaths || n > mostDeaths {
		t.Fatalf("Conductor ended %d times, want %d to %d: %v", n, leastDeaths, mostDeaths, used.deaths)
	}
	for _, d := range used.deaths {
		if d.reason != "OOMKilled" || d.code != 137 {
			t.Errorf("Conductor ended by something else than memory: %s", d)
		}
	}
	first := used.deaths[0].at
	under := 0
	for _, run := range passed {
		if run.Status.Outcome != v1alpha1.OutcomePassed {
			t.Errorf("the normal run %s ended as %s: %s", run.Name, run.Status.Outcome, run.Status.Message)
		}
		if s := run.Status; s.StartedAt != nil && s.StartedAt.Time.Before(first) && s.FinishedAt.After(first) {
			under++
		}
	}
	t.Logf("%v; %d of %d normal Runs were under way at the first", used.deaths, under, len(passed))
	if under == 0 {
		t.Error("no normal Run was under way when Conductor ended first: the poison Run was alone from the beginning")
	}
}

// outlasting waits until a repository's run is over although Conductor keeps dying.
func (r *repo) outlasting(t *testing.T) *v1alpha1.Run {
	t.Helper()
	eventually(t, poisonTime, func() error {
		if runs := r.runs(); len(runs) != 1 || !lab.Settled(&runs[0]) {
			return fmt.Errorf("of %d runs of %s none is over", len(runs), r.Name)
		}
		return nil
	})
	return &r.runs()[0]
}

// patientSmoke is the small repository with a suite that takes a while, has small requests and builds nothing, since many of them run at
// once.
var patientSmoke = map[string]string{
	".conductor.yaml": "version: 1\ntests:\n  smoke:\n    service: smoke\n",
	"Dockerfile.test": "",
	"test.sh":         "",
	"docker-compose.qa.yml": idleWeb + `  smoke:
    image: busybox:1.36
    command: sh -c "sleep 150; echo all is well"
    deploy:
      resources:
        reservations:
          cpus: "0.01"
          memory: 16M
`,
}
