//go:build e2e && long

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestRecordIsPulledByOras reads a record with the commands in docs/record.md and a credential that can only pull: with the oras command,
// not its library.
func TestRecordIsPulledByOras(t *testing.T) {
	t.Parallel()
	program, err := lab.Program(t.Context(), "oras")
	if err != nil {
		t.Fatal(err)
	}
	r := small(t, verdicts("opens", "closes"))
	r.start()
	run := r.until("finished", lab.Settled)
	kept := recorded(t, run)
	config := login(t)
	oras := func(args ...string) []byte {
		t.Helper()
		cmd := here.Command(t.Context(), program, append(args, "--plain-http")...)
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+config)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("oras %q: %v\n%s", args, err, out)
		}
		return out
	}
	dir := t.TempDir()
	oras("pull", "-o", dir, kept.repository+":"+run.Name)
	data, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got evidence.Result
	if err := json.Unmarshal(data, &got); err != nil || got.Run != run.Name || got.Outcome != string(v1alpha1.OutcomeFailed) {
		t.Errorf("oras pulled %+v, %v", got, err)
	}
	for _, name := range []string{"plan.yaml", "junit/smoke-0-1.tar.gz", "logs/test-smoke-0-1.log.gz", "logs/build-tests.log.gz"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() == 0 {
			t.Errorf("oras did not pull %s: %v", name, err)
		}
	}
	image := one(t, "image", run.Status.Images)
	out := string(oras("discover", "--format", "json", "--artifact-type", evidence.LinkArtifact, image.Reference()))
	contains(t, "oras discover", out, evidence.LinkArtifact, run.Status.Record.Reference+"@"+run.Status.Record.Digest)
}
