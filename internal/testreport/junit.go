package testreport

import (
	"cmp"
	"encoding/xml"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// maxSuiteOutput is how much of a testsuite's output is searched for the parts of its cases, in bytes.
const maxSuiteOutput = 128 << 10

// junit extracts the cases of a JUnit file. The format is not standardized, so it accepts what all dialects have in common.
type junit struct {
	*document
	// pending are the last cases, because an open testsuite may contain output for them.
	pending []evidence.Case
	// suites are the open testsuites, test is the open testcase.
	suites []*suite
	test   *testcase
	// testDepth is the number of open elements around a child of the testcase.
	testDepth int
}

// suite is an open testsuite.
type suite struct {
	name, file string
	// first is the index of its first case in the file.
	first  int
	output *longText
	// rootFile is the file of the last Root Suite in it: mocha sets the file there, and not on the suites that follow.
	rootFile string
}

// start implements dialect. The text of an unknown element is added to the enclosing one.
func (p *junit) start(e xml.StartElement) *longText {
	parent := p.top()
	output := e.Name.Local == "system-out" || e.Name.Local == "system-err"
	switch name := e.Name.Local; {
	case p.test != nil && len(p.elements) == p.testDepth:
		return p.test.child(name, attributes(e))
	case p.test != nil:
		if output {
			return nil
		}
	case name == "testsuites" || name == "testsuite":
		p.openSuite(attributes(e))
	case name == "testcase":
		p.openTest(attributes(e))
	case parent.name == "testsuite" && (name == "failure" || name == "error"):
		// A suite that failed as a whole, before or after its cases.
		if p.openTest(map[string]string{"name": p.suite().name}); p.test != nil {
			p.testDepth = len(p.elements)
			return p.test.child(name, attributes(e))
		}
	case parent.name == "testsuite" && output:
		return p.suite().output
	}
	return parent.into
}

// end implements dialect.
func (p *junit) end(name string) {
	switch {
	case p.test != nil && len(p.elements) < p.testDepth:
		p.closeTest()
	case p.test == nil && (name == "testsuites" || name == "testsuite"):
		p.closeSuite()
	}
}

// finish implements dialect.
func (p *junit) finish() { p.release(len(p.pending)) }

// suite returns the innermost open testsuite.
func (p *junit) suite() *suite {
	if len(p.suites) == 0 {
		return &suite{}
	}
	return p.suites[len(p.suites)-1]
}

func (p *junit) openSuite(attrs map[string]string) {
	p.report = true
	outer := p.suite()
	s := &suite{name: attrs["name"], first: p.count, output: newText(maxSuiteOutput)}
	s.file = p.paths.relative(first(attrs, "file", "filepath"))
	if s.name == "Root Suite" {
		outer.rootFile = s.file
	}
	if s.file == "" {
		s.file = cmp.Or(outer.rootFile, outer.file)
	}
	p.suites = append(p.suites, s)
}

func (p *junit) closeSuite() {
	s := p.suite()
	p.suites = p.suites[:len(p.suites)-1]
	if cases := p.count - s.first; cases <= shareCases {
		share(s.output.String(), p.pending[len(p.pending)-cases:])
	}
	p.flush()
}

func (p *junit) openTest(attrs map[string]string) {
	p.report = true
	if p.hasRoom() {
		p.test, p.testDepth = newTestcase(attrs), len(p.elements)+1
	}
}

// closeTest converts the open testcase into a case.
func (p *junit) closeTest() {
	p.pending = append(p.pending, p.distinct(p.test.result(p.suite(), p.paths)))
	p.count++
	p.test = nil
	p.flush()
}

// flush releases the cases that cannot receive output from an open testsuite. It keeps those of the outermost suite that is small
// enough to be searched.
func (p *junit) flush() {
	keep := 0
	for _, s := range p.suites {
		if cases := p.count - s.first; cases <= shareCases {
			keep = cases
			break
		}
	}
	p.release(len(p.pending) - keep)
}

// release passes on the first n pending cases.
func (p *junit) release(n int) {
	for _, c := range p.pending[:n] {
		p.pass(c)
	}
	p.pending = slices.Delete(p.pending, 0, n)
}
