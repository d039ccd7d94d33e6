package result

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// entry is that of a run which ended at a second.
func entry(run string, second int, cases map[string]string) evidence.Entry {
	return evidence.Entry{Run: run, SHA: "sha-" + run, Outcome: "passed", FinishedAt: start.Add(time.Duration(second) * time.Second), Cases: cases}
}

func runs(h evidence.History) string {
	var all []string
	for _, e := range h.Runs {
		all = append(all, e.Run)
	}
	return strings.Join(all, " ")
}

func TestEntry(t *testing.T) {
	from, to := start, start.Add(90*time.Second)
	cases := []evidence.Case{
		test("a", evidence.Passed), test("b", evidence.Failed), test("c", evidence.Error), test("d", evidence.Skipped),
		{Class: "k", Name: "e", Status: evidence.Passed, Flaky: true},
		test("bad first", evidence.Failed), test("bad first", evidence.Passed),
		test("bad last", evidence.Passed), test("bad last", evidence.Error),
		{Name: "flaky first", Status: evidence.Passed, Flaky: true}, {Name: "flaky first", Status: evidence.Passed},
		{Name: "flaky then bad", Status: evidence.Passed, Flaky: true}, {Name: "flaky then bad", Status: evidence.Failed},
		{Name: "bad then flaky", Status: evidence.Failed}, {Name: "bad then flaky", Status: evidence.Passed, Flaky: true},
	}
	s := evidence.Suite{Outcome: "failed", StartedAt: &from, FinishedAt: &to, Cases: cases, Totals: &evidence.Totals{Tests: 15}}
	want := evidence.Entry{
		Run: "r1", SHA: "abc", Outcome: "failed", FinishedAt: to, Seconds: 90, Totals: &evidence.Totals{Tests: 15},
		Cases: map[string]string{
			"k › a": "passed", "k › b": "failed", "k › c": "error", "k › d": "skipped", "k › e": "flaky",
			"k › bad first": "failed", "k › bad last": "error", "flaky first": "flaky", "flaky then bad": "failed", "bad then flaky": "failed",
		},
	}
	if diff := cmp.Diff(want, Entry("r1", "abc", s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(evidence.Entry{Run: "r1", FinishedAt: to}, Entry("r1", "", evidence.Suite{FinishedAt: &to})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(evidence.Entry{Run: "r1"}, Entry("r1", "", evidence.Suite{StartedAt: &from})); diff != "" {
		t.Error(diff)
	}
}

// What a history has no room for is not made: the entry keeps the bad cases alone, or none.
func TestEntryOfManyCases(t *testing.T) {
	for name, tc := range map[string]struct{ passed, failed, want int }{
		"few": {1000, 1000, 2000}, "many that passed": {10_000, 1000, 1000}, "many that failed": {0, 10_000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var s evidence.Suite
			for i := range tc.passed + tc.failed {
				s.Cases = append(s.Cases, evidence.Case{Name: fmt.Sprint(i, strings.Repeat("x", 1000)), Status: evidence.Passed})
				if i >= tc.passed {
					s.Cases[i].Status = evidence.Failed
				}
			}
			e := Entry("r1", "abc", s)
			h := Record(nil, "acme/shop", "main", "e2e", e)
			if len(e.Cases) != tc.want || jsonSize(t, h) > MaxHistory || len(h.Runs[0].Cases) != tc.want {
				t.Errorf("%d cases, %d of them in the history", len(e.Cases), len(h.Runs[0].Cases))
			}
		})
	}
}

// TestCompare covers every way from then to now.
func TestCompare(t *testing.T) {
	then := []string{"", "passed", "failed", "error", "skipped", "flaky"}
	now := map[string]evidence.Case{
		"passed": {Status: evidence.Passed}, "failed": {Status: evidence.Failed}, "error": {Status: evidence.Error},
		"skipped": {Status: evidence.Skipped}, "flaky": {Status: evidence.Passed, Flaky: true},
	}
	failing := map[string]bool{"failed": true, "error": true}
	passing := map[string]bool{"passed": true, "flaky": true}
	for _, before := range then {
		for after, c := range now {
			c.Name = "x"
			s := evidence.Suite{Cases: []evidence.Case{c}}
			h := &evidence.History{Runs: []evidence.Entry{entry("r1", 1, map[string]string{"other": "passed"})}}
			if before != "" {
				h.Runs[0].Cases["x"] = before
			}
			Compare(&s, h, "r2")
			want := &evidence.Comparison{Run: "r1", SHA: "sha-r1"}
			if failing[after] && !failing[before] {
				want.NewlyFailing = []string{"x"}
			}
			if passing[after] && failing[before] {
				want.NewlyFixed = []string{"x"}
			}
			if diff := cmp.Diff(want, s.Compared); diff != "" {
				t.Errorf("%q then, %s now: %s", before, after, diff)
			}
		}
	}
}

// TestCompareWith chooses the entry, and keeps the order of the cases.
func TestCompareWith(t *testing.T) {
	cases := map[string]string{"k › a": "passed"}
	h := &evidence.History{Runs: []evidence.Entry{
		entry("later", 3, cases), entry("this", 9, cases), entry("empty", 8, nil), entry("new", 1, cases), entry("of 2099", 1_000_000, cases),
	}}
	s := evidence.Suite{Cases: []evidence.Case{test("b", evidence.Failed), test("a", evidence.Failed), test("b", evidence.Failed)}}
	Compare(&s, h, "this")
	if diff := cmp.Diff(&evidence.Comparison{Run: "new", SHA: "sha-new", NewlyFailing: []string{"k › b", "k › a"}}, s.Compared); diff != "" {
		t.Error(diff)
	}
	if Compare(&s, h, "that is not in it yet"); s.Compared == nil || s.Compared.Run != "later" {
		t.Errorf("a run that is not in the history was compared with %+v", s.Compared)
	}
	for name, h := range map[string]*evidence.History{"no history": nil, "empty": {}, "this run alone": {Runs: h.Runs[1:3]}} {
		s.Compared = &evidence.Comparison{Run: "stale"}
		if Compare(&s, h, "this"); s.Compared != nil {
			t.Errorf("%s: compared with %s", name, s.Compared.Run)
		}
	}
	none := evidence.Suite{}
	if Compare(&none, h, "this"); none.Compared != nil {
		t.Error("a suite without cases was compared")
	}
}

func TestRecord(t *testing.T) {
	h := Record(nil, "acme/shop", "main", "api", entry("r1", 1, nil))
	want := evidence.History{SchemaVersion: evidence.SchemaVersion, Repository: "acme/shop", Branch: "main", Suite: "api", Runs: []evidence.Entry{entry("r1", 1, nil)}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	before := h
	h = Record(&h, "acme/shop", "main", "api", entry("r3", 3, nil))
	h = Record(&h, "acme/shop", "main", "api", entry("r2", 2, nil))
	if runs(h) != "r2 r3 r1" || runs(before) != "r1" {
		t.Errorf("%s, from %s", runs(h), runs(before))
	}
	before = h
	again := entry("r3", 4, map[string]string{"x": "failed"})
	h = Record(&h, "acme/shop", "main", "api", again)
	if runs(h) != "r2 r3 r1" || h.Runs[1].Cases["x"] != "failed" || before.Runs[1].Cases != nil {
		t.Errorf("%s %v, from %v", runs(h), h.Runs[1], before.Runs[1])
	}
	same := Record(&h, "acme/shop", "main", "api", again)
	if diff := cmp.Diff(h, same); diff != "" {
		t.Error("recorded twice", diff)
	}
	for i := range evidence.HistoryLength + 5 {
		h = Record(&h, "acme/shop", "main", "api", entry(fmt.Sprint("n", i), 100-i, nil))
	}
	if len(h.Runs) != evidence.HistoryLength || h.Runs[0].Run != "n54" || h.Runs[49].Run != "n5" {
		t.Errorf("%d runs: %s", len(h.Runs), runs(h))
	}
}

// A stack's clock may be wrong, and an entry of a time to come may be in a history from before times were held within bounds.
func TestAnEntryOfATimeToComeIsNotFirstForEver(t *testing.T) {
	poison := entry("r2099", 0, map[string]string{"x": "passed"})
	poison.FinishedAt = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	h := evidence.History{Runs: []evidence.Entry{poison, entry("r1", 1, map[string]string{"x": "failed"})}}
	h = Record(&h, "acme/shop", "main", "api", entry("r2", 2, map[string]string{"x": "failed"}))
	s := evidence.Suite{Cases: []evidence.Case{{Name: "x", Status: evidence.Failed}}}
	if Compare(&s, &h, "r3"); s.Compared == nil || s.Compared.Run != "r2" || len(s.Compared.NewlyFailing) > 0 {
		t.Errorf("compared: %+v", s.Compared)
	}
	for i := range evidence.HistoryLength {
		h = Record(&h, "acme/shop", "main", "api", entry(fmt.Sprint("n", i), i, nil))
	}
	if strings.Contains(runs(h), "r2099") {
		t.Errorf("it does not drop out: %s", runs(h))
	}
}

// TestRecordBytes keeps a history of large suites within its bound, the newest runs whole.
func TestRecordBytes(t *testing.T) {
	many := func(n int, ending string) map[string]string {
		cases := map[string]string{"bad": "failed"}
		for i := range n {
			cases[fmt.Sprintf("%s %06d", strings.Repeat("a long name ", 100), i)] = ending
		}
		return cases
	}
	var h evidence.History
	for i := range 12 {
		h = Record(&h, "acme/shop", "main", "api", entry(fmt.Sprint("r", i), i, many(450, "passed")))
	}
	with := 0
	for i, e := range h.Runs {
		if len(e.Cases) > 0 {
			if with++; with != i+1 {
				t.Errorf("%s has cases, a newer one has none", e.Run)
			}
		}
	}
	if n := jsonSize(t, h); n > MaxHistory || n < MaxHistory*4/5 || len(h.Runs) != 12 || with == 12 {
		t.Errorf("%d bytes, %d runs, %d with cases", n, len(h.Runs), with)
	}
	h = Record(&h, "acme/shop", "main", "api", entry("huge", 99, many(4000, "passed")))
	if n := jsonSize(t, h); n > MaxHistory || len(h.Runs) != 13 {
		t.Errorf("%d bytes, %d runs", n, len(h.Runs))
	}
	if diff := cmp.Diff(map[string]string{"bad": "failed"}, h.Runs[0].Cases); diff != "" {
		t.Error(diff)
	}
	h = Record(nil, "acme/shop", "main", "api", entry("all bad", 99, many(4000, "error")))
	if n := jsonSize(t, h); n > MaxHistory || h.Runs[0].Cases != nil {
		t.Errorf("%d bytes, %d cases", n, len(h.Runs[0].Cases))
	}
}

// TestRecordExactBytes keeps what just fits.
func TestRecordExactBytes(t *testing.T) {
	record := func(cases map[string]string) evidence.History {
		return Record(nil, "acme/shop", "main", "api", entry("r", 1, cases))
	}
	for _, ending := range []string{"passed", "failed"} {
		fits := strings.Repeat("x", MaxHistory-jsonSize(t, record(map[string]string{"": ending})))
		if h := record(map[string]string{fits: ending}); len(h.Runs[0].Cases) != 1 || jsonSize(t, h) != MaxHistory {
			t.Errorf("%s: %d cases, %d bytes", ending, len(h.Runs[0].Cases), jsonSize(t, h))
		}
		if h := record(map[string]string{fits: "failed", "another": "passed"}); ending == "failed" && len(h.Runs[0].Cases) != 1 {
			t.Errorf("%d cases, want the bad one", len(h.Runs[0].Cases))
		}
		if h := record(map[string]string{fits + "x": ending}); len(h.Runs[0].Cases) != 0 {
			t.Errorf("%s: a case that does not fit was kept", ending)
		}
	}
}

func jsonSize(t *testing.T, h evidence.History) int {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

// TestRecordAnyTimes records entries of any times, some twice: each is there once, in the order in which they came first.
func TestRecordAnyTimes(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		var entries []evidence.Entry
		var h evidence.History
		for i := range 1 + chance.IntN(70) {
			entries = append(entries, entry(fmt.Sprint("r", i), chance.IntN(40), nil))
			h = Record(&h, "o/n", "b", "s", entries[i])
			again := entries[max(0, i-chance.IntN(evidence.HistoryLength))]
			h = Record(&h, "o/n", "b", "s", again)
		}
		slices.Reverse(entries)
		if diff := cmp.Diff(entries[:min(len(entries), evidence.HistoryLength)], h.Runs); diff != "" {
			t.Fatal(diff)
		}
	}
}
