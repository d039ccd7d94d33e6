// Package junit reads the JUnit XML that test tools write. There is no standard: it takes every dialect by what they have in
// common, and reports what it cannot read in a sentence. It is pure, and its memory grows with neither the file's texts nor its cases.
package junit

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// MaxCases is how many test cases of one file are read.
const MaxCases = 20_000

const (
	// maxDepth bounds the nesting of elements; real reports have less than ten.
	maxDepth = 64
	// maxSuiteOutput is how much of a testsuite's own output is searched for its cases' parts, in bytes.
	maxSuiteOutput = 128 << 10
	// maxName bounds a case's name and its class, in bytes.
	maxName = 1 << 10
)

// Parse reads one file and calls each with its cases, in their order. root is the directory that the test ran in; absolute paths
// below it become relative, and others are left out. The problems are sentences for people, without the file's name. The error is
// that of r or of each, which ends the reading: whatever is wrong with the content is a problem, and the cases before it are kept.
func Parse(r io.Reader, root string, each func(evidence.Case) error) (problems []string, err error) {
	watched := &watch{in: r}
	text, problem := decode(watched)
	p := &parser{paths: newPaths(root), each: each, seen: map[evidence.Identity]int{}}
	if problem != "" {
		p.problems = append(p.problems, problem)
	}
	p.read(&source{in: text})
	p.release(len(p.pending))
	if watched.err != nil {
		return p.problems, fmt.Errorf("read JUnit: %w", watched.err)
	}
	return p.problems, p.err
}

// watch remembers an error of the reader, so that it is not taken for one of the content.
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

// parser finds the cases of one file.
type parser struct {
	paths paths
	each  func(evidence.Case) error
	// err is that of each.
	err error
	// count is how many cases there were. The last of them are pending: an open testsuite may have output for them.
	count    int
	pending  []evidence.Case
	problems []string
	// seen counts the cases of each ID.
	seen map[evidence.Identity]int
	// elements are the open elements, suites the open testsuites, test the open testcase.
	elements []element
	suites   []*suite
	test     *testcase
	// testDepth is how many elements are open around a child of the testcase.
	testDepth int
	// report is set when the file had an element of JUnit.
	report bool
}

// element is an open element. Its text goes into a text, where it has one.
type element struct {
	name string
	into *longText
}

// suite is an open testsuite.
type suite struct {
	name, file string
	// first is the number of its first case in the file, from 0.
	first  int
	output *longText
	// rootFile is the file of the last Root Suite in it: mocha names the file there, and not at the suites that follow.
	rootFile string
}

func (p *parser) read(r io.Reader) {
	d := xml.NewDecoder(r)
	d.Strict = false
	// The source has decoded the text already.
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
				p.problem("Its elements are nested more than %d deep; what follows was not read", maxDepth)
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

// finish says what was wrong with the file as a whole. any says that it had an element.
func (p *parser) finish(err error, any bool) {
	switch {
	case !any:
		p.problem("It is empty, or no XML")
	case !p.report:
		p.problem("It is XML, but no JUnit: it has no testsuite")
	case errors.Is(err, errLongTag):
		p.problem("It has a tag of more than %d KiB; what follows was not read", maxTag>>10)
	case !errors.Is(err, io.EOF) && len(p.elements) > 0:
		p.problem("It breaks off or is damaged; %s before that kept", plural(p.count, "test case is", "test cases are"))
	case !errors.Is(err, io.EOF):
		p.problem("Its end is damaged")
	case p.count == 0:
		p.problem("It has no test case")
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

func (p *parser) top() element {
	if len(p.elements) == 0 {
		return element{}
	}
	return p.elements[len(p.elements)-1]
}

// start opens an element. One that has no meaning here hands its text to the element around it.
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

// end closes the element that was opened last. The decoder sees to it that there is one.
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

// suite is the innermost open testsuite.
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

// closeTest turns the open testcase into a case.
func (p *parser) closeTest() {
	p.pending = append(p.pending, p.distinct(p.test.result(p.suite(), p.paths)))
	p.count++
	p.test = nil
	p.flush()
}

// flush hands out the cases that no open testsuite shares its output with: all but those of the outermost that is small enough.
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

// release hands out the first n pending cases.
func (p *parser) release(n int) {
	for _, c := range p.pending[:n] {
		if p.err == nil {
			p.err = p.each(c)
		}
	}
	p.pending = slices.Delete(p.pending, 0, n)
}

// distinct gives a case whose ID was there before a number.
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

// attributes are an element's, without name spaces.
func attributes(e xml.StartElement) map[string]string {
	all := make(map[string]string, len(e.Attr))
	for _, a := range e.Attr {
		if _, twice := all[a.Name.Local]; !twice {
			all[a.Name.Local] = a.Value
		}
	}
	return all
}

// first is the first of the named attributes that is not empty.
func first(attrs map[string]string, names ...string) string {
	for _, n := range names {
		if attrs[n] != "" {
			return attrs[n]
		}
	}
	return ""
}
