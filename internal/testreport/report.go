// Package testreport reads the files in which test tools report results: JUnit XML, TRX, the events of go test -json, and TAP. The
// content of a file decides how it is read, not its name. What cannot be read is reported as a sentence. The package is pure. Its memory
// does not grow with the size of a file: what has to be held until more of the file is read is limited.
package testreport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// MaxCases is the most test cases that are read from one file.
const MaxCases = 20_000

const (
	// maxDepth limits the nesting of elements and subtests; real reports have fewer than ten levels.
	maxDepth = 64
	// maxHeld limits the names and texts that are held until more of the file is read, in bytes.
	maxHeld = 16 << 20
	// headSize is how much of a file's beginning is searched for its format, in bytes.
	headSize = 64 << 10
)

// Parse reads one file and calls each for every case, in order. root is the directory that the test ran in; absolute paths below it
// become relative, others are dropped. problems are sentences for people, without the file's name. err is an error of r or of each,
// which ends the parsing. Invalid content is a problem instead, and the cases before it are kept.
func Parse(r io.Reader, root string, each func(evidence.Case) error) (problems []string, err error) {
	watched := &watch{in: r}
	decoded, problem := decode(watched)
	f := &file{paths: newPaths(root), each: each, seen: map[evidence.Identity]int{}}
	if problem != "" {
		f.problems = append(f.problems, problem)
	}
	switch detect(decoded) {
	case formatGoTest:
		readGoTest(f, decoded)
	case formatTAP:
		readTAP(f, decoded)
	default:
		readXML(f, decoded)
	}
	if watched.err != nil {
		return f.problems, fmt.Errorf("read the report: %w", watched.err)
	}
	return f.problems, f.err
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

// file collects the cases of one file.
type file struct {
	paths paths
	each  func(evidence.Case) error
	// err is the error of each. full means that the file has too many cases.
	err  error
	full bool
	// count is the number of cases so far.
	count    int
	problems []string
	// seen counts the cases with each ID.
	seen map[evidence.Identity]int
}

func (f *file) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// hasRoom reports whether one more case can be read. The first that cannot is a problem.
func (f *file) hasRoom() bool { return f.hasRoomFor(1) }

// hasRoomFor is hasRoom for more cases.
func (f *file) hasRoomFor(more int) bool {
	if f.count+more <= MaxCases {
		return true
	}
	if !f.full {
		f.problem("It has more than %d test cases; the rest was not read", MaxCases)
	}
	f.full = true
	return false
}

// done reports whether the rest of the file must not be read.
func (f *file) done() bool { return f.full || f.err != nil }

// add passes on a case, unless there are too many.
func (f *file) add(c evidence.Case) {
	if f.hasRoom() {
		f.count++
		f.pass(f.distinct(c))
	}
}

func (f *file) pass(c evidence.Case) {
	if f.err == nil {
		f.err = f.each(c)
	}
}

// distinct numbers a case whose ID occurred before.
func (f *file) distinct(c evidence.Case) evidence.Case {
	first, name := c.Identity(), c.Name
	id := first
	for f.seen[id] > 0 {
		f.seen[first]++
		c.Name = fmt.Sprintf("%s (%d)", name, f.seen[first])
		id = c.Identity()
	}
	f.seen[id]++
	return c
}

// incomplete reports that the file ends too early.
func (f *file) incomplete() {
	f.problem("It is incomplete or damaged; kept %s", text.Plural(f.count, "test case"))
}

// checkCases reports a file without cases.
func (f *file) checkCases() {
	if f.count == 0 && len(f.problems) == 0 {
		f.problem("It does not contain any test case")
	}
}

// unknown reports a file in none of the formats.
func (f *file) unknown(why string, args ...any) {
	f.problem("It is not JUnit XML, TRX, go test -json or TAP: "+why+". If it is not a test report, leave it out of the pattern", args...)
}

// format is a format of reports.
type format int

const (
	formatXML format = iota
	formatGoTest
	formatTAP
)

// detect returns a file's format according to its beginning, and XML if that is not conclusive. Other output may come first.
func detect(in *bufio.Reader) format {
	head, _ := in.Peek(headSize) // The next read returns the error again.
	head = bytes.TrimLeft(head, " \t\r\n")
	if bytes.HasPrefix(head, []byte("<")) {
		return formatXML
	}
	for line := range bytes.Lines(head) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case isGoTest(line):
			return formatGoTest
		case startsTAP.Match(line):
			return formatTAP
		}
	}
	return formatXML
}

// describe names the content of a file that is not XML.
func describe(head []byte) string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(head)), "\n")
	switch first = text.Truncate(label(printable(first)), 60); {
	case strings.HasPrefix(first, "{") || strings.HasPrefix(first, "["):
		return "it is JSON, but without the events of go test"
	default:
		return fmt.Sprintf("it begins with %q", first)
	}
}
