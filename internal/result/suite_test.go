package result

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

var start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// attempt is one that ran from second from to second to.
func attempt(shard, number, exit int, from, to int) evidence.Attempt {
	return evidence.Attempt{
		AttemptKey: key(shard, number), ExitCode: exit,
		StartedAt: start.Add(time.Duration(from) * time.Second), FinishedAt: start.Add(time.Duration(to) * time.Second),
	}
}

func key(shard, number int) evidence.AttemptKey {
	return evidence.AttemptKey{Suite: "api", Shard: shard, Number: number}
}

func test(name string, status evidence.Status) evidence.Case {
	c := evidence.Case{Class: "k", Name: name, Status: status}
	if status.Bad() {
		c.File, c.Line, c.Message, c.Detail, c.Output = name+".go", 7, name+" broke", "detail", "output"
	}
	return c
}

// unbounded is all the memory there is.
func unbounded(int64) bool { return true }

// Suite is the result of attempts whose cases are all at hand.
func Suite(name string, attempts []evidence.Attempt, cases map[evidence.AttemptKey][]evidence.Case) evidence.Suite {
	c := Collect(name, attempts, unbounded)
	for key, more := c.Next(); more; key, more = c.Next() {
		for _, one := range cases[key] {
			c.Add(one)
		}
	}
	return c.Suite()
}

// summary returns a suite's cases in short form.
func summary(s evidence.Suite) []string {
	var all []string
	for _, c := range s.Cases {
		line := fmt.Sprintf("%d %s %s", c.Shard, c.Name, c.Status)
		if c.Flaky {
			line += " flaky"
		}
		all = append(all, line)
	}
	return all
}

// TestMerge takes each shard's last attempt, bad cases first, then flaky ones.
func TestMerge(t *testing.T) {
	cases := map[evidence.AttemptKey][]evidence.Case{
		key(0, 1): {test("a", evidence.Passed), test("b", evidence.Failed), test("c", evidence.Error), test("d", evidence.Skipped), test("gone", evidence.Failed)},
		key(0, 2): {test("a", evidence.Passed), test("b", evidence.Passed), test("c", evidence.Failed), test("d", evidence.Skipped)},
		key(1, 1): {test("e", evidence.Passed), test("b", evidence.Passed)},
		key(2, 1): {test("f", evidence.Failed)},
		key(2, 2): {test("f", evidence.Failed)},
		key(2, 3): {test("f", evidence.Passed), test("g", evidence.Error)},
	}
	attempts := []evidence.Attempt{attempt(2, 3, 1, 40, 50), attempt(0, 1, 1, 5, 9), attempt(1, 1, 0, 2, 8), attempt(0, 2, 1, 10, 20), attempt(2, 1, 1, 1, 3), attempt(2, 2, 1, 4, 6)}
	given := slices.Clone(attempts)
	s := Suite("api", attempts, cases)
	want := []string{"0 c failed", "2 g error", "0 b passed flaky", "2 f passed flaky", "0 a passed", "0 d skipped", "1 e passed", "1 b passed"}
	if diff := cmp.Diff(want, summary(s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&evidence.Totals{Tests: 8, Passed: 5, Failed: 1, Errors: 1, Skipped: 1, Flaky: 2}, s.Totals); diff != "" {
		t.Error(diff)
	}
	if s.Name != "api" || s.Shards != 3 || len(s.Attempts) != 6 || s.Attempts[0].AttemptKey != key(0, 1) || s.Attempts[5].AttemptKey != key(2, 3) {
		t.Errorf("%s, %d shards, attempts %v", s.Name, s.Shards, s.Attempts)
	}
	if !s.StartedAt.Equal(start.Add(time.Second)) || !s.FinishedAt.Equal(start.Add(50*time.Second)) {
		t.Errorf("from %s to %s", s.StartedAt, s.FinishedAt)
	}
	if diff := cmp.Diff(given, attempts); diff != "" {
		t.Error("the caller's attempts were changed", diff)
	}
}

// TestFlaky keeps the failure of a flaky case, and distinguishes cases with the same name.
func TestFlaky(t *testing.T) {
	s := Suite("api", []evidence.Attempt{attempt(0, 1, 1, 0, 1), attempt(0, 2, 0, 2, 3)}, map[evidence.AttemptKey][]evidence.Case{
		key(0, 1): {test("a", evidence.Failed), test("same", evidence.Passed), test("same", evidence.Error)},
		key(0, 2): {test("a", evidence.Passed), test("same", evidence.Passed), test("same", evidence.Passed)},
	})
	c := s.Cases[0]
	if c.Name != "a" || !c.Flaky || c.Message != "a broke" || c.Detail != "detail" || c.Output != "output" || c.File != "a.go" || c.Line != 7 {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff([]string{"0 a passed flaky", "0 same passed flaky", "0 same passed"}, summary(s)); diff != "" {
		t.Error(diff)
	}
	own := evidence.Case{Name: "own", Status: evidence.Passed, Flaky: true, Message: "m"}
	earlier := evidence.Case{Name: "own", Status: evidence.Failed, Message: "n"}
	s = Suite("api", []evidence.Attempt{attempt(0, 1, 1, 0, 1), attempt(0, 2, 0, 2, 3)}, map[evidence.AttemptKey][]evidence.Case{key(0, 1): {earlier}, key(0, 2): {own}})
	if c := s.Cases[0]; !c.Flaky || c.Message != "m" || s.Totals.Flaky != 1 {
		t.Errorf("the tool's own flaky case: %+v", c)
	}
	skipped := Suite("api", []evidence.Attempt{attempt(0, 1, 1, 0, 1), attempt(0, 2, 0, 2, 3)}, map[evidence.AttemptKey][]evidence.Case{
		key(0, 1): {test("a", evidence.Failed)}, key(0, 2): {test("a", evidence.Skipped)},
	})
	if skipped.Cases[0].Flaky {
		t.Error("a case that was skipped in the end is flaky")
	}
}

// TestOutcome derives the outcome from exit codes, with a message where they do not explain it.
func TestOutcome(t *testing.T) {
	ended := func(shard, exit int, change func(*evidence.Attempt)) evidence.Attempt {
		a := attempt(shard, 1, exit, 0, 1)
		if change != nil {
			change(&a)
		}
		return a
	}
	late := func(a *evidence.Attempt) { a.TimedOut, a.Signal = true, "SIGKILL" }
	killed := func(a *evidence.Attempt) { a.Signal = "SIGSEGV" }
	for name, test := range map[string]struct {
		attempts []evidence.Attempt
		cases    []evidence.Case // of the first shard
		outcome  string
		exit     int // -1 for none
		message  string
	}{
		"none":                  {nil, nil, "error", -1, "No attempt of the suite has finished"},
		"passed":                {[]evidence.Attempt{ended(0, 0, nil)}, []evidence.Case{test("a", evidence.Passed)}, "passed", 0, ""},
		"passed without JUnit":  {[]evidence.Attempt{ended(0, 0, nil)}, nil, "passed", 0, ""},
		"failed":                {[]evidence.Attempt{ended(0, 1, nil)}, []evidence.Case{test("a", evidence.Failed)}, "failed", 1, ""},
		"failed without JUnit":  {[]evidence.Attempt{ended(0, 3, nil)}, nil, "failed", 3, ""},
		"no case failed":        {[]evidence.Attempt{ended(0, 3, nil)}, []evidence.Case{test("a", evidence.Passed)}, "failed", 3, "The tests ended with exit code 3, but no test case failed"},
		"a bad case, exit 0":    {[]evidence.Attempt{ended(0, 0, nil)}, []evidence.Case{test("a", evidence.Error)}, "passed", 0, ""},
		"first bad exit code":   {[]evidence.Attempt{ended(0, 0, nil), ended(1, 4, nil), ended(2, 5, nil), ended(3, 0, nil)}, nil, "failed", 4, ""},
		"killed":                {[]evidence.Attempt{ended(0, 139, killed)}, nil, "failed", 139, "The tests were ended by SIGSEGV"},
		"a shard killed":        {[]evidence.Attempt{ended(0, 0, nil), ended(1, 139, killed)}, nil, "failed", 139, "Shard 1: The tests were ended by SIGSEGV"},
		"late":                  {[]evidence.Attempt{ended(0, 137, late)}, nil, "error", 137, "The tests reached their time limit"},
		"late, exit 0":          {[]evidence.Attempt{ended(0, 0, late)}, nil, "error", 0, "The tests reached their time limit"},
		"late with a bad case":  {[]evidence.Attempt{ended(0, 137, late)}, []evidence.Case{test("a", evidence.Failed)}, "failed", 137, "The tests reached their time limit"},
		"late beside a failure": {[]evidence.Attempt{ended(0, 137, late), ended(1, 1, nil)}, nil, "failed", 137, "Shard 0: The tests reached their time limit"},
		"not started":           {[]evidence.Attempt{ended(0, -1, nil)}, nil, "error", -1, "The test process could not be started"},
		"one not started":       {[]evidence.Attempt{ended(0, -1, nil), ended(1, 0, nil), ended(2, -1, nil)}, nil, "error", 0, "Shard 0: The test process could not be started; Shard 2: The test process could not be started"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Suite("api", test.attempts, map[evidence.AttemptKey][]evidence.Case{key(0, 1): test.cases})
			exit := -1
			if s.ExitCode != nil {
				exit = int(*s.ExitCode)
			}
			if s.Outcome != test.outcome || exit != test.exit || s.Message != test.message {
				t.Errorf("%s, exit code %d, %q; want %s, %d, %q", s.Outcome, exit, s.Message, test.outcome, test.exit, test.message)
			}
			if problems := Problems(s); (len(problems) > 0) != (name == "a bad case, exit 0") {
				t.Errorf("problems %q", problems)
			}
			if (s.Totals == nil) != (len(test.cases) == 0) {
				t.Errorf("totals %v", s.Totals)
			}
		})
	}
}

// TestDisagreement is a problem of the attempt: the exit code is 0, and cases are bad.
func TestDisagreement(t *testing.T) {
	attempts := []evidence.Attempt{attempt(0, 1, 0, 0, 1), attempt(1, 1, 1, 0, 1), attempt(2, 1, 0, 0, 1)}
	attempts[0].Problems = append(make([]string, 0, 4), "p")
	cases := map[evidence.AttemptKey][]evidence.Case{
		key(0, 1): {test("a", evidence.Failed), test("b", evidence.Error)}, key(1, 1): {test("c", evidence.Failed)}, key(2, 1): {test("d", evidence.Failed)},
	}
	for range 2 {
		s := Suite("api", attempts, cases)
		want := [][]string{{"p", "The exit code is 0, but the test reports have 2 failing test cases"}, nil, {"The exit code is 0, but the test reports have 1 failing test case"}}
		for i, a := range s.Attempts {
			if diff := cmp.Diff(want[i], a.Problems); diff != "" {
				t.Error(diff)
			}
		}
		if diff := cmp.Diff([]string{"p", want[0][1], want[2][0]}, Problems(s)); diff != "" {
			t.Error(diff)
		}
	}
	if len(attempts[0].Problems) != 1 || attempts[0].Problems[:2][1] != "" {
		t.Error("the caller's problems were changed")
	}
}

// TestUsage adds up what ran side by side, and takes the most of what ran one after the other.
func TestUsage(t *testing.T) {
	used := func(a evidence.Attempt, cpu, peak float64, memory int64, source string) evidence.Attempt {
		a.Usage = &evidence.Usage{CPUSeconds: cpu, CPUPeak: peak, MemoryPeak: memory, Source: source}
		return a
	}
	s := Suite("api", []evidence.Attempt{
		used(attempt(0, 1, 1, 0, 1), 1, 2, 100, "cgroup"), used(attempt(0, 2, 1, 0, 1), 2, 1, 300, "cgroup"), attempt(0, 3, 0, 0, 1),
		used(attempt(1, 1, 0, 0, 1), 4, 0.5, 10, "cgroup"),
	}, nil)
	if diff := cmp.Diff(&evidence.Usage{CPUSeconds: 7, CPUPeak: 2.5, MemoryPeak: 310, Source: "cgroup"}, s.Usage); diff != "" {
		t.Error(diff)
	}
	s = Suite("api", []evidence.Attempt{used(attempt(0, 1, 1, 0, 1), 1, 0, 0, "metrics"), used(attempt(1, 1, 1, 0, 1), 1, 0, 0, "cgroup")}, nil)
	if s.Usage.Source != "metrics" {
		t.Errorf("source %s", s.Usage.Source)
	}
	if s := Suite("api", []evidence.Attempt{attempt(0, 1, 0, 0, 1)}, nil); s.Usage != nil {
		t.Errorf("usage %v of nothing", s.Usage)
	}
}

// TestNoTimes leaves out times that are not known.
func TestNoTimes(t *testing.T) {
	s := Suite("api", []evidence.Attempt{{AttemptKey: key(0, 1), ExitCode: -1}}, nil)
	if s.StartedAt != nil || s.FinishedAt != nil {
		t.Errorf("from %v to %v", s.StartedAt, s.FinishedAt)
	}
	s = Suite("api", []evidence.Attempt{{AttemptKey: key(0, 1)}, attempt(1, 1, 0, 3, 4), attempt(2, 1, 0, 2, 3)}, nil)
	if !s.StartedAt.Equal(start.Add(2*time.Second)) || !s.FinishedAt.Equal(start.Add(4*time.Second)) {
		t.Errorf("from %v to %v", s.StartedAt, s.FinishedAt)
	}
}
