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
	// bad is Failed or Error if the case has such a child; Failed has priority.
	bad            evidence.Status
	skipped, flaky bool
	// message is the first message attribute of a child, kind the type attribute beside it.
	message, kind  string
	detail, output *longText
}

func newTestcase(attrs map[string]string) *testcase {
	return &testcase{attrs: attrs, detail: newText(evidence.MaxDetail), output: newText(evidence.MaxOutput)}
}

// child handles an element within the testcase. It returns where to add the element's text, or nil.
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
		// Surefire and nextest: it failed, was rerun and passed.
		t.flaky = true
	case "system-out", "system-err":
		return separate(t.output)
	default:
		// Properties, and the results of reruns of a failing test.
		return nil
	}
	if t.message == "" {
		t.message, t.kind = attrs["message"], attrs["type"]
	}
	return separate(t.detail)
}

// separate starts a new line in a text that is not empty.
func separate(t *longText) *longText {
	if t.size > 0 {
		t.add([]byte("\n"))
	}
	return t
}

// result returns the case. Its name may not be unique.
func (t *testcase) result(s *suite, p paths) evidence.Case {
	c := evidence.Case{Status: t.status(), Seconds: seconds(t.attrs["time"])}
	c.Flaky = t.flaky && c.Status == evidence.Passed
	c.Name = label(first(t.attrs, "name", "classname", "id"))
	if c.Name == "" {
		c.Name = "(no name)"
	}
	c.Class = label(first(t.attrs, "classname", "class"))
	if strings.HasSuffix(c.Name, c.Class) {
		// By default, Jest's and mocha's reporters include the name twice.
		c.Class = label(s.name)
	}
	if c.Class == c.Name {
		c.Class = ""
	}
	c.Output = t.output.String()
	if c.Status != evidence.Passed || c.Flaky {
		c.Detail = t.detail.String()
		c.Message = t.summarize(c)
	}
	c.File, c.Line = t.locate(c, s, p)
	return c
}

// label returns a name as one line.
func label(s string) string {
	return text.Head(strings.Join(strings.Fields(plain(s)), " "), maxName)
}

// status returns the status according to the children or, without any, to an attribute: CTest's and GoogleTest's status, GoogleTest's
// result.
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

// seconds parses a duration, also with a decimal comma or commas between thousands. It returns 0 for anything else.
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

// summarize returns the failure in a few lines: the message attribute or, if that is not informative, the beginning of the text.
func (t *testcase) summarize(c evidence.Case) string {
	message := trim(plain(t.message))
	switch {
	case isNoise(message):
		message = t.summary(message)
	case isUninformative(message, c.Name) || strings.HasPrefix(c.Detail, message):
		message = cmp.Or(t.summary(c.Detail), t.summary(c.Output), message, label(t.kind))
	}
	return text.Head(message, evidence.MaxMessage)
}

// position matches the beginning of Playwright's messages, which continue with the case's name only.
var position = regexp.MustCompile(`^\S+:\d+:\d+ `)

// isUninformative reports whether a message adds nothing to the case's status and name.
func isUninformative(message, name string) bool {
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
	// noise matches lines that only repeat a case's name or position, as written by go test, testify and Playwright.
	noise = regexp.MustCompile(`^(=== (RUN|PAUSE|CONT|NAME)|--- (FAIL|PASS|SKIP)|Error Trace:|\S+\.\w+:\d+:?$)|─{3}$`)
	// trace matches the start of a stack trace or of a source excerpt.
	trace = regexp.MustCompile(`^(at |File "|❯ |goroutine |stack backtrace|Stack Trace|(> )?\d+ \||#\d+ )`)
	// raised matches the lines of pytest's source excerpt that show the exception.
	raised = regexp.MustCompile(`(?m)^E {2,}(.+)$`)
	tabs   = regexp.MustCompile(`[ \t]*\t[ \t]*`)
)

// noiseMarks lists substrings, one of which every match of noise contains: the pattern takes a hundred times longer to find nothing in
// a long name.
var noiseMarks = []string{"=== ", "--- ", ":", "───"}

func isNoise(text string) bool {
	return slices.ContainsFunc(noiseMarks, func(mark string) bool { return strings.Contains(text, mark) }) && noise.MatchString(text)
}

// summaryLines is the most lines in a message.
const summaryLines = 6

// summary returns the beginning of a failure's text, up to its stack trace.
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
	kept := 0
	for line := range strings.Lines(detail) {
		line = tabs.ReplaceAllString(strings.TrimSpace(line), " ")
		if isNoise(line) || strings.HasPrefix(line, title) {
			continue
		}
		if kept == summaryLines || kept > 0 && trace.MatchString(line) {
			break
		}
		if line != "" {
			kept++
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
