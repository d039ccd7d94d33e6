//go:build e2e && long

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// soon replaces a dead leader after five seconds instead of fifteen: the moments of death are tested, not the waits.
var soon = map[string]any{"leaderElection": map[string]any{"leaseDuration": "5s"}}

// TestLeaderKilledFortyTimes kills the leader at forty random moments, over several runs.
func TestLeaderKilledFortyTimes(t *testing.T) {
	install(t, soon)
	killing(t, 40, 8*time.Second)
}

// TestAPIServerAwayForAMinute pauses the API server for a minute.
func TestAPIServerAwayForAMinute(t *testing.T) { awayFor(t, time.Minute) }

// TestDiesAtEveryPoint makes the leader die at each point between an effect and its status update, in a build with fault hooks: at two
// distant points in each run. A third death of a container would have to wait for the kubelet's back-off.
func TestDiesAtEveryPoint(t *testing.T) {
	bin := faulty(t)
	image, err := here.Push(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	in := here.Install
	in.Image, in.Values = image, soon
	t.Cleanup(func() {
		_, err := here.Kubectl(context.Background(), "-n", lab.Namespace, "set", "env", "deployment/conductor", "CONDUCTOR_FAULT-", "CONDUCTOR_FAULT_DIR-")
		if err := errors.Join(err, here.Reinstall(context.Background(), values)); err != nil {
			t.Error(err)
		}
	})
	if err := here.Cluster.Install(t.Context(), in, os.Stderr); err != nil {
		t.Fatal(err)
	}
	all := points(t, bin)
	for i, half := 0, (len(all)+1)/2; i < half; i++ {
		lot := all[i : i+1]
		if i+half < len(all) {
			lot = []string{all[i], all[i+half]}
		}
		t.Run(strings.Join(lot, "-and-"), func(t *testing.T) { diesAt(t, lot) })
	}
}

// faulty builds Conductor with fault hooks.
func faulty(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "conductor")
	var out bytes.Buffer
	if err := lab.BuildAt(t.Context(), bin, &out, "-tags", "faults"); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return bin
}

// points are all fault points of the binary.
func points(t *testing.T, bin string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Env = append(os.Environ(), "CONDUCTOR_FAULT=list")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	// The points of deliveries are those of test/gauntlet: a tag does not reach them.
	all := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return strings.HasPrefix(p, "delivery-") })
	if len(all) < 10 {
		t.Fatalf("these points are too few to be true: %q", all)
	}
	return all
}

// diesAt runs a run with a Conductor that dies at the points, once on each replica at each of them.
func diesAt(t *testing.T, lot []string) {
	faults := []string{"CONDUCTOR_FAULT=" + strings.Join(lot, ","), "CONDUCTOR_FAULT_DIR=/checkouts"}
	if _, err := here.Kubectl(t.Context(), append([]string{"-n", lab.Namespace, "set", "env", "deployment/conductor"}, faults...)...); err != nil {
		t.Fatal(err)
	}
	settle(t)
	eventually(t, patience, func() error {
		if n := len(conductors(t)); n != 2 {
			return fmt.Errorf("%d replicas, want two", n)
		}
		return nil
	})
	l, r := open(t), enduring(t)
	r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
	run := r.outlived()
	eventually(t, endurance, func() error {
		if run = r.get(run); !settled(run) {
			return fmt.Errorf("run %s is not settled", run.Name)
		}
		return nil
	})
	r.survived(run, l.of(run))
	if slices.Contains(lot, "taken-down") {
		r.takenDown(run)
	}
	settle(t)
	deaths := died(t)
	t.Logf("deaths: %v", deaths)
	for _, point := range lot {
		if deaths[point] == 0 {
			t.Errorf("no replica died at %s", point)
		}
	}
}

// settled reports whether a run is over in every respect.
func settled(run *v1alpha1.Run) bool {
	for _, c := range run.Status.Conditions {
		if c.Type == v1alpha1.ConditionStackKept {
			return c.Status != metav1.ConditionUnknown && run.Status.Report != nil && run.Status.Report.Final
		}
	}
	return false
}

// takenDown cancels a finished run, and waits until its stack is gone and the Run reports it.
func (r *repo) takenDown(run *v1alpha1.Run) {
	r.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"cancel":{"by":"ada","at":%q}}}`, time.Now().UTC().Format(time.RFC3339))
	if err := here.Client.Patch(r.t.Context(), run, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		r.t.Fatal(err)
	}
	r.gone(run)
	eventually(r.t, endurance, func() error {
		for _, c := range r.get(run).Status.Conditions {
			if c.Type == v1alpha1.ConditionStackKept && c.Status == metav1.ConditionFalse {
				return nil
			}
		}
		return fmt.Errorf("run %s does not say that its stack is gone", run.Name)
	})
}

// conductors are Conductor's pods, including terminating ones.
func conductors(t *testing.T) (names []string) {
	t.Helper()
	for _, p := range pods(t, lab.Namespace) {
		if p.Labels["app.kubernetes.io/name"] == "conductor" {
			names = append(names, p.Name)
		}
	}
	return names
}

// died counts the replicas that died at each point, from what they left for their successors.
func died(t *testing.T) map[string]int {
	t.Helper()
	deaths := map[string]int{}
	for _, p := range replicas(t) {
		marks, err := here.Files(p.UID, "/conductor", "/checkouts/fault-*")
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range marks {
			deaths[strings.TrimPrefix(mark, "/checkouts/fault-")]++
		}
	}
	return deaths
}
