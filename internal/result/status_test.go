package result

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

func TestStatus(t *testing.T) {
	totals, failures := Status(evidence.Suite{
		Totals: &evidence.Totals{Tests: 15, Passed: 5, Failed: 4, Errors: 3, Skipped: 2, Flaky: 1},
		Cases:  []evidence.Case{test("a", evidence.Failed), test("b", evidence.Passed), test("c", evidence.Error)},
	})
	if diff := cmp.Diff(&v1alpha1.TestTotals{Tests: 15, Passed: 5, Failed: 4, Errors: 3, Skipped: 2, Flaky: 1}, totals); diff != "" {
		t.Error(diff)
	}
	want := []v1alpha1.TestFailure{{Name: "k › a", File: "a.go", Line: 7, Message: "a broke"}, {Name: "k › c", File: "c.go", Line: 7, Message: "c broke"}}
	if diff := cmp.Diff(want, failures); diff != "" {
		t.Error(diff)
	}
	if totals, failures := Status(evidence.Suite{}); totals != nil || failures != nil {
		t.Error(totals, failures)
	}
}

// TestStatusLimits cuts to what the API server takes.
func TestStatusLimits(t *testing.T) {
	var cases []evidence.Case
	for i := range 12 {
		cases = append(cases, evidence.Case{
			Name: fmt.Sprint(i, strings.Repeat("é", 600)), File: strings.Repeat("f", 600), Line: math.MaxInt, Message: "\xff" + strings.Repeat("m", 2000), Status: evidence.Failed,
		})
	}
	_, failures := Status(evidence.Suite{Cases: cases})
	if len(failures) != 10 {
		t.Fatalf("%d failures", len(failures))
	}
	for i, f := range failures {
		if !strings.HasPrefix(f.Name, fmt.Sprint(i)) || f.Line != math.MaxInt32 {
			t.Errorf("%d: %s, line %d", i, f.Name, f.Line)
		}
		for _, text := range []struct {
			is  string
			max int
		}{{f.Name, 512}, {f.File, 512}, {f.Message, 1024}} {
			if n := len(text.is); n > text.max || n < text.max-2 || !strings.HasSuffix(text.is, "…") || !utf8.ValidString(text.is) {
				t.Errorf("%d bytes of %d: %q", n, text.max, text.is)
			}
		}
	}
	if got := truncate(strings.Repeat("x", 512), 512); len(got) != 512 || strings.HasSuffix(got, "…") {
		t.Errorf("a text that fits became %q", got)
	}
	for in, want := range map[string]string{"ééé": "ééé", "éééé": "é…", "aéééé": "aé…", "aaaaaaaa": "aaa…", "aaéé": "aaéé", "aaaéé": "aaa…", "aa€€": "aa…"} {
		if got := truncate(in, 6); got != want {
			t.Errorf("truncate(%q) = %q, want %q", in, got, want)
		}
	}
	_, failures = Status(evidence.Suite{Cases: []evidence.Case{{Name: "a", Status: evidence.Failed, Line: -3}}})
	if failures[0].Line != 0 {
		t.Errorf("line %d", failures[0].Line)
	}
}

func TestProblems(t *testing.T) {
	var s evidence.Suite
	for i := range 12 {
		s.Attempts = append(s.Attempts, evidence.Attempt{Problems: []string{"the same", fmt.Sprint(i, strings.Repeat("p", 600))}})
	}
	all := Problems(s)
	if len(all) != 10 || all[0] != "the same" || !strings.HasPrefix(all[1], "0p") || !strings.HasPrefix(all[9], "8p") || len(all[9]) != 512 {
		t.Errorf("%q", all)
	}
	if Problems(evidence.Suite{}) != nil {
		t.Error("problems of nothing")
	}
}
