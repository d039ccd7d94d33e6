package testreport

import (
	"cmp"
	"regexp"
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

// summarize returns the failure in a few lines: the message attribute or, if that is not informative, the beginning of the text.
func (t *testcase) summarize(c evidence.Case) string {
	message := trim(plain(t.message))
	switch {
	case isNoise(message):
		message = summary(message, t.title())
	case isUninformative(message, c.Name) || strings.HasPrefix(c.Detail, message):
		message = cmp.Or(summary(c.Detail, t.title()), summary(c.Output, t.title()), message, label(t.kind))
	}
	return text.Head(message, evidence.MaxMessage)
}

// title returns PHPUnit's title of the case, with which its failures begin.
func (t *testcase) title() string { return t.attrs["class"] + "::" + t.attrs["name"] }

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
