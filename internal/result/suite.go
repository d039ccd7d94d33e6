// Package result computes one result from all shards and attempts of a suite, and compares it with the suite's history on its branch.
// It is pure.
package result

import (
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// times sets the start of the first attempt and the end of the last one.
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

// usage returns the suite's resource usage, nil if it is unknown. CPU time is the sum over all attempts. Peaks are added over the
// shards, which run in parallel.
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
			// The sum is sampled if one of its values is.
			sum.Source = a.Usage.Source
		}
	}
	if sum == (evidence.Usage{}) {
		return nil
	}
	return &sum
}

// judge sets the outcome, the exit code and the message from the shards' last attempts. A suite has failed if the tests of a shard
// failed. It is in error if the tests of a shard did not finish and none is known to have failed.
func judge(s *evidence.Suite, last []evidence.Attempt) {
	if len(last) == 0 {
		s.Outcome, s.Message = string(v1alpha1.OutcomeError), "No attempt of the suite has finished"
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

// reason returns why an attempt was terminated from outside, or "".
func reason(a evidence.Attempt) string {
	switch {
	case a.ExitCode < 0:
		return "The test process could not be started"
	case a.TimedOut:
		return "The tests reached their time limit"
	case a.Signal != "":
		return "The tests were ended by " + a.Signal
	}
	return ""
}

// where names the shard if there are several.
func where(a evidence.Attempt, shards int) string {
	if shards < 2 {
		return ""
	}
	return fmt.Sprintf("Shard %d: ", a.Shard)
}
