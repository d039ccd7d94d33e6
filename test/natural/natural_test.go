//go:build natural

package natural

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNatural compares the commands with the verdicts on every project of the directory NATURAL.
func TestNatural(t *testing.T) {
	dir := os.Getenv("NATURAL")
	if dir == "" {
		t.Fatal("NATURAL must name the directory of the projects: make natural NATURAL=DIR")
	}
	verdicts, err := ReadVerdicts("verdicts")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "conductor")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/conductor").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	table := &table{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		name := e.Name()
		t.Run(name, func(t *testing.T) { compare(t, table, binary, filepath.Join(dir, name), name, verdicts[name]) })
		delete(verdicts, name)
	}
	for _, name := range slices.Sorted(maps.Keys(verdicts)) {
		t.Errorf("%s has a verdict and is not in %s", name, dir)
	}
	t.Log("\n" + table.String())
}

// compare runs the commands on one project and reports what its verdict does not have.
func compare(t *testing.T, table *table, binary, dir, name string, v *Verdict) {
	t.Helper()
	services := servicesOf(v, dir)
	var outputs []*Output
	for _, command := range []string{planCommand, convertCommand} {
		o, err := Run(t.Context(), binary, dir, command, services)
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, o)
	}
	if v == nil {
		for _, o := range outputs {
			for _, f := range o.Findings {
				t.Logf("%s: %s", o.Command, f)
			}
		}
		table.add(name, "none", nil)
		t.Errorf("%s has no verdict: read its files, and write test/natural/verdicts/%s.yaml", name, name)
		return
	}
	run, err := Plan(dir, v, services)
	if err != nil {
		t.Fatal(err)
	}
	results := Check(v, outputs[0], dir, nil)
	results = append(results, Check(v, outputs[1], dir, nil)...)
	results = append(results, Check(v, run, dir, knownImages)...)
	table.add(name, v.Outcome, results)
	for _, r := range merged(results) {
		switch r.State {
		case Silent, False, Wrongly, Unread:
			t.Errorf("%s: %s: %s: %s", r.Command, r.State, r.Fact, r.Detail)
		case Open:
			t.Logf("%s: open: %s: %s", r.Command, r.Fact, r.Detail)
		}
	}
}

// merged joins the same result of several commands.
func merged(results []Result) []Result {
	var out []Result
	for _, r := range results {
		i := slices.IndexFunc(out, func(o Result) bool { return o.Fact == r.Fact && o.State == r.State && o.Detail == r.Detail })
		if i >= 0 {
			if !strings.Contains(out[i].Command, r.Command) {
				out[i].Command += ", " + r.Command
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// table counts the facts of each project.
type table struct{ rows []string }

var states = []State{Kept, Noted, Open, Silent, False, Wrongly, Unread}

func (t *table) add(name, outcome string, results []Result) {
	row := fmt.Sprintf("%-24s %-8s", name, outcome)
	counts := map[State]int{}
	for _, r := range merged(results) {
		counts[r.State]++
	}
	for _, s := range states {
		row += fmt.Sprintf(" %7d", counts[s])
	}
	t.rows = append(t.rows, row)
}

// String is the table with a line of totals.
func (t *table) String() string {
	head := fmt.Sprintf("%-24s %-8s", "project", "verdict")
	for _, s := range states {
		head += fmt.Sprintf(" %7s", strings.ToLower(string(s)))
	}
	totals := make([]int, len(states))
	for _, row := range t.rows {
		fields := strings.Fields(row)
		for i := range states {
			var n int
			_, _ = fmt.Sscan(fields[len(fields)-len(states)+i], &n)
			totals[i] += n
		}
	}
	last := fmt.Sprintf("%-24s %-8d", "all", len(t.rows))
	for _, n := range totals {
		last += fmt.Sprintf(" %7d", n)
	}
	return strings.Join(append(append([]string{head}, t.rows...), last), "\n")
}
