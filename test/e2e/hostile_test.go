//go:build e2e

package e2e

// The tests of these files (hostile*_test.go) run repositories that need more than Conductor allows, and large honest ones, beside a
// normal one. Conductor is installed with its chart's default resources, and the tests fail unless the kernel enforces them.
//
//	make e2e RUN=Hostile    all of them, one at a time, and the table; about half an hour
//	make test               TestHostileRefused: those that end before anything is built, all at once; half a minute
//
// How to read the table. Each row is a repository, pushed one or more times at once while the normal one runs repeatedly. "sentence" is
// the message on the issue. "parent" is the peak of Conductor's process (VmHWM), "child" that of its planning process, "together" the
// largest sum of both at one moment (VmRSS), which the limit of 512 MiB has to cover. "cgroup" includes the page cache: it may reach the
// limit, and the kernel then reclaims pages. "disk" is the size of the checkouts, "Run" the largest Run as JSON. "restarts" counts ended
// containers and deleted pods, and, as killed, children that the kernel killed at the limit. "normal" is the median duration of the
// normal repository's runs in the meantime, from the push to the result on GitHub, its multiple of the quiet time, and the slowest.
//
// How to add a hostile repository: a greedy in refusals if it is refused before anything is built, else in heavy (hostile_heavy_test.go).
// fill writes its files; want are regular expressions that the report must match, including the bound, by its number or its setting's
// name. Everything else is measured and judged alike for all, in judge and in accept.

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// Bounds that no repository can change, in bytes.
const (
	// childBound is the memory limit of the planning process; slip is how much it may exceed it before its parent notices.
	childBound, slip = 256 << 20, 32 << 20
	// diskBound is the limit of one Run's checkout on disk, diskSlip the extra space of directories and empty files.
	diskBound, diskSlip = 64 << 20, 16 << 20
	// runBound is the maximum size of a Run.
	runBound = 64 << 10
)

// greedy is a repository that needs a lot.
type greedy struct {
	name string
	fill func(*lab.Tree)
	// copies is how many such repositories are pushed at once; 0 means one.
	copies int
	// outcome is error when empty.
	outcome v1alpha1.Outcome
	// want are regular expressions; the comment and the check runs of a run, taken together, match each of them.
	want []string
	// within is how long it may take; 0 means refusalTime.
	within time.Duration
}

// refusalTime is enough for a run that ends before anything is built, on a busy node.
const refusalTime = 2 * time.Minute

// refusals are repositories that are refused before anything is built. The letters are those of docs/benchmarks.md.
var refusals = []greedy{
	{name: "A1 mounts of 312 MiB", fill: mounts(90), want: []string{`256 ?Mi`}},
	{name: "A2 ports", fill: ports(65, 251), want: []string{`\b250\b`, `ports`}},
	{name: "A4 more than 1 GiB in a small archive", fill: zeros(1100), want: []string{`\b1 ?Gi`}},
	{name: "A5 65 suites", fill: manySuites(65, 1, 0), want: []string{`\b65 suites\b`, `\b64\b`}},
	{name: "A5 65 images", fill: manyImages(65), want: []string{`\b65 images\b`, `\b64\b`}},
	{name: "A5 257 services", fill: manyServices(257), want: []string{`\b257 services\b`, `\b256\b`}},
	{name: "B6 16 suites, 32 shards, 3 tries", fill: manySuites(16, 32, 2), want: []string{`\b256\b`}},
}

// TestHostileRefused pushes all refused repositories at once, beside a normal one: each ends with an explanation, and Conductor stays
// healthy.
func TestHostileRefused(t *testing.T) {
	limit := enforcedLimit(t)
	n := &normal{repo: small(t, nil)}
	var all []asked
	for _, g := range refusals {
		all = append(all, g.ask(t)...)
	}
	w := watchConductor(t)
	for _, a := range all {
		a.start()
	}
	n.run(t)
	for _, a := range all {
		a.judge(t, a.ended(t))
	}
	used := w.stop(t)
	used.accept(t, len(all)+1, limit)
	t.Log(row{name: "all that is refused", used: used}.String())
}

// asked is one of the copies of a greedy repository.
type asked struct {
	*repo
	greedy
}

// ask creates the repositories.
func (g greedy) ask(t *testing.T) (all []asked) {
	t.Helper()
	for range max(1, g.copies) {
		all = append(all, asked{imported(t, g.fill), g})
	}
	return all
}

// isOver reports whether the repository's run is over, recorded, and its stack kept or deleted.
func (a asked) isOver() bool {
	runs := a.runs()
	return len(runs) == 1 && lab.Settled(&runs[0])
}

// ended waits until the run is over.
func (a asked) ended(t *testing.T) *v1alpha1.Run {
	t.Helper()
	within := a.within
	if within == 0 {
		within = refusalTime
	}
	eventually(t, within, func() error {
		if a.isOver() {
			return nil
		}
		return fmt.Errorf("%s: the run is not over: %s", a.greedy.name, a.state())
	})
	return &a.runs()[0]
}

func (a asked) state() string {
	var states []string
	for _, run := range a.runs() {
		states = append(states, fmt.Sprintf("%s %s %s %s", run.Name, run.Status.Phase, run.Status.Outcome, run.Status.Message))
	}
	return strings.Join(states, "; ")
}

// judge compares a finished run with what is expected.
func (a asked) judge(t *testing.T, run *v1alpha1.Run) {
	t.Helper()
	want := a.outcome
	if want == "" {
		want = v1alpha1.OutcomeError
	}
	if run.Status.Outcome != want {
		t.Errorf("%s: outcome %s, want %s: %s", a.greedy.name, run.Status.Outcome, want, run.Status.Message)
	}
	texts := []string{a.comment(run)}
	for _, c := range a.checks(run) {
		if c.Status != "completed" {
			t.Errorf("%s: check run %s is %s", a.greedy.name, c.Name, c.Status)
		}
		texts = append(texts, c.Title, c.Summary, c.Text)
	}
	read := plain(strings.Join(texts, "\n"))
	for _, w := range a.want {
		if !regexp.MustCompile(w).MatchString(read) {
			t.Errorf("%s: what people read does not match %s:\n%.4000s", a.greedy.name, w, read)
		}
	}
}

// accept fails the test unless Conductor stayed within its bounds, with so many runs at once.
func (u usage) accept(t *testing.T, runs int, limit int64) {
	t.Helper()
	for _, d := range u.deaths {
		t.Errorf("Conductor ended: %s", d)
	}
	if u.kills != 0 {
		t.Errorf("the kernel killed %d processes for the limit", u.kills)
	}
	for _, b := range []struct {
		what       string
		used, most int64
	}{
		{"parent and child together", u.together, limit}, {"the child", u.child, childBound + slip},
		{"the checkouts on disk", u.disk, int64(runs)*diskBound + diskSlip}, {"the largest Run", u.object, runBound},
	} {
		if b.used > b.most {
			t.Errorf("%s: %d bytes, and %d are allowed", b.what, b.used, b.most)
		}
	}
}

// normal is a typical repository: one image to build, one service, one suite.
type normal struct {
	*repo
	times int
}

// run pushes a tag and returns how long it takes until its result is on GitHub. Then it deletes the run, since its stack would use part of
// the node.
func (n *normal) run(t *testing.T) time.Duration {
	t.Helper()
	n.times++
	mine := &repo{Repository: n.Repository, t: t} // The repository may belong to an enclosing test.
	name := fmt.Sprintf("%s/normal-%d", tag, n.times)
	began := time.Now()
	mine.push(name, fmt.Sprintf("Run the tests for #%d", n.Issue))
	var run v1alpha1.Run
	eventually(t, patience, func() error {
		for _, run = range mine.runs() {
			if run.Spec.Ref == "refs/tags/"+name && lab.Finished(&run) {
				return nil
			}
		}
		return fmt.Errorf("the normal run of %s is not over: %s %s", name, run.Status.Phase, run.Status.Message)
	})
	took := time.Since(began)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("the normal run %s ended as %s: %s", run.Name, run.Status.Outcome, run.Status.Message)
	}
	noteCleaned(&run)
	if err := here.Client.Delete(t.Context(), &run); err != nil {
		t.Errorf("delete run %s: %v", run.Name, err)
	}
	return took
}

// row is one line of the table.
type row struct {
	name, outcome, sentence string
	used                    usage
	normal                  []time.Duration
	quiet                   time.Duration
}

const tableHead = "| repository | outcome | sentence | parent, MiB | child, MiB | together, MiB | cgroup, MiB | disk, MiB | Run, KiB | restarts | normal, s |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|"

// longest is how many bytes of a message the table shows.
const longest = 300

func (r row) String() string {
	mib := func(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }
	beside := "-"
	if len(r.normal) > 0 {
		usual := median(r.normal).Seconds()
		beside = fmt.Sprintf("%.1f (%.2f times), slowest of %d %.1f", usual, usual/r.quiet.Seconds(), len(r.normal), slices.Max(r.normal).Seconds())
	}
	restarts := fmt.Sprint(len(r.used.deaths))
	if r.used.kills > 0 {
		restarts += fmt.Sprintf(" (%d killed)", r.used.kills)
	}
	sentence := strings.ReplaceAll(strings.Join(strings.Fields(r.sentence), " "), "|", `\|`)
	if len(sentence) > longest {
		sentence = strings.ToValidUTF8(sentence[:longest], "") + "…"
	}
	cells := []string{
		r.name, r.outcome, sentence, mib(r.used.parent), mib(r.used.child), mib(r.used.together),
		mib(r.used.group), mib(r.used.disk), fmt.Sprintf("%.0f", float64(r.used.object)/(1<<10)), restarts, beside,
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// median is the middle one of the times, or the slower of the two.
func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// noise is incompressible content, the same for each seed.
func noise(seed uint64, size int) []byte {
	random, data := rand.New(rand.NewPCG(seed, 0)), make([]byte, size)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}
