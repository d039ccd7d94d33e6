// Package result judges what the attempts of a suite showed: one result of all shards, compared with the history of the suite
// on its branch. It is pure.
package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// times sets when the first attempt began and the last one ended.
func times(s *evidence.Suite) {
	for i := range s.Attempts {
		a := &s.Attempts[i]
		if !a.StartedAt.IsZero() && (s.StartedAt == nil || a.StartedAt.Before(*s.StartedAt)) {
			s.StartedAt = &a.StartedAt
		}
		if !a.FinishedAt.IsZero() && (s.FinishedAt == nil || a.FinishedAt.After(*s.FinishedAt)) {
			s.FinishedAt = &a.FinishedAt
		}
	}
}

// usage is what the suite used: CPU time over all attempts; peaks as if the shards, which run side by side, had them at the
// same time. It is nil when nothing is known.
func usage(attempts []evidence.Attempt) *evidence.Usage {
	var sum evidence.Usage
	var shard evidence.Usage
	for i, a := range attempts {
		if i > 0 && attempts[i-1].Shard != a.Shard {
			shard = evidence.Usage{}
		}
		if a.Usage == nil {
			continue
		}
		sum.CPUSeconds += a.Usage.CPUSeconds
		sum.CPUPeak += max(0, a.Usage.CPUPeak-shard.CPUPeak)
		sum.MemoryPeak += max(0, a.Usage.MemoryPeak-shard.MemoryPeak)
		shard.CPUPeak = max(shard.CPUPeak, a.Usage.CPUPeak)
		shard.MemoryPeak = max(shard.MemoryPeak, a.Usage.MemoryPeak)
		if sum.Source != "metrics" {
			// One sampled value makes the whole a sampled one.
			sum.Source = a.Usage.Source
		}
	}
	if sum == (evidence.Usage{}) {
		return nil
	}
	return &sum
}

// judge sets the outcome, the exit code and the message from the shards' last attempts. A suite has failed when the tests of
// a shard have; it is in error when no more is known than that one did not come to its end.
func judge(s *evidence.Suite, last []evidence.Attempt) {
	if len(last) == 0 {
		s.Outcome, s.Message = string(v1alpha1.OutcomeError), "No attempt of the suite has ended"
		return
	}
	failed, unfinished := 0, 0
	var why []string
	for _, a := range last {
		if a.ExitCode >= 0 && (s.ExitCode == nil || *s.ExitCode == 0) {
			code := int32(a.ExitCode)
			s.ExitCode = &code
		}
		switch {
		case a.ExitCode < 0 || a.TimedOut:
			unfinished++
		case a.ExitCode > 0:
			failed++
		}
		if reason := reason(a); reason != "" {
			why = append(why, where(a, len(last))+reason)
		}
	}
	tests, broken := 0, 0
	if s.Totals != nil {
		tests, broken = s.Totals.Tests, s.Totals.Failed+s.Totals.Errors
	}
	switch {
	case failed == 0 && unfinished == 0:
		s.Outcome = string(v1alpha1.OutcomePassed)
	case failed > 0 || broken > 0:
		s.Outcome = string(v1alpha1.OutcomeFailed)
		if len(why) == 0 && broken == 0 && tests > 0 {
			why = append(why, fmt.Sprintf("The tests ended with exit code %d, but no test case failed", *s.ExitCode))
		}
	default:
		s.Outcome = string(v1alpha1.OutcomeError)
	}
	s.Message = strings.Join(why, "; ")
}

// reason is what ended an attempt, where it was not its tests' own doing, or empty.
func reason(a evidence.Attempt) string {
	switch {
	case a.ExitCode < 0:
		return "The test's process could not be started"
	case a.TimedOut:
		return "The time limit ended the tests"
	case a.Signal != "":
		return "The tests were ended by " + a.Signal
	}
	return ""
}

// where names the shard, when there are several.
func where(a evidence.Attempt, shards int) string {
	if shards < 2 {
		return ""
	}
	return fmt.Sprintf("Shard %d: ", a.Shard)
}

// Slowest are the n cases that took longest, the longest first. Skipped ones took no time.
func Slowest(s evidence.Suite, n int) []evidence.Case {
	var all []evidence.Case
	for _, c := range s.Cases {
		if c.Seconds > 0 && c.Status != evidence.Skipped {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b evidence.Case) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return all[:min(max(n, 0), len(all))]
}
