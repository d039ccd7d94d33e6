package testreport

import (
	"bufio"
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// event is one line of go test -json (go doc test2json). Events of builds have an ImportPath instead of a Package.
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string

	Elapsed float64
}

// marks are the texts before which another process's output may be on the line of an event.
var marks = [][]byte{[]byte(`{"Time":"`), []byte(`{"Action":"`), []byte(`{"ImportPath":"`)}

// parseEvent returns the event on a line and what is before it on the line; false if the line does not have an event.
func parseEvent(line []byte) (e event, before []byte, ok bool) {
	if !bytes.HasPrefix(line, []byte("{")) {
		for _, mark := range marks {
			if i := bytes.Index(line, mark); i > 0 {
				before, line = line[:i], line[i:]
				break
			}
		}
	}
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil || e.Package+e.ImportPath == "" {
		return event{}, nil, false
	}
	for _, s := range []*string{&e.Package, &e.Test, &e.ImportPath, &e.FailedBuild} {
		*s = text.Head(printable(*s), maxName)
	}
	e.Output = printable(e.Output)
	switch e.Action {
	case "start", "run", "pause", "cont", "output", "pass", "bench", "fail", "skip", "attr", "artifacts", "build-output", "build-fail":
		return e, before, true
	}
	return event{}, nil, false
}

func isGoTest(line []byte) bool {
	_, _, ok := parseEvent(line)
	return ok
}

// goTest reads the events of go test -json.
type goTest struct {
	*file
	// packages are the open packages, builds the output of builds by import path.
	packages map[string]*goPackage
	builds   map[string]*longText
	// building is the import path of a build that an older version of Go reports as plain text. other is the output besides events.
	building string
	other    *longText
	// held is the size of the names and texts of packages and builds, in bytes. cut means that some were left out.
	held int
	cut  bool
	// started counts the tests and packages.
	started int
}

// goPackage is a package that has not ended.
type goPackage struct {
	name   string
	number int
	tests  map[string]*goCase
	output *longText
	// bad is the number of its bad cases so far.
	bad int
}

// goCase is a test that has not ended.
type goCase struct {
	number int
	output *longText
	// bad is the number of its bad subtests, first the name of the first.
	bad   int
	first string
}

func readGoTest(f *file, in *bufio.Reader) {
	g := &goTest{file: f, packages: map[string]*goPackage{}, builds: map[string]*longText{}, other: newText(evidence.MaxOutput)}
	l := &lines{in: in}
	for !g.done() {
		line, ok := l.next()
		if !ok {
			break
		}
		e, before, ok := parseEvent(line)
		if !ok {
			g.plainLine(printable(string(line)))
			continue
		}
		g.building = ""
		if len(before) > 0 {
			g.plainLine(printable(string(before)))
		}
		g.event(e)
	}
	g.finish()
}

// plainLine handles a line that is not an event.
func (g *goTest) plainLine(line string) {
	if rest, ok := strings.CutPrefix(line, "# "); ok {
		g.building = buildName(rest)
	}
	if g.building != "" {
		g.build(g.building, line+"\n")
		return
	}
	g.other.add([]byte(line + "\n"))
}

// buildName returns a package's import path without the name of the test binary: "a/b [a/b.test]".
func buildName(path string) string {
	name, _, _ := strings.Cut(path, " ")
	return name
}

func (g *goTest) event(e event) {
	switch e.Action {
	case "build-output":
		g.build(buildName(e.ImportPath), e.Output)
	case "run":
		g.test(g.pkg(e.Package), e.Test)
	case "output":
		p := g.pkg(e.Package)
		if e.Test == "" {
			g.write(p.output, e.Output)
		} else if !isFrame(e.Output) {
			g.write(g.test(p, e.Test).output, e.Output)
		}
	case "pass", "bench", "fail", "skip":
		if e.Test == "" {
			g.endPackage(e)
		} else {
			g.endTest(e)
		}
	}
}

// entrySize is more than the memory of an open test without its texts, in bytes.
const entrySize = 512

// hold counts n more bytes and reports whether there was room for them.
func (g *goTest) hold(n int) bool {
	if g.held+n <= maxHeld {
		g.held += n
		return true
	}
	if !g.cut {
		g.cut = true
		g.problem("Its tests have more than %d MiB of output at the same time; some of it was left out", maxHeld>>20)
	}
	return false
}

// write adds output to a text, unless that is nil.
func (g *goTest) write(t *longText, output string) {
	if size := len(output); t != nil && g.hold(size) {
		before := t.held()
		t.add([]byte(output))
		g.held += t.held() - before - size
	}
}

// build adds to the output of a build.
func (g *goTest) build(name, output string) {
	if g.builds[name] == nil && g.hold(entrySize+len(name)) {
		g.builds[name] = newText(evidence.MaxDetail)
	}
	g.write(g.builds[name], output)
}

// pkg returns an open package. It is not kept, and has no output, if there is no room.
func (g *goTest) pkg(name string) *goPackage {
	p := g.packages[name]
	if p == nil {
		g.started++
		p = &goPackage{name: name, number: g.started, tests: map[string]*goCase{}}
		if g.hold(entrySize + len(name)) {
			p.output = newText(evidence.MaxDetail)
			g.packages[name] = p
		}
	}
	return p
}

// test returns an open test, as pkg returns a package.
func (g *goTest) test(p *goPackage, name string) *goCase {
	t := p.tests[name]
	if t == nil {
		g.started++
		t = &goCase{number: g.started}
		if g.packages[p.name] == p && g.hold(entrySize+len(name)) {
			t.output = newText(evidence.MaxDetail)
			p.tests[name] = t
		}
	}
	return t
}

// close removes an open test.
func (g *goTest) close(p *goPackage, name string) *goCase {
	t := g.test(p, name)
	if p.tests[name] == t {
		delete(p.tests, name)
		g.held -= entrySize + len(name) + t.output.held()
	}
	return t
}

// isFrame reports whether output only repeats the beginning, the end or the status of a test.
func isFrame(output string) bool {
	output = strings.TrimLeft(output, " ")
	for _, frame := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "--- PASS: ", "--- FAIL: ", "--- SKIP: ", "--- BENCH: "} {
		if strings.HasPrefix(output, frame) {
			return true
		}
	}
	return false
}

func (g *goTest) endTest(e event) {
	p := g.pkg(e.Package)
	t := g.close(p, e.Test)
	c := evidence.Case{Class: label(p.name), Name: label(e.Test), Status: evidence.Passed, Seconds: max(e.Elapsed, 0)}
	switch e.Action {
	case "fail":
		c.Status = evidence.Failed
	case "skip":
		c.Status = evidence.Skipped
	}
	g.addTest(p, t, e.Test, c)
}

// addTest adds a test that has ended.
func (g *goTest) addTest(p *goPackage, t *goCase, name string, c evidence.Case) {
	if c.Name == "" {
		c.Name = "(no name)"
	}
	if c.Status != evidence.Passed {
		c.Detail = t.output.String()
		c.Message = text.Head(summary(c.Detail, ""), evidence.MaxMessage)
	}
	if c.Status.Bad() {
		p.bad++
		g.countSubtest(p, name)
		at, _ := g.paths.failure("", c.Class, c.Detail)
		c.File, c.Line = at.file, at.line
		switch {
		case c.Message == "" && t.bad > 0:
			c.Message = text.Plural(t.bad, "subtest") + " failed, first " + t.first
		case c.Status == evidence.Error && !strings.Contains(c.Detail, "panic: "):
			c.Message = "The test did not end"
		}
	}
	g.add(c)
}

// countSubtest notes a bad test in the open test that it is a subtest of. Names of subtests may contain slashes.
func (g *goTest) countSubtest(p *goPackage, name string) {
	parent := name
	for range maxDepth {
		i := strings.LastIndexByte(parent, '/')
		if i < 0 {
			return
		}
		parent = parent[:i]
		if t := p.tests[parent]; t != nil {
			if t.bad++; t.bad == 1 {
				t.first = label(name)
			}
			return
		}
	}
}

// endPackage ends a package. A package that failed for another reason than a test, such as its build or TestMain, is a case.
func (g *goTest) endPackage(e event) {
	p := g.pkg(e.Package)
	if e.Action == "fail" {
		g.unfinished(p)
		if p.bad == 0 {
			g.add(g.packageCase(p, e))
		}
	}
	for name := range p.tests {
		g.close(p, name)
	}
	if g.packages[e.Package] == p {
		delete(g.packages, e.Package)
		g.held -= entrySize + len(e.Package) + p.output.held()
	}
}

// unfinished adds the tests of a package that have not ended: subtests before the tests that they are part of.
func (g *goTest) unfinished(p *goPackage) {
	names := make([]string, 0, len(p.tests))
	for name := range p.tests {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return p.tests[b].number - p.tests[a].number })
	for _, name := range names {
		t := g.close(p, name)
		g.addTest(p, t, name, evidence.Case{Class: label(p.name), Name: label(name), Status: evidence.Error})
	}
}

// packageCase returns the case of a package that failed although none of its tests did.
func (g *goTest) packageCase(p *goPackage, e event) evidence.Case {
	c := evidence.Case{Class: label(p.name), Name: "(package)", Status: evidence.Error, Seconds: max(e.Elapsed, 0)}
	c.Detail = withoutVerdict(p.output.String())
	build := g.builds[buildName(e.FailedBuild)]
	if build == nil {
		build = g.builds[p.name]
	}
	if build != nil {
		c.Name = "(build)"
		c.Detail = build.String()
	}
	c.Output = g.other.String()
	c.Message = text.Head(summary(withoutVerdict(c.Detail), ""), evidence.MaxMessage)
	if c.Message == "" {
		c.Message = "The package failed, but none of its tests did"
	}
	at, _ := g.paths.failure("", c.Class, c.Detail, c.Output)
	c.File, c.Line = at.file, at.line
	return c
}

// withoutVerdict removes the lines of a package's output that only repeat its result or name.
func withoutVerdict(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		verdict := strings.TrimSpace(line)
		if verdict != "PASS" && verdict != "FAIL" && !strings.HasPrefix(verdict, "coverage: ") && !strings.HasPrefix(verdict, "# ") &&
			(!strings.HasPrefix(verdict, "FAIL\t") || strings.HasSuffix(verdict, "]")) {
			b.WriteString(line)
		}
	}
	return trim(b.String())
}

// finish adds the tests that were running when the output ended.
func (g *goTest) finish() {
	open := make([]*goPackage, 0, len(g.packages))
	for _, p := range g.packages {
		open = append(open, p)
	}
	slices.SortFunc(open, func(a, b *goPackage) int { return a.number - b.number })
	for _, p := range open {
		g.unfinished(p)
	}
	if len(open) > 0 && !g.full {
		g.problem("It ends before the package %s does; kept %s", label(open[0].name), text.Plural(g.count, "test case"))
	}
	g.checkCases()
}
