//go:build apiserver

package gauntlet

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// points are all places between an effect and its record.
func points(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), "CONDUCTOR_FAULT=list")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// reached are the points of a Run that does not get as far as its stack.
var reached = []string{"started", "checked-out", "outcome-known", "check-run-made", "comment-made", "outcome-told"}

// TestCrashes ends the processes once at each point between an effect and its record: first at all of them in one world, then, in the full
// size, at each point of a delivery alone.
func TestCrashes(t *testing.T) {
	aside(t)
	all := points(t)
	if !full { // Those of a Run are covered by the tests of the controllers.
		crashAt(t, slices.DeleteFunc(all, func(p string) bool { return !strings.HasPrefix(p, "delivery-") }))
		return
	}
	t.Run("all", func(t *testing.T) { crashAt(t, all) })
	for _, p := range all {
		if p == "started" || strings.HasPrefix(p, "delivery-") {
			t.Run(p, func(t *testing.T) { crashAt(t, []string{p}) })
		}
	}
}

func crashAt(t *testing.T, wanted []string) {
	w := newWorld(t, 1)
	died := t.TempDir()
	w.start("CONDUCTOR_FAULT="+strings.Join(wanted, ","), "CONDUCTOR_FAULT_DIR="+died)
	var all []sent
	for n, k := range kinds {
		if n%3 == 0 && !k.want.isEndless { // Some are only in GitHub's log.
			w.must(w.github.LoseDeliveries(w.app.ID, 1))
		}
		all = append(all, w.send(k, w.orgs[0], n))
	}
	w.within("GitHub has delivered everything", time.Minute, func() bool {
		log := w.github.Deliveries(w.app.ID)
		return log[len(log)-1].Done
	})
	w.killLeader() // The next one reads GitHub's log at once.
	w.settle(all, 2*time.Minute)
	missing := 0
	for _, p := range wanted {
		_, err := os.Stat(filepath.Join(died, "fault-"+p))
		isExpected := strings.HasPrefix(p, "delivery-") || slices.Contains(reached, p)
		if err != nil {
			missing++
		}
		if isExpected && err != nil {
			t.Errorf("no process ended at %s", p)
		}
	}
	t.Logf("%d exits at %d of %d points", w.exits(), len(wanted)-missing, len(wanted))
}
