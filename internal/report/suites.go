package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// slowestCases is how many of a suite's slowest test cases are named.
const slowestCases = 5

// tested is one suite as the report shows it: its status and, if available, its result.
type tested struct {
	v1alpha1.SuiteStatus
	// totals is nil without JUnit files.
	totals *evidence.Totals
	// cases are all known cases, in the order of the result.
	cases []evidence.Case
	// bad are the failing cases, newly failing ones first.
	bad []*evidence.Case
	// flaky and slowest are empty when only the status is known.
	flaky, slowest []*evidence.Case
	// against is the run compared with; without one, nothing is newly failing or fixed.
	against string
	// fresh are the IDs of the newly failing cases, fixed those of the newly fixed.
	fresh map[string]bool
	fixed []string
	// failing and mended count the newly failing and the newly fixed cases.
	failing, mended int
	problems        []string
}

// gather joins the status of each named suite with its result.
func gather(run *v1alpha1.Run, names []string, results []evidence.Suite) []tested {
	suites := make([]tested, 0, len(names))
	for _, name := range names {
		t := tested{SuiteStatus: v1alpha1.SuiteStatus{Name: name}}
		if i := slices.IndexFunc(run.Status.Suites, func(s v1alpha1.SuiteStatus) bool { return s.Name == name }); i >= 0 {
			t.SuiteStatus = run.Status.Suites[i]
		}
		t.fromStatus()
		if i := slices.IndexFunc(results, func(s evidence.Suite) bool { return s.Name == name }); i >= 0 {
			t.fromResult(&results[i])
		}
		t.sort()
		suites = append(suites, t)
	}
	return suites
}

// suiteNames are the suites of the Run's status.
func suiteNames(run *v1alpha1.Run) []string {
	var names []string
	for _, s := range run.Status.Suites {
		names = append(names, s.Name)
	}
	return names
}

// fromStatus copies the counts and the first failing cases from the status.
func (t *tested) fromStatus() {
	if n := t.Totals; n != nil {
		t.totals = &evidence.Totals{
			Tests: int(n.Tests), Passed: int(n.Passed), Failed: int(n.Failed), Errors: int(n.Errors), Skipped: int(n.Skipped), Flaky: int(n.Flaky),
		}
	}
	for _, f := range t.Failures {
		t.cases = append(t.cases, evidence.Case{Name: f.Name, File: f.File, Line: int(f.Line), Message: f.Message, Status: evidence.Failed})
	}
	if t.NewlyFailing != nil {
		t.failing = int(*t.NewlyFailing)
	}
	if t.NewlyFixed != nil {
		t.mended = int(*t.NewlyFixed)
	}
	t.problems = t.Problems
}

// fromResult replaces what the status holds with the more detailed result.
func (t *tested) fromResult(s *evidence.Suite) {
	if s.Totals != nil {
		t.totals = s.Totals
	}
	if len(s.Cases) > 0 {
		t.cases = s.Cases
	}
	if c := s.Compared; c != nil {
		t.against, t.fixed, t.failing, t.mended = c.Run, c.NewlyFixed, len(c.NewlyFailing), len(c.NewlyFixed)
		t.fresh = make(map[string]bool, len(c.NewlyFailing))
		for _, id := range c.NewlyFailing {
			t.fresh[id] = true
		}
	}
	if len(t.problems) > 0 {
		return
	}
	for _, a := range s.Attempts {
		for _, p := range a.Problems {
			if !slices.Contains(t.problems, p) && len(t.problems) < 10 {
				t.problems = append(t.problems, p)
			}
		}
	}
}

// sort finds the failing, flaky and slowest cases in one pass.
func (t *tested) sort() {
	var old []*evidence.Case
	for i := range t.cases {
		c := &t.cases[i]
		switch {
		case c.Status.Bad() && len(t.fresh) > 0 && t.fresh[c.ID()]:
			t.bad = append(t.bad, c)
		case c.Status.Bad():
			old = append(old, c)
		case c.Flaky:
			t.flaky = append(t.flaky, c)
		}
		t.timed(c)
	}
	t.bad = append(t.bad, old...)
}

// timed keeps the case if it is among the slowest.
func (t *tested) timed(c *evidence.Case) {
	if c.Seconds <= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(t.slowest, c, func(have, c *evidence.Case) int {
		// Cases of equal duration keep their order.
		return cmp.Or(cmp.Compare(c.Seconds, have.Seconds), -1)
	})
	if at < slowestCases {
		t.slowest = slices.Insert(t.slowest, at, c)
		t.slowest = t.slowest[:min(len(t.slowest), slowestCases)]
	}
}

// failures is how many cases failed, including those not listed here.
func (t *tested) failures() int {
	if t.totals == nil {
		return len(t.bad)
	}
	return max(len(t.bad), t.totals.Failed+t.totals.Errors)
}

// isFresh reports whether the case is newly failing.
func (t *tested) isFresh(c *evidence.Case) bool { return len(t.fresh) > 0 && t.fresh[c.ID()] }

// tally is the totals in words, such as "3 of 41 tests failed (2 new), 1 flaky"; empty without totals.
func (t *tested) tally() string {
	if t.totals == nil {
		return ""
	}
	return tally(*t.totals, t.failing, t.mended)
}

func tally(n evidence.Totals, fresh, fixed int) string {
	var words string
	switch bad := n.Failed + n.Errors; {
	case bad > 0:
		words = fmt.Sprintf("%d of %s failed", bad, text.Plural(n.Tests, "test"))
		if fresh > 0 {
			words += fmt.Sprintf(" (%d new)", fresh)
		}
	case n.Tests == 0:
		words = "no tests"
	default:
		words = text.Plural(n.Passed, "test") + " passed"
	}
	for _, more := range []struct {
		count int
		what  string
	}{{n.Skipped, "skipped"}, {n.Flaky, "flaky"}, {fixed, "newly fixed"}} {
		if more.count > 0 {
			words += fmt.Sprintf(", %d %s", more.count, more.what)
		}
	}
	return words
}

// together adds up the totals of the suites that have some; nil when none has.
func together(suites []tested) *evidence.Totals {
	var sum *evidence.Totals
	for _, t := range suites {
		if t.totals == nil {
			continue
		}
		if sum == nil {
			sum = &evidence.Totals{}
		}
		sum.Tests += t.totals.Tests
		sum.Passed += t.totals.Passed
		sum.Failed += t.totals.Failed
		sum.Errors += t.totals.Errors
		sum.Skipped += t.totals.Skipped
		sum.Flaky += t.totals.Flaky
	}
	return sum
}

// suites adds the table of the suites, then the details and the log of each.
func (d *document) suites(run *v1alpha1.Run, suites []tested) {
	var rows [][]string
	for _, t := range suites {
		rows = append(rows, []string{
			code(t.Name), suiteState(run, t.SuiteStatus), t.tally(), exitCode(t.ExitCode), took(t.StartedAt, t.FinishedAt), inline(t.Message, min(d.text, 300)),
		})
	}
	d.table([]string{"Suite", "Result", "Tests", "Exit code", "Took", ""}, rows)
	d.details(run, suites)
	for _, t := range suites {
		d.log("End of the log of", t.Name, t.Log)
	}
}

// details adds the failing cases and other details of each suite. The suites share the limit on cases.
func (d *document) details(run *v1alpha1.Run, suites []tested) {
	d.share(suites[:min(len(suites), d.rows)], d.cases, func(t *tested, n int) { d.suite(run, t, n) })
}

// suite adds the details of one suite, with at most cases of its failing cases.
func (d *document) suite(run *v1alpha1.Run, t *tested, cases int) {
	if t.failures() > 0 {
		about := "**" + code(t.Name) + ":** " + t.tally()
		if t.totals == nil {
			about = "**" + code(t.Name) + ":** " + text.Plural(t.failures(), "failing test")
		}
		if t.against != "" {
			about += ", compared with run " + code(t.against)
		}
		d.para(about)
	}
	for _, c := range t.bad[:cases] {
		if d.full() {
			return
		}
		d.failing(run, t, c)
	}
	if more := t.failures() - cases; more > 0 {
		d.para("and " + text.Plural(more, "more failing test") + " in " + code(t.Name))
	}
	if d.names == 0 {
		return
	}
	d.named("Newly fixed in", t.Name, t.fixed)
	d.named("Flaky in", t.Name, ids(t.flaky))
	d.slowest(t)
	d.attempts(run, t)
	d.problems(t)
}

func ids(cases []*evidence.Case) []string {
	list := make([]string, 0, len(cases))
	for _, c := range cases {
		list = append(list, c.ID())
	}
	return list
}

// named adds a line of names, at most d.names of them.
func (d *document) named(label, suite string, names []string) {
	if len(names) == 0 {
		return
	}
	var spans []string
	for _, n := range names[:min(len(names), d.names)] {
		spans = append(spans, code(n))
	}
	line := "**" + label + " " + code(suite) + ":** " + strings.Join(spans, ", ")
	if more := len(names) - len(spans); more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	d.para(line)
}
