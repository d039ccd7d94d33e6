package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// results are the results of the cases by name.
var results = map[string][]evidence.Suite{}

// with adds a case with results.
func with(name string, run *v1alpha1.Run, suites ...evidence.Suite) {
	cases[name], results[name] = run, suites
}

// condition adds a condition that does not belong to a stage.
func condition(kind string, status metav1.ConditionStatus, reason, message string) func(*v1alpha1.Run) {
	return func(r *v1alpha1.Run) {
		r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	}
}

func recorded(r *v1alpha1.Run) {
	runBuilder{r}.stage(v1alpha1.ConditionRecorded, yes, v1alpha1.ReasonDone, "9 files", 110, 112)
	r.Status.Record = &v1alpha1.RecordStatus{Reference: "registry.example.com/records/acme/shop:" + r.Name, Digest: "sha256:" + strings.Repeat("3b", 32), Size: 4_560_000}
	r.Status.Report = &v1alpha1.ReportStatus{CheckRuns: map[string]int64{r.Name + "/e2e": 4711, r.Name + "/unit": 4712}}
}

// shop is a result with every field set.
func shop() evidence.Suite {
	return evidence.Suite{
		Name: "e2e", Outcome: "failed", Shards: 1,
		Totals: &evidence.Totals{Tests: 11, Passed: 6, Failed: 3, Errors: 1, Skipped: 1, Flaky: 1},
		Cases: []evidence.Case{
			{Class: "cart", Name: "keeps its items", File: "e2e/cart.spec.ts", Line: 8, Status: evidence.Failed, Seconds: 0.25, Message: "expected 2, got 1"},
			{
				Class: "checkout", Name: "pays with a card", File: "./e2e/../e2e/checkout (new).spec.ts", Line: 42, Status: evidence.Failed, Seconds: 12.34,
				Message: "expected 200, got 502", Detail: "Error: expected 200, got 502\n    at e2e/checkout.spec.ts:42:11",
				Output: "POST /pay\n502 Bad Gateway from @backend\n",
			},
			{Name: "starts", File: "/app/e2e/start.spec.ts", Line: 3, Status: evidence.Error, Seconds: 75, Message: "connect ECONNREFUSED", Detail: "at net.ts:1"},
			{Name: "has no place", Status: evidence.Failed},
			{Class: "search", Name: "finds", File: "e2e/search.spec.ts", Line: 5, Status: evidence.Passed, Flaky: true, Seconds: 2},
			{Name: "a", Status: evidence.Passed, Seconds: 1}, {Name: "b", Status: evidence.Passed, Seconds: 3}, {Name: "c", Status: evidence.Passed, Seconds: 2},
			{Name: "d", Status: evidence.Passed}, {Name: "e", Status: evidence.Passed, Seconds: 0.1}, {Name: "f", Status: evidence.Skipped},
		},
		Compared: &evidence.Comparison{
			Run: "acme-shop-9876543210", SHA: "b0b", NewlyFailing: []string{"checkout › pays with a card", "starts"}, NewlyFixed: []string{"login › works", "logout"},
		},
		Attempts: []evidence.Attempt{{Problems: []string{"reports.junit: e2e/*.txt matched no file"}}, {Problems: []string{"reports.junit: e2e/*.txt matched no file"}}},
	}
}

func attempt(shard, number int32, o v1alpha1.Outcome, exit, from, to int, message string) v1alpha1.AttemptStatus {
	return v1alpha1.AttemptStatus{Shard: shard, Number: number, Outcome: o, ExitCode: new(int32(exit)), StartedAt: at(from), FinishedAt: at(to), Message: message}
}

func init() {
	with("tests-failed", edit(failed(), func(r *v1alpha1.Run) {
		recorded(r)
		r.Status.Suites[0].Shards = 1
	}), shop())
	with("tests-failed-status", edit(failed(), func(r *v1alpha1.Run) {
		s := &r.Status.Suites[0]
		s.Totals = &v1alpha1.TestTotals{Tests: 41, Passed: 29, Failed: 9, Errors: 3}
		s.NewlyFailing, s.NewlyFixed = new(int32(2)), new(int32(1))
		s.Failures = []v1alpha1.TestFailure{
			{Name: "checkout › pays with a card", File: "e2e/checkout.spec.ts", Line: 42, Message: "expected 200, got 502"}, {Name: "starts", File: "e2e/start.spec.ts"},
		}
		s.Problems = []string{"reports.junit: e2e/b.xml is not XML: line 3"}
		r.Status.Suites[1].Failures = []v1alpha1.TestFailure{{Name: "without totals"}}
	}))
	with("flaky", edit(passed(), func(r *v1alpha1.Run) {
		recorded(r)
		r.Status.Suites[0].Attempts = []v1alpha1.AttemptStatus{
			attempt(0, 1, v1alpha1.OutcomeFailed, 1, 50, 80, ""), attempt(0, 2, v1alpha1.OutcomePassed, 0, 80, 110, ""),
		}
	}), evidence.Suite{
		Name: "e2e", Totals: &evidence.Totals{Tests: 7, Passed: 7, Flaky: 1}, Compared: &evidence.Comparison{Run: "acme-shop-9876543210"},
		Cases: []evidence.Case{{Class: "search", Name: "finds", File: "e2e/search.spec.ts", Line: 5, Status: evidence.Passed, Flaky: true, Message: "timed out"}},
	}, evidence.Suite{Name: "unit", Totals: &evidence.Totals{Tests: 41, Passed: 41}})
	with("sharded", edit(failed(), func(r *v1alpha1.Run) {
		s := &r.Status.Suites[0]
		s.Shards = 3
		s.Attempts = []v1alpha1.AttemptStatus{
			attempt(0, 1, v1alpha1.OutcomePassed, 0, 50, 70, ""), attempt(1, 1, v1alpha1.OutcomeFailed, 1, 50, 80, ""), attempt(1, 2, v1alpha1.OutcomeFailed, 1, 81, 110, ""),
			attempt(2, 1, v1alpha1.OutcomeError, 137, 50, 60, "it ran out of memory at 128Mi"), {Shard: 2, Number: 2},
		}
	}), evidence.Suite{
		Name: "e2e", Shards: 3, Totals: &evidence.Totals{Tests: 1, Failed: 1},
		Cases: []evidence.Case{{Name: "only one", Status: evidence.Failed, Shard: 1, Message: "no"}},
	})
	with("no-junit", edit(failed(), func(r *v1alpha1.Run) {
		r.Status.Suites[0].Problems = []string{"reports.junit: junit.xml matched no file in /app"}
	}))
	with("junit-without-failures", failed(), evidence.Suite{Name: "e2e", Totals: &evidence.Totals{Tests: 3, Passed: 3}}, evidence.Suite{Name: "unit", Totals: &evidence.Totals{}})
	with("out-of-memory", edit(buildFailed(), func(r *v1alpha1.Run) {
		r.Status.Message = "The build of backend ran out of memory at 4Gi.\nRaise builds.memoryLimit in the operator's settings."
		r.Status.Conditions[2].Reason, r.Status.Conditions[2].Message = v1alpha1.ReasonOutOfMemory, r.Status.Message
	}))
	with("evicted", edit(stackFailed(v1alpha1.ReasonEvicted, "backend was evicted: the node was low on memory", "it was evicted\nlast words"), func(r *v1alpha1.Run) {
		r.Status.Services[2].Message = "waits for backend\nconnection refused"
	}))
	with("quota", stackFailed(v1alpha1.ReasonQuotaExceeded, "backend: no pod can be made, since the stack's quota is 20 pods", "no pod can be made"))
	with("degraded", edit(passed(), condition(v1alpha1.ConditionStackHealthy, no, v1alpha1.ReasonDegraded, "backend restarts again and again since 12:30 UTC\npanic: out of ids\nexit 2")))
	with("degraded-and-gone", edit(passed(), func(r *v1alpha1.Run) {
		condition(v1alpha1.ConditionStackHealthy, no, v1alpha1.ReasonDegraded, "backend restarts again and again")(r)
		r.Status.Conditions[len(r.Status.Conditions)-2].Status, r.Status.Conditions[len(r.Status.Conditions)-2].Reason = no, v1alpha1.ReasonDeleted
	}))
	with("record-failed", edit(passed(), func(r *v1alpha1.Run) {
		runBuilder{r}.stage(v1alpha1.ConditionRecorded, no, v1alpha1.ReasonUnavailable, "registry.example.com did not answer for 10m", 110, 710)
	}))
	with("recording", edit(passed(), func(r *v1alpha1.Run) {
		runBuilder{r}.stage(v1alpha1.ConditionRecorded, unknown, v1alpha1.ReasonInProgress, "3 of 9 files", 110, -1)
	}))
	with("record-skipped", edit(canceled(), func(r *v1alpha1.Run) {
		runBuilder{r}.skipped(v1alpha1.ReasonSkipped, v1alpha1.ConditionRecorded)
	}))
}

// many is a suite of n cases, each with texts of the maximum size.
func many(n int, filler string) evidence.Suite {
	s := evidence.Suite{Name: "e2e", Totals: &evidence.Totals{Tests: n, Failed: n}, Compared: &evidence.Comparison{Run: "before", NewlyFailing: []string{fmt.Sprint("case › ", n-1)}}}
	long := strings.Repeat(filler, evidence.MaxDetail/len(filler))
	for i := range n {
		s.Cases = append(s.Cases, evidence.Case{
			Class: "case", Name: fmt.Sprint(i), File: "e2e/a.ts", Line: i + 1, Status: evidence.Failed, Seconds: float64(i),
			Message: fmt.Sprint("failure ", i, " ", long[:evidence.MaxMessage/len(filler)*len(filler)-20/len(filler)*len(filler)]), Detail: long, Output: long[:evidence.MaxOutput/len(filler)*len(filler)],
		})
	}
	return s
}

func TestFiveThousandFailuresFitAndTheNewOneIsNamed(t *testing.T) {
	const n = 5000
	for _, filler := range []string{"x", "`@", "é", "\U0001F600", "</details>\n"} {
		run, suites := failed(), []evidence.Suite{many(n, filler)}
		comment := Comment(run, suites, "", start)
		inspect(t, filler, comment)
		if len(comment) > maxBody || len(comment) < maxBody/8 || !utf8.ValidString(comment) {
			t.Errorf("%q: the comment has %d bytes", filler, len(comment))
		}
		for _, want := range []string{"5000 of 5000 tests failed", "case › 4999</code> newly failing", "failure 4999", "more failing tests in `e2e`"} {
			if !strings.Contains(comment, want) {
				t.Errorf("%q: the comment lacks %q", filler, want)
			}
		}
		c := CheckRuns(run, nil, suites, "")[0]
		if len(c.Annotations) != maxAnnotations || !strings.Contains(c.Text, "4000 more are in the record") || len(c.Text) > maxBody {
			t.Errorf("%q: %d annotations, a text of %d bytes", filler, len(c.Annotations), len(c.Text))
		}
		if len(c.Annotations[0].RawDetails) > 64<<10 || len(c.Annotations[0].Message) > 64<<10 {
			t.Errorf("%q: an annotation of %d and %d bytes", filler, len(c.Annotations[0].Message), len(c.Annotations[0].RawDetails))
		}
	}
}

func TestFailuresThatFitAreAllShown(t *testing.T) {
	s := evidence.Suite{Name: "e2e", Totals: &evidence.Totals{Tests: 60, Failed: 60}}
	for i := range 60 {
		s.Cases = append(s.Cases, evidence.Case{Name: fmt.Sprintf("case %d.", i), Status: evidence.Failed, Message: "no", Detail: strings.Repeat("a line\n", 40)})
	}
	comment := Comment(failed(), []evidence.Suite{s}, "", start)
	for _, c := range s.Cases {
		if !strings.Contains(comment, "<code>"+c.Name+"</code>") {
			t.Errorf("%s is missing", c.Name)
		}
	}
}

// Many failures of one suite do not hide those of another.
func TestSuitesShareTheRoom(t *testing.T) {
	run := failed()
	unit := many(300, "y")
	unit.Name = "unit"
	comment := Comment(run, []evidence.Suite{many(300, "x"), unit}, "", start)
	first, second, _ := strings.Cut(comment, "**`unit`:**")
	a, b := strings.Count(first, "❌ <code>"), strings.Count(second, "❌ <code>")
	if a == 0 || a-b < 0 || a-b > 1 {
		t.Errorf("%d cases of one suite and %d of the other", a, b)
	}
	if sizes[0].cases != 100 || strings.Contains(Comment(run, []evidence.Suite{many(1, "x"), unit}, "", start), "and 299 more") {
		t.Error("what one suite leaves, the other does not get")
	}
}

func TestPathsAreThoseOfTheRepository(t *testing.T) {
	for file, want := range map[string]string{
		"a.ts": "a.ts", "./a.ts": "a.ts", "a//b/../c.ts": "a/c.ts", `src\a.ts`: "src/a.ts", "..a/b": "..a/b", "é b.ts": "é b.ts", strings.Repeat("a", maxPath): strings.Repeat("a", maxPath),
		"": "", ".": "", "..": "", "../a.ts": "", "a/../../b": "", "/a.ts": "", `\a.ts`: "", "C:/a.ts": "", "file:///a.ts": "", "a\nb": "", "a  b": "", "\u202Ea": "", strings.Repeat("a", maxPath+1): "",
	} {
		got, known := inRepository(file)
		if got != want || known != (want != "") {
			t.Errorf("%q becomes %q, %v", file, got, known)
		}
	}
	if got := escapePath("azAZ09/-_. (é)#?@[`{:"); got != "azAZ09/-_.%20%28%C3%A9%29%23%3F%40%5B%60%7B%3A" {
		t.Errorf("in an address: %s", got)
	}
}

func TestAnnotationsAreWhatGitHubTakes(t *testing.T) {
	list, left := annotations(&gather(failed(), []string{"e2e"}, []evidence.Suite{shop()})[0])
	if len(list) != 3 || left != 0 || list[0].Title != "cart › keeps its items" || list[2].Level != "warning" {
		t.Fatalf("%d annotations, %d left: %+v", len(list), left, list)
	}
	want := v1alpha1.Annotation{
		Path: "e2e/checkout (new).spec.ts", StartLine: 42, EndLine: 42, Level: "failure", Title: "checkout › pays with a card",
		Message: "expected 200, got 502", RawDetails: "Error: expected 200, got 502\n    at e2e/checkout.spec.ts:42:11",
	}
	if list[1] != want {
		t.Errorf("got %+v", list[1])
	}
	long := annotation("a", &evidence.Case{Name: strings.Repeat("@a", 300), Line: 1, Status: evidence.Failed, Message: strings.Repeat("@b", 40_000), Detail: strings.Repeat("日", 40_000)})
	if n := utf8.RuneCountInString(long.Title); n != 255 || len(long.Message) > 64<<10 || len(long.RawDetails) > 64<<10 || !utf8.ValidString(long.RawDetails) {
		t.Errorf("%d, %d, %d", n, len(long.Message), len(long.RawDetails))
	}
	if !strings.HasSuffix(long.RawDetails, "日…") || !strings.HasSuffix(long.Message, "…") || strings.Contains(long.Title+long.Message, "@a") {
		t.Errorf("the ends: %q %q", long.RawDetails[len(long.RawDetails)-9:], long.Message[len(long.Message)-9:])
	}
	for _, c := range []struct {
		evidence.Case
		message string
	}{
		{evidence.Case{Status: evidence.Error, Detail: "\nfirst @you\nsecond"}, "first @\u200byou"},
		{evidence.Case{Status: evidence.Failed, Message: "\x1b[31mred\x1b[0m"}, "red"},
		{evidence.Case{Status: evidence.Failed}, "The test failed without a message."},
		{evidence.Case{Status: evidence.Passed, Flaky: true, Message: "m"}, "Flaky: failed, then passed on retry.\nm"},
	} {
		if got := annotation("a", &c.Case).Message; got != c.message {
			t.Errorf("the message is %q, want %q", got, c.message)
		}
	}
}

func TestTheSlowestAreFiveInOrder(t *testing.T) {
	var s tested
	for _, seconds := range []float64{1, 5, 0, 3, 5, 2, 9, 0.5, -1} {
		s.cases = append(s.cases, evidence.Case{Name: fmt.Sprint(len(s.cases)), Seconds: seconds, Status: evidence.Passed})
	}
	s.sort()
	var got []string
	for _, c := range s.slowest {
		got = append(got, c.Name)
	}
	if strings.Join(got, " ") != "6 1 4 3 5" {
		t.Errorf("slowest: %v", got)
	}
}

func TestProblemsOfAttemptsAreListedOnceAndBounded(t *testing.T) {
	var s evidence.Suite
	for i := range 30 {
		s.Attempts = append(s.Attempts, evidence.Attempt{Problems: []string{"again", fmt.Sprint(i)}})
	}
	var have tested
	have.fromResult(&s)
	if got := strings.Join(have.problems, " "); got != "again 0 1 2 3 4 5 6 7 8" {
		t.Errorf("problems: %s", got)
	}
}

// The comment links to check runs as soon as they are known, but that alone does not change the digest.
func TestLinksToCheckRunsAreNothingNew(t *testing.T) {
	run := edit(passed(), recorded)
	linked := Comment(run, nil, "", start)
	if !strings.Contains(linked, "[`e2e`](https://github.com/acme/shop/runs/4711), [`unit`](https://github.com/acme/shop/runs/4712)") {
		t.Error("no links")
	}
	digest := Digest(run, nil)
	run.Status.Report = nil
	if Comment(run, nil, "", start) == linked || Digest(run, nil) != digest {
		t.Error("the links are missing, or change the digest")
	}
	if Digest(run, []string{"e2e"}) == digest {
		t.Error("the results do not change the digest")
	}
	if Digest(run, []string{"e2e", "unit"}) != Digest(run, []string{"unit", "e2e"}) {
		t.Error("the order of suites changes the digest")
	}
	run.Status.Report = &v1alpha1.ReportStatus{CheckRuns: map[string]int64{run.Name + "/e2e": 1}}
	run.Spec.Repository.HTMLURL = ""
	if strings.Contains(Comment(run, nil, "", start), "Full results") {
		t.Error("links without an address")
	}
}

func BenchmarkComment5000(b *testing.B) {
	run, suites := failed(), []evidence.Suite{many(5000, "expected 200, got 502\n")}
	b.ReportAllocs()
	for b.Loop() {
		Comment(run, suites, "", start)
	}
}

func BenchmarkDigest(b *testing.B) {
	run := failed()
	b.ReportAllocs()
	for b.Loop() {
		Digest(run, []string{"e2e"})
	}
}

// Rendering time grows linearly with the number of cases; quadratic growth would be obvious at these sizes.
func BenchmarkCommentGrows(b *testing.B) {
	for _, n := range []int{1000, 4000, 16000} {
		suites := []evidence.Suite{many(n, "é")}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Comment(failed(), suites, "", time.Time{})
			}
		})
	}
}

// A result without cases keeps the cases of the status.
func TestAResultWithoutCasesLeavesTheStatus(t *testing.T) {
	run := failed()
	run.Status.Suites[0].Failures = []v1alpha1.TestFailure{{Name: "from the status"}}
	run.Status.Suites[0].Problems = []string{"of the status"}
	have := gather(run, []string{"e2e"}, []evidence.Suite{{Name: "e2e", Attempts: []evidence.Attempt{{Problems: []string{"of the result"}}}}})[0]
	if len(have.bad) != 1 || have.bad[0].Name != "from the status" || len(have.problems) != 1 || have.problems[0] != "of the status" {
		t.Errorf("%+v", have)
	}
}

func TestATableCountsTheRowsThatAreLeftOut(t *testing.T) {
	for rows, want := range map[int]string{1: "", 2: "", 3: "and 1 more row", 5: "and 3 more rows"} {
		d := document{size: size{rows: 2}}
		d.table([]string{"A"}, slices.Repeat([][]string{{"x"}}, rows))
		_, after, _ := strings.Cut(strings.TrimSpace(d.String()), "\n\n")
		if after != want || strings.Count(d.String(), "| x |") != min(rows, 2) {
			t.Errorf("%d rows: %q", rows, d.String())
		}
	}
}

func TestNoMoreCasesAreReportedThanTheSizeAllows(t *testing.T) {
	run := failed()
	for cases, want := range map[int][2]int{1: {1, 0}, 2: {1, 1}, 3: {2, 1}, 4: {2, 2}, 9: {3, 5}} {
		unit := many(5, "x")
		unit.Name = "unit"
		d := document{size: size{rows: 9, cases: cases, detail: 9}}
		d.details(run, gather(run, []string{"e2e", "none", "unit"}, []evidence.Suite{many(3, "x"), unit}))
		first, second, _ := strings.Cut(d.String(), "**`unit`:**")
		if got := [2]int{strings.Count(first, "❌ <code>"), strings.Count(second, "❌ <code>")}; got != want {
			t.Errorf("of %d cases, the suites get %v", cases, got)
		}
	}
}

func TestHeadlinesCountWhatThereIs(t *testing.T) {
	for _, c := range []struct {
		run    *v1alpha1.Run
		totals *evidence.Totals
		want   string
	}{
		{passed(), nil, "✅ Integration tests passed"}, {passed(), &evidence.Totals{}, "✅ Integration tests passed"},
		{passed(), &evidence.Totals{Tests: 2, Passed: 1, Skipped: 1}, "✅ 1 test passed, 1 skipped"},
		{failed(), &evidence.Totals{Tests: 2, Failed: 1, Errors: 1}, "❌ 2 of 2 tests failed: `e2e`"},
		{failed(), &evidence.Totals{Tests: 2, Passed: 2}, "❌ Integration tests failed: `e2e`"},
	} {
		if got := headline(c.run, []tested{{totals: c.totals}}); got != c.want {
			t.Errorf("%+v: %q, want %q", c.totals, got, c.want)
		}
	}
}
