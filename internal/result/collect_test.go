package result

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// purse gives out memory up to a limit.
type purse struct{ limit, given, most int64 }

func (p *purse) grow(bytes int64) bool {
	if p.given+bytes > p.limit {
		return false
	}
	p.given += bytes
	p.most = max(p.most, p.given)
	return true
}

// trace is a failing case with a long text.
func trace(name string) evidence.Case {
	c := test(name, evidence.Failed)
	c.Message, c.Detail, c.Output = strings.Repeat("m", 1000), strings.Repeat("d", 12<<10), strings.Repeat("o", 3<<10)
	return c
}

// collect makes a suite of shards, each tried several times, of cases that make makes.
func collect(shards, tries, cases int, grow Grow, make func(shard, number, i int) evidence.Case) (*Collection, evidence.Suite) {
	var attempts []evidence.Attempt
	for shard := range shards {
		for number := range tries {
			attempts = append(attempts, attempt(shard, number+1, 1, 0, 1))
		}
	}
	c := Collect("api", attempts, grow)
	for key, more := c.Next(); more; key, more = c.Next() {
		for i := range cases {
			c.Add(make(key.Shard, key.Number, i))
		}
	}
	return c, c.Suite()
}

// heap is what lives.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The first failing cases of a suite keep their texts, the others the beginning of their message.
func TestTextsOfTheFirst(t *testing.T) {
	_, s := collect(3, 1, 60, unbounded, func(shard, _, i int) evidence.Case { return trace(fmt.Sprint(shard, "-", i)) })
	for i, c := range s.Cases {
		if whole := textSize(c) == 16<<10-384+1000-640 || textSize(c) > 15<<10; whole != (i < evidence.MaxTexts) || len(c.Message) < evidence.MaxBrief {
			t.Fatalf("case %d has %d bytes of text, %d of message", i, textSize(c), len(c.Message))
		}
	}
	want := []string{"The texts of 80 failing tests are shortened: those of the first 100 are kept. The test reports in the record have all of them"}
	if got := Problems(s); !slices.Equal(got, want) {
		t.Errorf("problems %q", got)
	}
	if s.Totals.Failed != 180 || len(s.Cases) != 180 {
		t.Errorf("totals %+v of %d cases", s.Totals, len(s.Cases))
	}
}

// Flaky cases have the text of what they failed with, unless those that failed in the end need the room.
func TestTextsOfFlakyCases(t *testing.T) {
	flakyThenBad := func(shard, number, i int) evidence.Case {
		c := trace(fmt.Sprint(shard, "-", i))
		if shard == 0 && number == 2 {
			c = test(c.Name, evidence.Passed)
		}
		return c
	}
	_, s := collect(2, 2, 80, unbounded, flakyThenBad)
	texts := map[bool]int{}
	for _, c := range s.Cases {
		if c.Detail != "" {
			texts[c.Flaky]++
		}
		if c.Message == "" {
			t.Errorf("%s has no message", c.Name)
		}
	}
	if diff := cmp.Diff(map[bool]int{false: 80, true: 20}, texts); diff != "" || s.Totals.Flaky != 80 || s.Totals.Failed != 80 {
		t.Errorf("texts by flaky (-want +got):\n%s%+v", diff, s.Totals)
	}
}

// Today's honest suite whose database did not come up: 24 attempts of 1,000 failing tests with 15 KiB of text each.
func TestMemoryOfAnHonestSuite(t *testing.T) {
	p := &purse{limit: 32 << 20}
	before := heap()
	c, s := collect(8, 3, 1000, p.grow, func(shard, _, i int) evidence.Case { return trace(fmt.Sprintf("%d-%d", shard, i)) })
	grown := heap() - before
	t.Logf("the heap grew by %d KiB, accounted are %d KiB, at most %d KiB", grown>>10, c.Size()>>10, p.most>>10)
	if len(s.Cases) != 8000 || s.Totals.Failed != 8000 || p.given != c.Size() {
		t.Errorf("%d cases, %+v, %d bytes given for %d", len(s.Cases), s.Totals, p.given, c.Size())
	}
	if p.most > 16<<20 || grown > c.Size()*5/4 {
		t.Errorf("the heap grew by %d bytes, accounted are %d, at most %d", grown, c.Size(), p.most)
	}
	runtime.KeepAlive(s)
}

// However much comes, memory stays within what was given, the totals are right, and what is missing is noted.
func TestMemoryOfHostileSuites(t *testing.T) {
	long := strings.Repeat("x", 4<<10)
	for name, c := range map[string]struct {
		make func(shard, number, i int) evidence.Case
		want string
	}{
		"long texts": {
			func(shard, _, i int) evidence.Case {
				return evidence.Case{Name: fmt.Sprint(i), Status: evidence.Failed, Message: long[:i%2000], Detail: strings.Repeat("d", 20<<10), Output: strings.Repeat("o", 9<<10)}
			}, "The texts of ",
		},
		"long messages": {
			func(shard, _, i int) evidence.Case {
				return evidence.Case{Name: fmt.Sprint(shard, i), Status: evidence.Failed, Message: long}
			}, "The texts of ",
		},
		"long names": {
			func(shard, _, i int) evidence.Case {
				return evidence.Case{Class: fmt.Sprint("c", i, long), Name: fmt.Sprint("n", i, long), File: fmt.Sprint("f", i, long), Status: evidence.Error}
			}, "test cases were counted but left out",
		},
		"many that passed": {
			func(shard, _, i int) evidence.Case {
				return evidence.Case{Name: fmt.Sprintf("%d-%d-%s", shard, i, long[:500]), Status: evidence.Passed}
			}, "test cases were counted but left out",
		},
		"one name": {
			func(shard, number, _ int) evidence.Case {
				return evidence.Case{Name: "same", Status: map[bool]evidence.Status{true: evidence.Failed, false: evidence.Passed}[number == 1]}
			}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &purse{limit: 1 << 20}
			before := heap()
			col, s := collect(4, 2, 2000, p.grow, c.make)
			grown := heap() - before
			t.Logf("the heap grew by %d KiB, accounted are %d KiB; %q", grown>>10, col.Size()>>10, Problems(s))
			if s.Totals.Tests != 8000 || p.most > p.limit || grown > p.limit*5/4 {
				t.Errorf("%+v, at most %d bytes, the heap grew by %d", s.Totals, p.most, grown)
			}
			if !slices.ContainsFunc(Problems(s), func(p string) bool { return strings.Contains(p, c.want) }) && c.want != "" {
				t.Errorf("problems %q", Problems(s))
			}
			if p.given != col.Size() {
				t.Errorf("%d bytes are out for a result of %d", p.given, col.Size())
			}
			runtime.KeepAlive(s)
		})
	}
}

// The names of failing tests take the room of texts.
func TestNamesComeBeforeTexts(t *testing.T) {
	p := &purse{limit: 2 << 20}
	_, s := collect(1, 1, 3000, p.grow, func(_, _, i int) evidence.Case { return trace(fmt.Sprint(i)) })
	texts := 0
	for _, c := range s.Cases {
		if c.Detail != "" {
			texts++
		}
	}
	if len(s.Cases) != 3000 || texts == 0 || texts == evidence.MaxTexts || s.Cases[0].Detail == "" || len(Problems(s)) != 2 {
		t.Errorf("%d cases, %d with texts; %q", len(s.Cases), texts, Problems(s))
	}
}

// Cases that failed take the room of those that passed.
func TestFailingCasesComeFirst(t *testing.T) {
	p := &purse{limit: 256 << 10}
	_, s := collect(1, 1, 2000, p.grow, func(_, _, i int) evidence.Case {
		return evidence.Case{Name: fmt.Sprint(i), Status: map[bool]evidence.Status{true: evidence.Failed, false: evidence.Passed}[i >= 1990]}
	})
	bad := 0
	for _, c := range s.Cases {
		if c.Status.Bad() {
			bad++
		}
	}
	if bad != 10 || s.Totals.Tests != 2000 || s.Totals.Failed != 10 {
		t.Errorf("%d of 10 failing cases are kept; %+v", bad, s.Totals)
	}
}

// What is read from a record is what was written, within the same limits.
func TestRead(t *testing.T) {
	_, want := collect(2, 2, 150, unbounded, func(shard, number, i int) evidence.Case {
		switch c := trace(fmt.Sprint(shard, "-", i)); {
		case i%10 == 0:
			return test(c.Name, evidence.Passed)
		case i%10 == 1 && number == 2:
			return test(c.Name, evidence.Passed)
		default:
			return c
		}
	})
	want.Compared = &evidence.Comparison{Run: "shop-0", NewlyFailing: []string{"k › a"}}
	want.Attempts[0].Artifacts = []evidence.File{{Path: "shot.png", Size: 3}}
	var text strings.Builder
	if err := evidence.WriteResult(&text, evidence.Result{SchemaVersion: 1, Run: "shop-1", Suites: []evidence.Suite{want, {Name: "unit", Outcome: "error"}},
		Images: []evidence.Image{{Name: "web", Log: "no space"}}, Services: []evidence.Service{{Name: "db", Message: "crashed"}}}); err != nil {
		t.Fatal(err)
	}
	p := &purse{limit: 64 << 20}
	record, err := Read(strings.NewReader(text.String()), p.grow)
	got := record.Suites
	if err != nil || len(got) != 2 {
		t.Fatalf("%d suites, %v", len(got), err)
	}
	if len(record.Images) != 1 || record.Images[0].Log != "no space" || len(record.Services) != 1 || record.Result().Suites[1].Name != "unit" {
		t.Errorf("images %v, services %v", record.Images, record.Services)
	}
	if diff := cmp.Diff(want, got[0].Suite); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p.given != got[0].Size+got[1].Size {
		t.Errorf("%d bytes are out for results of %d and %d", p.given, got[0].Size, got[1].Size)
	}
	for _, broken := range []string{"", "{", text.String()[:text.Len()/2], `{"schemaVersion":2}`, `{"suites":[{"name":1}]}`, `{"suites":[{"name":"a"},{"cases":[7]}]}`} {
		p := &purse{limit: 64 << 20}
		if all, err := Read(strings.NewReader(broken), p.grow); err == nil || all.Suites != nil || p.given != 0 {
			t.Errorf("%.20q: %d suites, %v, %d bytes are out", broken, len(all.Suites), err, p.given)
		}
	}
}

// repeat reads a text again and again.
type repeat struct {
	head, text string
	read       int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.head != "" {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	n := copy(p, r.text[r.read%len(r.text):])
	r.read += n
	return n, nil
}

// A record that someone else has written does not take more than the memory that there is.
func TestReadWhatIsHostile(t *testing.T) {
	for name, in := range map[string]*repeat{
		"suites":       {head: `{"suites":[{}`, text: `,{"name":"a"}`},
		"attempts":     {head: `{"suites":[{"attempts":[{}`, text: `,{"problems":["aaaaaaaaaaaaa"]}`},
		"a long value": {head: `{"suites":[{"attempts":[{"problems":["`, text: `aaaaaaaaaaaaaaaaaaaaaaaa`},
		"other things": {head: `{"suites":[{"other":[`, text: `[[[[[[[[[[[[[[[[[[`},
		"a comparison": {head: `{"suites":[{"compared":{"newlyFailing":["a"`, text: `,"b"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &purse{limit: 4 << 20}
			before := heap()
			all, err := Read(in, p.grow)
			if err == nil || all.Suites != nil || p.given != 0 || p.most > p.limit {
				t.Errorf("%v, %d bytes are out, at most %d were", err, p.given, p.most)
			}
			t.Logf("%d KiB read, %d KiB kept: %v", in.read>>10, (heap()-before)>>10, err)
		})
	}
}

// The words of cases that passed go with them, so that the memory that is accounted is the memory that is taken.
func TestWordsOfDroppedCasesAreGivenUp(t *testing.T) {
	p := &purse{limit: 1 << 20}
	k := &keeper{budget: budget{grow: p.grow}}
	long := strings.Repeat("x", 900)
	for i := range 20_000 {
		k.add(evidence.Case{Class: fmt.Sprint(i, long), Name: fmt.Sprint(i), Status: map[bool]evidence.Status{true: evidence.Failed, false: evidence.Passed}[i%100 == 99]})
	}
	words := int64(0)
	for word := range k.words {
		words += wordSize + int64(len(word))
	}
	if words > k.used || k.used > p.limit || len(k.bad) != 200 {
		t.Errorf("%d bytes of words, %d bytes are accounted, %d failing cases", words, k.used, len(k.bad))
	}
}
