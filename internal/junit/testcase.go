package junit

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// testcase is an open testcase.
type testcase struct {
	attrs map[string]string
	// bad is Failed or Error when it is one, Failed when both were said.
	bad            evidence.Status
	skipped, flaky bool
	// message is the first that a child has as an attribute, kind the type beside it.
	message, kind  string
	detail, output *longText
}

func newTestcase(attrs map[string]string) *testcase {
	return &testcase{attrs: attrs, detail: newText(evidence.MaxDetail), output: newText(evidence.MaxOutput)}
}

// child takes up an element within the testcase and returns where its text goes, nil for nowhere.
func (t *testcase) child(name string, attrs map[string]string) *longText {
	switch name {
	case "failure":
		t.bad = evidence.Failed
	case "error":
		if t.bad == "" {
			t.bad = evidence.Error
		}
	case "skipped", "ignored":
		t.skipped = true
	case "flakyFailure", "flakyError":
		// Surefire and nextest: it failed, was run again and passed.
		t.flaky = true
	case "system-out", "system-err":
		return separate(t.output)
	default:
		// Properties, and what happened again when a failing test was run again.
		return nil
	}
	if t.message == "" {
		t.message, t.kind = attrs["message"], attrs["type"]
	}
	return separate(t.detail)
}

// separate begins a new line in a text that has something.
func separate(t *longText) *longText {
	if t.size > 0 {
		t.add([]byte("\n"))
	}
	return t
}

// result is the case, whose name may have been seen before.
func (t *testcase) result(s *suite, p paths) evidence.Case {
	c := evidence.Case{Status: t.status(), Seconds: seconds(t.attrs["time"])}
	c.Flaky = t.flaky && c.Status == evidence.Passed
	c.Name = label(first(t.attrs, "name", "classname", "id"))
	if c.Name == "" {
		c.Name = "(no name)"
	}
	c.Class = label(first(t.attrs, "classname", "class"))
	if strings.HasSuffix(c.Name, c.Class) {
		// Jest's and mocha's reporters say the name twice by default.
		c.Class = label(s.name)
	}
	if c.Class == c.Name {
		c.Class = ""
	}
	c.Output = t.output.String()
	if c.Status != evidence.Passed || c.Flaky {
		c.Detail = t.detail.String()
		c.Message = t.say(c)
	}
	c.File, c.Line = t.locate(c, s, p)
	return c
}

// label is a name in one line.
func label(s string) string {
	return text.Head(strings.Join(strings.Fields(plain(s)), " "), maxName)
}

// status is what the children say or, without any, an attribute: CTest's and GoogleTest's status, GoogleTest's result.
func (t *testcase) status() evidence.Status {
	switch {
	case t.bad != "":
		return t.bad
	case t.skipped:
		return evidence.Skipped
	}
	for _, word := range []string{t.attrs["status"], t.attrs["result"]} {
		switch strings.ToLower(word) {
		case "fail", "failed", "failure":
			return evidence.Failed
		case "error", "errored":
			return evidence.Error
		case "skipped", "disabled", "notrun", "ignored", "suppressed", "pending":
			return evidence.Skipped
		}
	}
	return evidence.Passed
}

// seconds reads a time, also with a comma for the point or between thousands. What is no time is 0.
func seconds(s string) float64 {
	s = strings.TrimSpace(s)
	if strings.Contains(s, ".") {
		s = strings.ReplaceAll(s, ",", "")
	}
	f, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	if err != nil || f < 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// say is the failure in a few lines: the attribute or, where that says too little, the beginning of the text.
func (t *testcase) say(c evidence.Case) string {
	message := trim(plain(t.message))
	switch {
	case isNoise(message):
		message = t.summary(message)
	case empty(message, c.Name) || strings.HasPrefix(c.Detail, message):
		message = cmp.Or(t.summary(c.Detail), t.summary(c.Output), message, label(t.kind))
	}
	return text.Head(message, evidence.MaxMessage)
}

// position is how Playwright begins a message, which goes on with the case's name only.
var position = regexp.MustCompile(`^\S+:\d+:\d+ `)

// empty says that a message tells nothing that the case's status and name do not.
func empty(message, name string) bool {
	switch strings.ToLower(message) {
	case "", "failed", "failure", "error", "test failed", "test failure", "collection failure":
		return true
	}
	if !strings.Contains(message, ":") {
		return false
	}
	at := position.FindString(message)
	return at != "" && strings.HasSuffix(name, strings.TrimPrefix(message, at))
}

var (
	// noise are lines that say no more than a case's name or place: go test's own, testify's and Playwright's.
	noise = regexp.MustCompile(`^(=== (RUN|PAUSE|CONT|NAME)|--- (FAIL|PASS|SKIP)|Error Trace:|\S+\.\w+:\d+:?$)|─{3}$`)
	// trace is where a stack trace or an excerpt of the source begins.
	trace = regexp.MustCompile(`^(at |File "|❯ |goroutine |stack backtrace|Stack Trace|(> )?\d+ \||#\d+ )`)
	// raised are the lines with which pytest shows the exception, among those of the source.
	raised = regexp.MustCompile(`(?m)^E {2,}(.+)$`)
	tabs   = regexp.MustCompile(`[ \t]*\t[ \t]*`)
)

// noiseMarks are what noise has, at least one of them: the pattern takes a hundred times longer to find nothing in a long name.
var noiseMarks = []string{"=== ", "--- ", ":", "───"}

func isNoise(text string) bool {
	return slices.ContainsFunc(noiseMarks, func(mark string) bool { return strings.Contains(text, mark) }) && noise.MatchString(text)
}

// summaryLines is how many lines of a text make a message.
const summaryLines = 6

// summary is the beginning of a failure's text, up to its stack trace.
func (t *testcase) summary(detail string) string {
	if found := raised.FindAllStringSubmatch(detail, summaryLines); found != nil {
		detail = ""
		for _, line := range found {
			detail += line[1] + "\n"
		}
	}
	// PHPUnit's title.
	title := t.attrs["class"] + "::" + t.attrs["name"]
	var lines []string
	said := 0
	for line := range strings.Lines(detail) {
		line = tabs.ReplaceAllString(strings.TrimSpace(line), " ")
		if isNoise(line) || strings.HasPrefix(line, title) {
			continue
		}
		if said == summaryLines || said > 0 && trace.MatchString(line) {
			break
		}
		if line != "" {
			said++
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
