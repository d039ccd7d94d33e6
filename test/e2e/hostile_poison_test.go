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
	// neighbours are the normal Runs beside the poison one.
	neighbours = 19
	// poisonTime is how long all of them may take: each death costs the time of a lease and of the kubelet's back-off, and the suspects
	// are taken one at a time.
	poisonTime = 15 * time.Minute
	// leastDeaths are one among the others and two alone; more than mostDeaths would mean that a Run which did nothing was suspected for
	// too long.
	leastDeaths, mostDeaths = 3, 5
)

// lifted are values of the chart that raise a bound above the container's memory: what such a bound is there for then happens. All shards
// run at once, so that normal Runs have not ended by then.
var lifted = map[string]any{"memory": map[string]any{"results": "4Gi"}, "stacks": map[string]any{"testsAtOnce": 32}}

// poison runs a Run whose results do not fit into Conductor's memory, with a setting that has it try, beside normal Runs. The kernel ends
// the leader, not a fault hook. The poison Run is ended with the stage and the reason; all others pass.
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

// judgeDeaths checks that memory, and nothing else, ended the leader, as often as it should, and that normal Runs were under way when it
// did so first.
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

// outlasting waits until a repository's run is over whose Conductor ends again and again.
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

// patientSmoke is the small repository with a suite that takes a while, asks for little of a node, and builds nothing, since there are
// many of it at once.
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
