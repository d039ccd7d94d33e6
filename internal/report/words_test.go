package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestTimesAndSizesInWords(t *testing.T) {
	for given, want := range map[float64]string{0.04: "0.0s", 0.25: "0.2s", 59.9: "59.9s", 60: "1m", 75: "1m15s", 3600: "1h", 1e300: "277h46m40s"} {
		if got := seconds(given); got != want {
			t.Errorf("%v seconds are %q, want %q", given, got, want)
		}
	}
	for given, want := range map[int64]string{-1: "", 0: "", 1: " (1 kB)", 1000: " (1 kB)", 1001: " (2 kB)", 999_999: " (1000 kB)", 1_000_000: " (1.0 MB)", 4_560_000: " (4.6 MB)"} {
		if got := size10(given); got != want {
			t.Errorf("%d bytes are %q, want %q", given, got, want)
		}
	}
}

func TestTextsAreCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text       string
		max        int
		head, tail string
		whole      bool
	}{
		{"ab", 2, "ab", "ab", true}, {"ab", 3, "ab", "ab", true}, {"ab", 1, "a", "b", false}, {"aé", 2, "a", "é", false}, {"éa", 2, "é", "a", false},
		{"日本", 5, "日", "本", false}, {"\x80\x80\x80", 1, "", "", false},
	} {
		h, hw := head(c.text, c.max)
		e, ew := tail(c.text, c.max)
		if h != c.head || e != c.tail || hw != c.whole || ew != c.whole {
			t.Errorf("%q at %d: %q %v, %q %v", c.text, c.max, h, hw, e, ew)
		}
	}
}

func TestCodeBlocksSayWhatTheyLeaveOut(t *testing.T) {
	for _, c := range []struct {
		text        string
		max         int
		first, last string
	}{
		{"one\ntwo\n", 8, "one\ntwo", "one\ntwo"}, {"one\ntwo", 7, "one\ntwo", "one\ntwo"},
		{"one\ntwo", 6, "one\ntw\n(rest truncated)", "(beginning truncated)\ntwo"},
		{"one two", 3, "one\n(rest truncated)", "(beginning truncated)\ntwo"},
		{"\x1b[31m\x1b[32m\x1b[33mred", 12, "red", "red"},
	} {
		if got := fenceHead(c.text, c.max); got != "```text\n"+c.first+"\n```" {
			t.Errorf("the beginning of %q at %d: %q", c.text, c.max, got)
		}
		if got := fence(c.text, c.max); got != "```text\n"+c.last+"\n```" {
			t.Errorf("the end of %q at %d: %q", c.text, c.max, got)
		}
	}
	for ticks, want := range map[string]string{"": "```", "``": "```", "```": "````", "a````b": "`````", "`` ```` ``": "`````"} {
		if got := fenced(ticks); !strings.HasPrefix(got, want+"text\n") || !strings.HasSuffix(got, "\n"+want) {
			t.Errorf("%q is fenced as %q", ticks, got)
		}
	}
}

func TestALineIsCutBeforeItCosts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("a", 10), "aaaaaaaaaa"}, {strings.Repeat("a", 11), "aaaaaaaaa…"}, {strings.Repeat(" ", 160), ""}, {"a" + strings.Repeat(" ", 160), "a…"},
	} {
		if got := oneLine(c.text, 10); got != c.want {
			t.Errorf("%q becomes %q", c.text, got)
		}
	}
}

func TestLinksAreBounded(t *testing.T) {
	address := "https://example.com/" + strings.Repeat("a", maxAddress-20)
	if got := link("x", address); got != "[x]("+address+")" {
		t.Error("the longest address is no link")
	}
	if got := link("x", address+"a"); got != "x" {
		t.Error("a longer address is a link")
	}
	run := passed()
	run.Status.Report = &v1alpha1.ReportStatus{CheckRuns: map[string]int64{}}
	run.Status.Suites = nil
	for i := range 12 {
		name := fmt.Sprint("s", i)
		run.Status.Suites = append(run.Status.Suites, v1alpha1.SuiteStatus{Name: name})
		if i != 3 {
			run.Status.Report.CheckRuns[run.Name+"/"+name] = int64(i + 1)
		}
	}
	comment := Comment(run, nil, "", start)
	if n := strings.Count(comment, "/runs/"); n != 10 || strings.Contains(comment, "/runs/12") || strings.Contains(comment, "/runs/0") {
		t.Errorf("%d links to check runs", n)
	}
}

func TestWhatATerminalActsOnIsTakenOut(t *testing.T) {
	for _, r := range []rune{0, 0x1f, 0x7f, 0x85, 0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202C, 0x202E, 0x2066, 0x2068, 0x2069} {
		if got := clean("a" + string(r) + "b"); got != "ab" {
			t.Errorf("%U stays: %q", r, got)
		}
	}
	for _, r := range []rune{'\n', '\t', ' ', '!', '~', 0xa0, 0x200D, 0x2010, 0x2027, 0x202F, 0x2065, 0x206A, 'é', '日'} {
		if got := clean("a" + string(r) + "b"); got != "a"+string(r)+"b" {
			t.Errorf("%U goes: %q", r, got)
		}
	}
}

func TestTheFirstSizeThatFitsIsTaken(t *testing.T) {
	run := failed()
	smaller := "smaller" + shortened(run, nil)
	for _, c := range []struct {
		first int
		want  string
	}{{maxBody - maxNotice, strings.Repeat("x", maxBody-maxNotice)}, {maxBody - maxNotice + 1, smaller}} {
		got := fitted(run, []part{{add: func(d *document) {
			if d.size == sizes[0] {
				d.WriteString(strings.Repeat("x", c.first))
			} else {
				d.WriteString("smaller")
			}
		}}})
		if got != c.want {
			t.Errorf("of %d bytes, %d are taken", c.first, len(got))
		}
	}
}

func TestPartsThatDoNotFitAreLeftOutFromTheEnd(t *testing.T) {
	run := failed()
	of := func(name string, bytes int) part {
		return part{name, func(d *document) { d.WriteString(strings.Repeat("x", bytes)) }}
	}
	for _, c := range []struct {
		parts   []part
		kept    int
		without []string
	}{
		{[]part{of("", 10), of("the suites", 20), of("the images", maxBody)}, 30, []string{"the images"}},
		{[]part{of("", 10), of("the suites", maxBody), of("", 20), of("the images", 30)}, 30, []string{"the images", "the suites"}},
		{[]part{of("", maxBody), of("the suites", 20)}, maxBody - maxNotice, []string{"the suites"}},
	} {
		if got, want := fitted(run, c.parts), strings.Repeat("x", c.kept)+shortened(run, c.without); got != want {
			t.Errorf("without %v: %d bytes, want %d: %.200s", c.without, len(got), len(want), strings.TrimLeft(got, "x"))
		}
	}
}

func TestTheTimeLeftIsKnownOnlyFromAllOfTheRun(t *testing.T) {
	at := func(minutes int) *metav1.MicroTime {
		return new(metav1.NewMicroTime(start.Add(time.Duration(minutes) * time.Minute)))
	}
	run := &v1alpha1.Run{}
	run.Status.Stages = []v1alpha1.StageTime{{Name: "secrets", StartedAt: at(0)}}
	run.Status.Suites = []v1alpha1.SuiteStatus{{Name: "unit"}, {Name: "e2e"}}
	usual := &v1alpha1.ExpectedTimes{Setup: 120, Suites: map[string]int32{"unit": 60, "e2e": 600}}
	run.Status.Report = &v1alpha1.ReportStatus{Expected: usual}
	for _, c := range []struct {
		name string
		edit func(*v1alpha1.Run)
		want string
	}{
		{"before the tests", func(*v1alpha1.Run) {}, "about 15 minutes left, until 12:13 UTC"},
		{"in a suite", func(r *v1alpha1.Run) {
			r.Status.Stages = append(r.Status.Stages, v1alpha1.StageTime{Name: "tests", StartedAt: at(-5)})
			r.Status.Suites[0].Outcome, r.Status.Suites[1].StartedAt = v1alpha1.OutcomePassed, at(-4)
		}, "about 6 minutes left, until 12:06 UTC"},
		{"later than usual", func(r *v1alpha1.Run) { r.Status.Suites[1].StartedAt = at(-11) }, "any moment now"},
		{"ended", func(r *v1alpha1.Run) { r.Status.Outcome = v1alpha1.OutcomePassed }, ""},
		{"canceled", func(r *v1alpha1.Run) { r.Status.Outcome, r.Spec.Cancel = "", &v1alpha1.Cancel{} }, ""},
		{"a new suite", func(r *v1alpha1.Run) { r.Spec.Cancel, r.Status.Suites[1].Name = nil, "new" }, ""},
		{"nothing known", func(r *v1alpha1.Run) { r.Status.Suites[1].Name, r.Status.Report.Expected = "e2e", nil }, ""},
	} {
		c.edit(run)
		got := TimeLeft(run, start)
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAFewFailedSuitesAreNamed(t *testing.T) {
	for _, c := range []struct {
		failed, all    int
		headline, next bool
	}{{1, 1, true, false}, {1, 2, true, true}, {4, 5, true, true}, {4, 4, true, false}, {5, 6, false, false}} {
		run := failed()
		run.Status.Suites = nil
		for i := range c.all {
			s := v1alpha1.SuiteStatus{Name: fmt.Sprint("s", i), Outcome: v1alpha1.OutcomePassed}
			if i < c.failed {
				s.Outcome = v1alpha1.OutcomeFailed
			}
			run.Status.Suites = append(run.Status.Suites, s)
		}
		if got := headline(run, nil); strings.Contains(got, "`s0`") != c.headline {
			t.Errorf("%d of %d failed: %s", c.failed, c.all, got)
		}
		if got := next(run); strings.Contains(got, "to run the failed suites") != c.next {
			t.Errorf("%d of %d failed: %s", c.failed, c.all, got)
		}
	}
}
