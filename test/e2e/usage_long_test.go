//go:build e2e && long

package e2e

import (
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestPeaksOfServices checks the usage of services in a record, in a cluster with a metrics server: one holds 100 MiB of memory, and one
// uses all of its fifth of a core.
func TestPeaksOfServices(t *testing.T) {
	t.Parallel()
	extra(t, "metrics-server")
	r := small(t, map[string]string{
		// The metrics server samples every 10 s, and needs two samples for a rate.
		"test.sh": "echo began\nsleep 60\n",
		"docker-compose.qa.yml": `services:
  holder:
    image: busybox:1.36
    # tail keeps what it is to print in memory, and nobody takes it off it.
    command: sh -c "head -c 104857600 /dev/zero | tail -c 104857600 | sleep 3600"
    stop_grace_period: 1s
  spinner:
    image: busybox:1.36
    command: sh -c "while :; do :; done"
    cpus: 0.2
    stop_grace_period: 1s
`,
	})
	r.start()
	run := r.until("finished", lab.Settled)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	used := map[string]evidence.Usage{}
	for _, s := range recorded(t, run).result.Services {
		if s.Usage != nil {
			used[s.Name] = *s.Usage
		}
	}
	t.Logf("%+v", used)
	const mebi = 1 << 20
	if u := used["holder"]; u.Source != "metrics" || u.MemoryPeak < 100*mebi || u.MemoryPeak > 130*mebi || u.CPUPeak > 0.1 {
		t.Errorf("the holder of 100 MiB used %+v", u)
	}
	if u := used["spinner"]; u.Source != "metrics" || u.CPUPeak < 0.1 || u.CPUPeak > 0.3 || u.MemoryPeak > 20*mebi {
		t.Errorf("the user of a fifth of a core used %+v", u)
	}
}
