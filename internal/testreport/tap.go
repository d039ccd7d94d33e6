package testreport

import (
	"bufio"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

var (
	// startsTAP matches a line that only TAP has: go test, for one, prints other lines that begin with ok.
	startsTAP = regexp.MustCompile(`^(?:TAP version \d+|1\.\.\d+(?:\s*#.*)?|(?:not )?ok \d+(?: .*)?)\s*$`)

	tapVersion = regexp.MustCompile(`^TAP version \d+\s*$`)
	tapPlan    = regexp.MustCompile(`^1\.\.(\d{1,9})\s*(?:#\s*(.*))?$`)
	// tapPoint matches a test point: its status, number and description.
	tapPoint = regexp.MustCompile(`^(not )?ok(?:\s+(\d+))?(?:\s*-)?(?:\s+(.*))?$`)
	// tapDirective matches a directive after an unescaped #.
	tapDirective = regexp.MustCompile(`(?i)(?:^|[^\\])#\s*(skip|todo)\S*(?:\s+(.*))?$`)
	// tapTime matches a duration after a description, as node-tap and bats write it.
	tapTime = regexp.MustCompile(`\s+(?:#\s*time=|in )(\d+(?:\.\d+)?)(ms|s|sec)$`)
	// tapFile matches the line with which prove announces a file.
	tapFile = regexp.MustCompile(`^(\S+) \.\.+\s*$`)
	// tapPosition matches a file and a line in a diagnostic of Perl or bats.
	tapPosition = regexp.MustCompile(`\b(at|test file|file) ([^\s,()]+),? line (\d+)`)
	// tapNoise matches the lines of a diagnostic that only repeat the name or the position of a test.
	tapNoise = regexp.MustCompile(`^(?:Failed (?:\(TODO\) )?test\b.*|at \S+ line \d+\.|\(?(?:from function|in test file|in file) .*line \d+[,)]+)$`)
)

// tapIndent is the indentation of subtests, in spaces.
const tapIndent = 4

// tap reads TAP 12, 13 and 14.
type tap struct {
	*file
	// levels are the open documents: the file's own and those of subtests.
	levels []*tapLevel
	// below is the subtest whose result comes next, announced the name of the one that begins next.
	below     *tapLevel
	announced string
	// test is the test whose diagnostics follow, yaml their block.
	test *tapTest
	yaml *tapYAML
	// source is the test file according to prove, output the output since the last test.
	source string
	output *longText
	// bailed means that the tests were given up.
	bailed bool
}

// tapLevel is a list of test points.
type tapLevel struct {
	name   string
	indent int
	// planned is the number of test points according to the plan; -1 without one.
	planned, count, bad int
	// result is the test point of a subtest whose result comes before it.
	result *tapTest
}

// tapTest is a test point.
type tapTest struct {
	evidence.Case
	detail *longText
	// message is from the YAML block, as is diff; plain means that there is no such block.
	message, diff string
	plain         bool
	// subtests is the list of its subtests, or nil; opens means that they come after it.
	subtests *tapLevel
	opens    bool
}

func readTAP(f *file, in *bufio.Reader) {
	t := &tap{file: f, levels: []*tapLevel{{planned: -1}}, output: newText(evidence.MaxOutput)}
	l := &lines{in: in}
	for !t.done() && !t.bailed {
		line, ok := l.next()
		if !ok {
			break
		}
		if len(t.levels) > maxDepth {
			t.problem("Its subtests are nested more than %d levels deep; the rest was not read", maxDepth)
			t.endTest()
			return
		}
		t.line(printable(string(line)))
	}
	t.endFile()
}

func (t *tap) line(line string) {
	content := strings.TrimLeft(line, " ")
	indent := len(line) - len(content)
	content = strings.TrimRight(content, " ")
	if t.yaml != nil {
		used := t.yaml.line(line, content, indent)
		if t.yaml.ended {
			t.yaml = nil
		}
		if used {
			return
		}
	}
	level := t.levels[len(t.levels)-1]
	switch {
	case content == "---" && t.test != nil && indent > level.indent:
		t.yaml, t.test.plain = &tapYAML{test: t.test, indent: indent}, false
	case strings.HasPrefix(content, "# Subtest: "):
		t.announce(indent, strings.TrimPrefix(content, "# Subtest: "))
	case strings.HasPrefix(content, "#"):
		t.comment(content)
	case strings.HasPrefix(content, "Bail out!"):
		t.bailOut(strings.TrimSpace(strings.TrimPrefix(content, "Bail out!")))
	case tapVersion.MatchString(content):
		if indent == 0 {
			t.endDocument()
		}
	case content == "}" && level.result != nil && indent < level.indent:
		t.enter(indent)
	case tapPlan.MatchString(content) && t.enter(indent):
		t.plan(tapPlan.FindStringSubmatch(content))
	case tapPoint.MatchString(content) && (indent <= level.indent || startsTAP.MatchString(content)) && t.enter(indent):
		t.point(tapPoint.FindStringSubmatch(content))
	case indent == 0 && tapFile.MatchString(content):
		t.endDocument()
		t.source = label(tapFile.FindStringSubmatch(content)[1])
	case content != "":
		t.output.add([]byte(line + "\n"))
	}
}

// enter changes to the level of an indentation. It returns false if there is no such level.
func (t *tap) enter(indent int) bool {
	level := t.levels[len(t.levels)-1]
	if indent > level.indent && indent < level.indent+tapIndent {
		return false
	}
	if indent > level.indent {
		inner := &tapLevel{name: t.announced, indent: indent, planned: -1}
		if t.test != nil && t.test.opens {
			inner = t.test.subtests
			inner.indent, inner.result = indent, t.test
			t.test = nil
		}
		t.endTest()
		t.levels, t.announced = append(t.levels, inner), ""
		return true
	}
	for len(t.levels) > 1 && indent < t.levels[len(t.levels)-1].indent {
		t.endTest()
		t.below = t.levels[len(t.levels)-1]
		t.levels = t.levels[:len(t.levels)-1]
		if t.below.result != nil {
			t.test, t.below = t.below.result, nil
		}
	}
	return true
}

// announce notes the name of the next subtest. Its comment may be indented like the subtest or like its result.
func (t *tap) announce(indent int, name string) {
	name = label(name)
	if indent > t.levels[len(t.levels)-1].indent && t.announced == "" {
		t.announced = name
		t.enter(indent)
		return
	}
	t.enter(indent)
	t.endTest()
	t.announced = name
}

// comment adds a diagnostic to the test point before it.
func (t *tap) comment(content string) {
	if t.test != nil && !strings.HasPrefix(content, "# Looks like you ") {
		t.test.detail.add([]byte(strings.TrimPrefix(strings.TrimPrefix(content, "#"), " ") + "\n"))
	}
}

// plan handles a plan: the number of test points and a comment.
func (t *tap) plan(m []string) {
	t.endTest()
	if len(t.levels) == 1 && t.levels[0].planned >= 0 {
		t.endDocument()
	}
	level := t.levels[len(t.levels)-1]
	level.planned, _ = strconv.Atoi(m[1])
	if level.planned == 0 && len(t.levels) == 1 {
		reason := label(m[2])
		t.add(evidence.Case{Class: t.source, Name: "(all)", Status: evidence.Skipped, Message: reason, Detail: reason})
	}
}

// point handles a test point: whether it is "not ok", its number and its description.
func (t *tap) point(m []string) {
	t.endTest()
	level := t.levels[len(t.levels)-1]
	if m[1]+m[2]+m[3] == "" && level.planned >= 0 && level.count >= level.planned {
		return // It is prove's verdict on the file.
	}
	level.count++
	number := cmp.Or(m[2], strconv.Itoa(level.count))
	test := &tapTest{Case: evidence.Case{Status: evidence.Passed}, detail: newText(evidence.MaxDetail), subtests: t.below, plain: true}
	t.below = nil
	if m[1] != "" {
		test.Status = evidence.Failed
	}
	name := strings.TrimSpace(m[3])
	if rest, ok := strings.CutSuffix(name, " {"); ok {
		name, test.subtests, test.opens = rest, &tapLevel{planned: -1}, true
	}
	if d := tapDirective.FindStringSubmatchIndex(name); d != nil {
		test.direct(name[d[2]:d[3]], name[max(d[4], 0):max(d[5], 0)])
		name = name[:strings.LastIndexByte(name[:d[2]], '#')]
	}
	name = strings.TrimSpace(name)
	if d := tapTime.FindStringSubmatch(name); d != nil {
		test.Seconds = seconds(d[1])
		if d[2] == "ms" {
			test.Seconds /= 1000
		}
		name = strings.TrimSuffix(name, d[0])
	}
	test.Name = cmp.Or(label(strings.NewReplacer(`\#`, "#", `\\`, `\`).Replace(name)), "test "+label(number))
	if test.subtests != nil {
		test.subtests.name = cmp.Or(test.subtests.name, test.Name)
	}
	test.Class = t.class()
	if test.Status == evidence.Failed {
		test.Output = t.output.String()
	}
	t.output = newText(evidence.MaxOutput)
	t.test, t.announced = test, ""
}

// direct applies a directive. A test that is still to do may fail.
func (test *tapTest) direct(word, reason string) {
	if test.Status == evidence.Failed || !strings.EqualFold(word, "todo") {
		test.Status, test.message = evidence.Skipped, reason
	}
}

// class returns the file and the subtests that contain the current test.
func (t *tap) class() string {
	var names []string
	if t.source != "" {
		names = append(names, t.source)
	}
	for _, level := range t.levels[1:] {
		if level.name != "" {
			names = append(names, level.name)
		}
	}
	return label(strings.Join(names, " › "))
}

// endTest adds the last test, whose diagnostics are complete. A test with subtests only summarizes them: it is a case only if it failed
// although none of them did.
func (t *tap) endTest() {
	test := t.test
	t.test, t.yaml = nil, nil
	if test == nil {
		return
	}
	if test.Status.Bad() {
		t.levels[len(t.levels)-1].bad++
	}
	if s := test.subtests; s != nil && s.count > 0 && (test.Status != evidence.Failed || s.bad > 0) {
		return
	}
	test.complete(t.paths)
	t.add(test.Case)
}

// complete sets the texts and the position of a test.
func (test *tapTest) complete(p paths) {
	if test.File = p.relative(test.File); test.File == "" {
		test.Line = 0
	}
	if test.Status == evidence.Passed {
		return
	}
	detail := test.detail.String()
	message := cmp.Or(summary(trim(plain(test.message)), ""), summary(test.diff, ""))
	if message == "" && test.plain {
		message = cmp.Or(summary(withoutPosition(detail), ""), summary(detail, ""))
	}
	test.Message = text.Head(message, evidence.MaxMessage)
	test.Detail = cmp.Or(detail, test.Message)
	if !test.Status.Bad() {
		return
	}
	if at, ok := p.failure(test.File, "", detail, test.Output); ok {
		test.File, test.Line = at.file, at.line
		return
	}
	inTest := false
	for _, m := range tapPosition.FindAllStringSubmatch(ends(detail), -1) {
		// bats also names the helper that failed.
		file, isTest := p.relative(m[2]), m[1] == "test file"
		if file != "" && (test.File == "" || isTest && !inTest) {
			test.File, test.Line, inTest = file, lineNumber(m[3]), isTest
		}
	}
}

// withoutPosition removes the lines of a diagnostic that only repeat the name or the position of a test.
func withoutPosition(detail string) string {
	var b strings.Builder
	for line := range strings.Lines(detail) {
		if !tapNoise.MatchString(strings.TrimSpace(line)) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// lineNumber parses the number of a line; 0 if it is not one.
func lineNumber(s string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// bailOut handles the end of all tests.
func (t *tap) bailOut(reason string) {
	t.endTest()
	t.bailed = true
	message := text.Head(cmp.Or(plain(reason), "The tests were given up"), evidence.MaxMessage)
	t.add(evidence.Case{Class: t.class(), Name: "Bail out!", Status: evidence.Error, Message: message, Detail: message, Output: t.output.String()})
}

// endDocument ends the file's own list of test points. It is a failure if they are not as many as planned.
func (t *tap) endDocument() {
	t.enter(0)
	t.endTest()
	level := t.levels[0]
	if level.planned >= 0 && level.count != level.planned && !t.bailed {
		message := fmt.Sprintf("%s planned, but %d reported a result", text.Plural(level.planned, "test"), level.count)
		t.add(evidence.Case{Class: t.source, Name: "(plan)", Status: evidence.Error, Message: message, Detail: message, Output: t.output.String()})
		t.output = newText(evidence.MaxOutput)
	}
	t.levels, t.below, t.announced, t.source = []*tapLevel{{planned: -1}}, nil, "", ""
}

func (t *tap) endFile() {
	level := t.levels[0]
	t.endDocument()
	if level.planned < 0 && level.count > 0 && !t.bailed && !t.full {
		t.problem("It is incomplete: it does not have a plan; kept %s", text.Plural(t.count, "test case"))
	}
	t.checkCases()
}
