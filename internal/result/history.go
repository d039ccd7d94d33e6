package result

import (
	"encoding/json"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// MaxHistory bounds a history's JSON, in bytes.
const MaxHistory = 4 << 20

// flaky is the word of evidence.Entry.Cases for a case that failed before it passed.
const flaky = "flaky"

// Entry is what a history keeps of a suite's result in a run at a commit. Of several cases with one ID a bad one counts.
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

// endings maps IDs to how the cases, or the bad ones of them, ended. It is nil where that is more than a history holds: names may be long,
// and a suite may have some hundred thousand cases.
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

// ending is how a case ended of which there was one with the same ID before.
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

// Compare sets what changed since the run with cases that arrived last in the history before this one. Without one, and when the suite
// itself has no cases, there is nothing to compare.
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
		delete(now, key) // Each ID once.
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

// previous is the entry with cases that arrived last before a run's own, or of all when the run has none yet.
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

// Record is the history with an entry more, in front: the order is that of arrival and not that of times, which clocks in stacks can
// put anywhere. An entry of the same run is replaced where it is, so that recording it again changes nothing. The oldest drop out, and
// lose their cases before that when the whole is too large. h may be nil and is not changed.
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
	bound(&out)
	return out
}

// bound keeps a history's JSON within MaxHistory. The last resort is that the newest entry keeps its bad cases alone, or none.
func bound(h *evidence.History) {
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

// size is that of the JSON, in bytes. A history has nothing in it that JSON cannot say.
func size(v any) int {
	data, _ := json.Marshal(v)
	return len(data)
}
