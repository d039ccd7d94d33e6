// Package junit reads the JUnit XML of test tools. The format is not standardized, so it accepts what all dialects have in common and
// reports what it cannot read as a sentence. It is pure. Its memory grows with neither the texts nor the number of cases in a file.
package junit

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// MaxCases is the most test cases that are read from one file.
const MaxCases = 20_000

const (
	// maxDepth limits the nesting of elements; real reports have fewer than ten levels.
	maxDepth = 64
	// maxSuiteOutput is how much of a testsuite's output is searched for the parts of its cases, in bytes.
	maxSuiteOutput = 128 << 10
	// maxName limits a case's name and class, in bytes.
	maxName = 1 << 10
)

// Parse reads one file and calls each for every case, in order. root is the directory that the test ran in; absolute paths below it
// become relative, others are dropped. problems are sentences for people, without the file's name. err is an error of r or of each,
// which ends the parsing. Invalid content is a problem instead, and the cases before it are kept.
func Parse(r io.Reader, root string, each func(evidence.Case) error) (problems []string, err error) {
	watched := &watch{in: r}
	decoded, problem := decode(watched)
	p := &parser{paths: newPaths(root), each: each, seen: map[evidence.Identity]int{}}
	if problem != "" {
		p.problems = append(p.problems, problem)
	}
	p.read(&source{in: decoded})
	p.release(len(p.pending))
	if watched.err != nil {
		return p.problems, fmt.Errorf("read JUnit: %w", watched.err)
	}
	return p.problems, p.err
}

// watch records an error of the reader, to distinguish it from invalid content.
type watch struct {
	in  io.Reader
	err error
}

func (w *watch) Read(b []byte) (int, error) {
	n, err := w.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// parser extracts the cases of one file.
type parser struct {
	paths paths
	each  func(evidence.Case) error
	// err is the error of each.
	err error
	// count is the number of cases so far. The last of them are pending, because an open testsuite may contain output for them.
	count    int
	pending  []evidence.Case
	problems []string
	// seen counts the cases with each ID.
	seen map[evidence.Identity]int
	// elements are the open elements, suites the open testsuites, test the open testcase.
	elements []element
	suites   []*suite
	test     *testcase
	// testDepth is the number of open elements around a child of the testcase.
	testDepth int
	// report is set if the file contains a JUnit element.
	report bool
}

// element is an open element. Its text is added to into, unless that is nil.
type element struct {
	name string
	into *longText
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

func (p *parser) read(r io.Reader) {
	d := xml.NewDecoder(r)
	d.Strict = false
	// The source has already decoded the text.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	any := false
	for {
		token, err := d.Token()
		if err != nil {
			p.finish(err, any)
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			any = true
			if len(p.elements) == maxDepth {
				p.problem("Its elements are nested more than %d levels deep; the rest was not read", maxDepth)
				return
			}
			p.start(t)
		case xml.EndElement:
			p.end()
		case xml.CharData:
			if into := p.top().into; into != nil {
				into.add(t)
			}
		}
		if p.err != nil {
			return
		}
		if p.test != nil && p.count == MaxCases {
			p.problem("It has more than %d test cases; the rest was not read", MaxCases)
			return
		}
	}
}

func (p *parser) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// finish reports problems with the file as a whole. any is set if it contained an element.
func (p *parser) finish(err error, any bool) {
	switch {
	case !any:
		p.problem("It is empty or not XML")
	case !p.report:
		p.problem("It is XML but not JUnit: it does not have a testsuite")
	case errors.Is(err, errLongTag):
		p.problem("It has a tag of more than %d KiB; the rest was not read", maxTag>>10)
	case !errors.Is(err, io.EOF) && len(p.elements) > 0:
		p.problem("It is incomplete or damaged; kept %s", text.Plural(p.count, "test case"))
	case !errors.Is(err, io.EOF):
		p.problem("Its end is damaged")
	case p.count == 0:
		p.problem("It does not contain any test case")
	}
}

func (p *parser) top() element {
	if len(p.elements) == 0 {
		return element{}
	}
	return p.elements[len(p.elements)-1]
}

// start opens an element. The text of an unknown element is added to the enclosing one.
func (p *parser) start(e xml.StartElement) {
	parent := p.top()
	here := element{name: e.Name.Local, into: parent.into}
	output := here.name == "system-out" || here.name == "system-err"
	switch name := here.name; {
	case p.test != nil && len(p.elements) == p.testDepth:
		here.into = p.test.child(name, attributes(e))
	case p.test != nil:
		if output {
			here.into = nil
		}
	case name == "testsuites" || name == "testsuite":
		p.openSuite(attributes(e))
	case name == "testcase":
		p.openTest(attributes(e))
	case parent.name == "testsuite" && (name == "failure" || name == "error"):
		// A suite that failed as a whole, before or after its cases.
		p.openTest(map[string]string{"name": p.suite().name})
		p.testDepth = len(p.elements)
		here.into = p.test.child(name, attributes(e))
	case parent.name == "testsuite" && output:
		here.into = p.suite().output
	}
	p.elements = append(p.elements, here)
}

// end closes the innermost element. The decoder guarantees that there is one.
func (p *parser) end() {
	name := p.top().name
	p.elements = p.elements[:len(p.elements)-1]
	switch {
	case p.test != nil && len(p.elements) < p.testDepth:
		p.closeTest()
	case p.test == nil && (name == "testsuites" || name == "testsuite"):
		p.closeSuite()
	}
}

// suite returns the innermost open testsuite.
func (p *parser) suite() *suite {
	if len(p.suites) == 0 {
		return &suite{}
	}
	return p.suites[len(p.suites)-1]
}

func (p *parser) openSuite(attrs map[string]string) {
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

func (p *parser) closeSuite() {
	s := p.suite()
	p.suites = p.suites[:len(p.suites)-1]
	if cases := p.count - s.first; cases <= shareCases {
		share(s.output.String(), p.pending[len(p.pending)-cases:])
	}
	p.flush()
}

func (p *parser) openTest(attrs map[string]string) {
	p.report = true
	p.test, p.testDepth = newTestcase(attrs), len(p.elements)+1
}

// closeTest converts the open testcase into a case.
func (p *parser) closeTest() {
	p.pending = append(p.pending, p.distinct(p.test.result(p.suite(), p.paths)))
	p.count++
	p.test = nil
	p.flush()
}

// flush releases the cases that cannot receive output from an open testsuite. It keeps those of the outermost suite that is small
// enough to be searched.
func (p *parser) flush() {
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
func (p *parser) release(n int) {
	for _, c := range p.pending[:n] {
		if p.err == nil {
			p.err = p.each(c)
		}
	}
	p.pending = slices.Delete(p.pending, 0, n)
}

// distinct numbers a case whose ID occurred before.
func (p *parser) distinct(c evidence.Case) evidence.Case {
	first, name := c.Identity(), c.Name
	id := first
	for p.seen[id] > 0 {
		p.seen[first]++
		c.Name = fmt.Sprintf("%s (%d)", name, p.seen[first])
		id = c.Identity()
	}
	p.seen[id]++
	return c
}

// attributes returns an element's attributes by local name.
func attributes(e xml.StartElement) map[string]string {
	all := make(map[string]string, len(e.Attr))
	for _, a := range e.Attr {
		if _, twice := all[a.Name.Local]; !twice {
			all[a.Name.Local] = a.Value
		}
	}
	return all
}

// first returns the first named attribute that is not empty.
func first(attrs map[string]string, names ...string) string {
	for _, n := range names {
		if attrs[n] != "" {
			return attrs[n]
		}
	}
	return ""
}
