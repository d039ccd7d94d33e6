package result

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// maxListed limits each list of files of an attempt, and its problems.
	maxListed = 100
	// earlierSize is the memory of a failed case of an earlier attempt without its texts, countSize that of an ID's count.
	earlierSize = int64(unsafe.Sizeof(evidence.Case{})) + 64
	countSize   = 40
)

// Collection builds a suite's result from completed attempts. Their test cases are added one by one, so that they are never in memory
// all at once. The last attempt of a shard counts, and the test's exit code decides: a test report that contradicts it is a problem of
// that attempt.
type Collection struct {
	suite evidence.Suite
	kept  keeper
	// totals counts the cases of the last attempts; bad counts the failed cases of the open attempt.
	totals evidence.Totals
	bad    int
	// at is the index of the open attempt, -1 before the first.
	at int
	// seen counts the IDs of the open attempt; before holds the failed cases of the shard's earlier attempts. Both are reset for each
	// shard.
	seen      map[evidence.Identity]int
	before    map[occurrence]evidence.Case
	texts     int
	transient int64
	spared    bool
	// lost counts failed cases of earlier attempts that did not fit into memory.
	lost int
}

// occurrence is one of several cases with the same ID, which may come from different reports of an attempt.
type occurrence struct {
	id evidence.Identity
	n  int
}

// Collect starts the result of a suite, within the memory that grow grants.
func Collect(name string, attempts []evidence.Attempt, grow Grow) *Collection {
	c := &Collection{suite: evidence.Suite{Name: name, Attempts: slices.Clone(attempts)}, at: -1}
	c.kept.grow, c.kept.spare = grow, c.spare
	slices.SortStableFunc(c.suite.Attempts, func(a, b evidence.Attempt) int {
		return cmp.Or(a.Shard-b.Shard, a.Number-b.Number)
	})
	for i := range c.suite.Attempts {
		_ = c.kept.hold(&c.suite.Attempts[i]) // a Run has few attempts
	}
	return c
}

// Next opens the next attempt and returns its key; more is false after the last one. Add the cases of each attempt before the next
// call.
func (c *Collection) Next() (key evidence.AttemptKey, more bool) {
	c.close()
	if c.at = min(c.at+1, len(c.suite.Attempts)); c.at == len(c.suite.Attempts) {
		return evidence.AttemptKey{}, false
	}
	return c.suite.Attempts[c.at].AttemptKey, true
}

// Add adds a case of the open attempt.
func (c *Collection) Add(one evidence.Case) {
	one = trim(one)
	a := c.suite.Attempts[c.at]
	last := c.isLast()
	if last && len(c.before) == 0 { // No case can be flaky, and none has to be distinguished from another.
		c.count(one, a.Shard)
		return
	}
	which, ok := c.occurrence(one)
	switch {
	case !ok:
		c.lost++
	case last:
		if earlier, was := c.before[which]; was && one.Status == evidence.Passed {
			one.Flaky = true
			if one.Message == "" {
				// Readers want to see the earlier failure.
				one.File, one.Line = earlier.File, earlier.Line
				setText(&one, earlier)
			}
		}
	case one.Status.Bad():
		c.remember(which, one)
	}
	if last {
		c.count(one, a.Shard)
	}
}

// Problem adds a problem to the open attempt.
func (c *Collection) Problem(sentence string) {
	a := &c.suite.Attempts[c.at]
	if sentence = truncate(sentence, evidence.MaxMessage); len(a.Problems) < maxListed && c.kept.take(int64(len(sentence))+16) {
		a.Problems = append(a.Problems, sentence)
	}
}

// Suite ends the collection and returns the result.
func (c *Collection) Suite() evidence.Suite {
	for more := true; more; {
		_, more = c.Next()
	}
	s := &c.suite
	notes := c.kept.notes()
	if c.lost > 0 {
		notes = append(notes, fmt.Sprintf("%s could not be compared with earlier attempts: the memory for test results (memory.results) is full", text.Plural(c.lost, "test case")))
	}
	if len(s.Attempts) > 0 {
		s.Attempts[0].Problems = append(notes, s.Attempts[0].Problems...)
	}
	s.Cases = c.kept.cases()
	if c.totals.Tests > 0 {
		s.Totals = &c.totals
	}
	var last []evidence.Attempt
	for i := range s.Attempts {
		if i+1 == len(s.Attempts) || s.Attempts[i+1].Shard != s.Attempts[i].Shard {
			last = append(last, s.Attempts[i])
		}
	}
	s.Shards = len(last)
	s.Usage = usage(s.Attempts)
	times(s)
	judge(s, last)
	c.kept.settle()
	return *s
}

// Size returns the memory that was requested for the result, in bytes.
func (c *Collection) Size() int64 { return c.kept.held }

func (c *Collection) isLast() bool {
	return c.at+1 == len(c.suite.Attempts) || c.suite.Attempts[c.at+1].Shard != c.suite.Attempts[c.at].Shard
}

// close ends the open attempt.
func (c *Collection) close() {
	if c.at < 0 || c.at >= len(c.suite.Attempts) {
		return
	}
	a := &c.suite.Attempts[c.at]
	c.kept.free(int64(len(c.seen)) * countSize)
	c.seen = nil
	if !c.isLast() {
		return
	}
	if a.ExitCode == 0 && c.bad > 0 {
		c.Problem(fmt.Sprintf("The exit code is 0, but the test reports have %s", text.Plural(c.bad, "failing test case")))
	}
	c.release(c.transient)
	c.before, c.texts, c.bad, c.spared = nil, 0, 0, false
}

// count adds a case of a shard's last attempt to the result.
func (c *Collection) count(one evidence.Case, shard int) {
	one.Shard = shard
	c.totals.Tests++
	switch one.Status {
	case evidence.Passed:
		c.totals.Passed++
	case evidence.Skipped:
		c.totals.Skipped++
	case evidence.Failed:
		c.totals.Failed++
		c.bad++
	default:
		c.totals.Errors++
		c.bad++
	}
	if one.Flaky {
		c.totals.Flaky++
	}
	c.kept.add(one)
}

// occurrence counts a case's ID within the open attempt. It returns false if there is not enough memory.
func (c *Collection) occurrence(one evidence.Case) (occurrence, bool) {
	id := one.Identity()
	if c.seen[id] == 0 && !c.kept.take(countSize) {
		return occurrence{}, false
	}
	if c.seen == nil {
		c.seen = map[evidence.Identity]int{}
	}
	c.seen[id]++
	return occurrence{id, c.seen[id]}, true
}

// remember keeps a failed case of an attempt that is not the shard's last. If the case turns out to be flaky, its text is needed.
func (c *Collection) remember(which occurrence, one evidence.Case) {
	if earlier, was := c.before[which]; was {
		c.release(earlierSizeOf(earlier))
		if hasText(earlier) {
			c.texts--
		}
	}
	brief := evidence.Case{File: one.File, Line: one.Line}
	if c.texts < evidence.MaxTexts {
		setText(&brief, one)
	} else {
		brief.Message = truncate(one.Message, evidence.MaxBrief)
	}
	if !c.kept.take(earlierSizeOf(brief)) {
		if brief = (evidence.Case{}); !c.kept.take(earlierSizeOf(brief)) {
			c.lost++
			delete(c.before, which)
			return
		}
	}
	c.transient += earlierSizeOf(brief)
	if hasText(brief) {
		c.texts++
	}
	if c.before == nil {
		c.before = map[occurrence]evidence.Case{}
	}
	c.before[which] = brief
}

// spare drops the texts of the shard's earlier failures, but not the fact that the cases failed.
func (c *Collection) spare() {
	if c.spared {
		return
	}
	c.spared = true
	for which, earlier := range c.before {
		c.release(earlierSizeOf(earlier) - earlierSize)
		c.before[which] = evidence.Case{}
	}
}

// release frees memory of the shard's earlier attempts.
func (c *Collection) release(bytes int64) {
	c.kept.free(bytes)
	c.transient -= bytes
}

func earlierSizeOf(c evidence.Case) int64 { return earlierSize + textSize(c) + int64(len(c.File)) }

func hasText(c evidence.Case) bool { return c.Detail != "" || c.Output != "" }

// hold keeps an attempt's own lists or, if they do not fit into memory, only its numbers. It reports whether those fit.
func (k *keeper) hold(a *evidence.Attempt) bool {
	a.JUnit, a.Artifacts = listed(a.JUnit), listed(a.Artifacts)
	problems := a.Problems[:min(len(a.Problems), maxListed)]
	a.Problems = nil
	size := int64(0)
	for _, p := range problems {
		a.Problems = append(a.Problems, truncate(p, evidence.MaxMessage))
		size += int64(len(p)) + 16
	}
	for _, files := range [][]evidence.File{a.JUnit, a.Artifacts} {
		for _, f := range files {
			size += int64(len(f.Path)) + 24
		}
	}
	if !k.take(size) {
		a.JUnit, a.Artifacts, a.Problems = nil, nil, nil
	}
	return k.take(int64(unsafe.Sizeof(*a)) + 64)
}

// listed returns the first files of a list.
func listed(files []evidence.File) []evidence.File {
	if len(files) <= maxListed {
		return files
	}
	return slices.Clone(files[:maxListed])
}
