package result

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// MaxHistory limits a history's JSON, in bytes.
const MaxHistory = 4 << 20

// flaky is the status in evidence.Entry.Cases of a case that failed before it passed.
const flaky = "flaky"

// Entry returns the history entry for a suite's result in a run of a commit. Of several cases with the same ID, a failed one counts.
func Entry(run, sha string, s evidence.Suite) evidence.Entry {
	e := evidence.Entry{Run: run, SHA: sha, Outcome: s.Outcome, Totals: s.Totals}
	if s.FinishedAt != nil {
		e.FinishedAt = *s.FinishedAt
		if s.StartedAt != nil {
			e.Seconds = s.FinishedAt.Sub(*s.StartedAt).Seconds()
		}
	}
	if len(s.Cases) > 0 {
		if e.Cases = endings(s.Cases, false); e.Cases == nil {
			e.Cases = endings(s.Cases, true)
		}
	}
	return e
}

// endings maps IDs to statuses, of all cases or of the failed ones. It returns nil if the result is too large for a history: names may
// be long, and a suite may have hundreds of thousands of cases.
func endings(cases []evidence.Case, badAlone bool) map[string]string {
	all := map[string]string{}
	size := 0
	for _, c := range cases {
		if badAlone && !c.Status.Bad() {
			continue
		}
		id := c.ID()
		before, there := all[id]
		if !there {
			if size += len(id); size > MaxHistory {
				return nil
			}
		}
		all[id] = ending(before, c)
	}
	return all
}

// ending combines a case's status with that of an earlier case with the same ID.
func ending(before string, c evidence.Case) string {
	switch {
	case isBad(before):
		return before
	case c.Flaky && !c.Status.Bad():
		return flaky
	case before != flaky || c.Status.Bad():
		return string(c.Status)
	}
	return before
}

func isBad(ending string) bool { return evidence.Status(ending).Bad() }

func hasPassed(ending string) bool { return ending == flaky || ending == string(evidence.Passed) }

// Compare sets the changes since the previous run in the history that has cases. It sets nothing without such a run, or if the suite
// itself has no cases.
func Compare(s *evidence.Suite, h *evidence.History, run string) {
	s.Compared = nil
	before := previous(h, run)
	if before == nil || len(s.Cases) == 0 {
		return
	}
	c := &evidence.Comparison{Run: before.Run, SHA: before.SHA}
	now := map[evidence.Identity]string{}
	for _, one := range s.Cases {
		key := one.Identity()
		now[key] = ending(now[key], one)
	}
	for _, one := range s.Cases {
		id, key := one.ID(), one.Identity()
		ending, there := now[key]
		delete(now, key) // Report each ID once.
		switch {
		case !there:
		case isBad(ending) && !isBad(before.Cases[id]):
			c.NewlyFailing = append(c.NewlyFailing, id)
		case hasPassed(ending) && isBad(before.Cases[id]):
			c.NewlyFixed = append(c.NewlyFixed, id)
		}
	}
	s.Compared = c
}

// previous returns the entry with cases that was recorded last before the run's own entry, or last of all if the run has none yet.
func previous(h *evidence.History, run string) *evidence.Entry {
	if h == nil {
		return nil
	}
	own := slices.IndexFunc(h.Runs, func(e evidence.Entry) bool { return e.Run == run })
	for i := own + 1; i < len(h.Runs); i++ {
		if len(h.Runs[i].Cases) > 0 {
			return &h.Runs[i]
		}
	}
	return nil
}

// usualRuns is the number of runs whose times count as usual.
const usualRuns = 9

// Usual returns the medians of how long the last runs of a suite took, and of how long it took until the suite began; 0 if that is not known.
func Usual(h *evidence.History) (suite, setup time.Duration) {
	if h == nil {
		return 0, 0
	}
	last := h.Runs[:min(len(h.Runs), usualRuns)]
	return median(last, func(e evidence.Entry) float64 { return e.Seconds }), median(last, func(e evidence.Entry) float64 { return e.Setup })
}

// median returns the median of what is known of the entries, rounded to seconds.
func median(entries []evidence.Entry, seconds func(evidence.Entry) float64) time.Duration {
	var known []float64
	for _, e := range entries {
		if s := seconds(e); s > 0 {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return max(time.Second, time.Duration(known[len(known)/2]*float64(time.Second)).Round(time.Second))
}

// Record returns the history with an added entry. New entries come first: they are ordered by arrival, not by time, because clocks in
// stacks may be wrong. An existing entry of the same run is replaced in place, so that recording is idempotent. Old entries lose their
// cases if the history is too large, and are dropped beyond the maximum length. h may be nil and is not modified.
func Record(h *evidence.History, repository, branch, suite string, e evidence.Entry) evidence.History {
	out := evidence.History{SchemaVersion: evidence.SchemaVersion, Repository: repository, Branch: branch, Suite: suite}
	if h != nil {
		out.Runs = slices.Clone(h.Runs)
	}
	if own := slices.IndexFunc(out.Runs, func(other evidence.Entry) bool { return other.Run == e.Run }); own >= 0 {
		out.Runs[own] = e
	} else {
		out.Runs = slices.Insert(out.Runs, 0, e)
	}
	out.Runs = out.Runs[:min(len(out.Runs), evidence.HistoryLength)]
	enforceLimit(&out)
	return out
}

// enforceLimit keeps a history's JSON within MaxHistory. As a last resort, the newest entry keeps only its failed cases, or none.
func enforceLimit(h *evidence.History) {
	whole := size(h)
	for i := len(h.Runs) - 1; i >= 0 && whole > MaxHistory; i-- {
		e := &h.Runs[i]
		before := size(e)
		if i > 0 {
			e.Cases = nil
		} else {
			e.Cases = onlyBad(e.Cases)
		}
		whole += size(e) - before
	}
	if whole > MaxHistory {
		h.Runs[0].Cases = nil
	}
}

func onlyBad(endings map[string]string) map[string]string {
	some := map[string]string{}
	for id, ending := range endings {
		if isBad(ending) {
			some[id] = ending
		}
	}
	return some
}

// size returns the length of the JSON, in bytes. Encoding a history never fails.
func size(v any) int {
	data, _ := json.Marshal(v)
	return len(data)
}
