package result

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// The limits of v1alpha1.SuiteStatus and v1alpha1.TestFailure, which are in characters. Texts are truncated by bytes, which is at least
// as strict.
const (
	maxFailures = 10
	maxProblems = 10
	maxName     = 512
	maxFile     = 512
	maxMessage  = 1024
	maxProblem  = 512
)

// Status returns what a Run's status has room for: the totals, nil without cases, and the first failing cases.
func Status(s evidence.Suite) (totals *v1alpha1.TestTotals, failures []v1alpha1.TestFailure) {
	if t := s.Totals; t != nil {
		totals = &v1alpha1.TestTotals{
			Tests: int32Of(t.Tests), Passed: int32Of(t.Passed), Failed: int32Of(t.Failed),
			Errors: int32Of(t.Errors), Skipped: int32Of(t.Skipped), Flaky: int32Of(t.Flaky),
		}
	}
	for _, c := range s.Cases {
		if !c.Status.Bad() {
			continue
		}
		if len(failures) == maxFailures {
			break
		}
		failures = append(failures, v1alpha1.TestFailure{
			Name: truncate(c.ID(), maxName), File: truncate(c.File, maxFile), Line: int32Of(c.Line), Message: truncate(c.Message, maxMessage),
		})
	}
	return totals, failures
}

// Problems returns the problems of all attempts without duplicates, as many as a Run's status has room for.
func Problems(s evidence.Suite) []string {
	var all []string
	seen := map[string]bool{}
	for _, a := range s.Attempts {
		for _, p := range a.Problems {
			if len(all) < maxProblems && !seen[p] {
				seen[p] = true
				all = append(all, truncate(p, maxProblem))
			}
		}
	}
	return all
}

func int32Of(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// truncate returns valid UTF-8 of at most limit bytes, with an ellipsis if it was shortened.
func truncate(s string, limit int) string {
	return text.Truncate(strings.ToValidUTF8(s, string(utf8.RuneError)), limit)
}
