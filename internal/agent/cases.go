package agent

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/go-units"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// maxCasesOf is the most test cases that are read of one attempt.
	maxCasesOf = 20000
	// maxCaseBytes is the size of one attempt's cases as JSON, in bytes. The client accepts more.
	maxCaseBytes = 48 << 20
	// maxName is the length to which a name or path is truncated, in bytes.
	maxName = 1 << 10
	// maxProblems is the most problems that one attempt may report; maxProblemText limits the total length of those from its wrapper, in
	// bytes.
	maxProblems    = 100
	maxProblemText = 5 << 10
	// maxListed is the most files of an upload that are listed; maxListedPaths limits the total length of their paths, in bytes. Together
	// with maxProblemText they keep the state of 256 attempts below the client's maxState.
	maxListed      = 50
	maxListedPaths = 4 << 10
)

// ParseReport reads one test report. It calls each for every case and returns a sentence for everything it could not read. root is the
// directory that the test ran in; absolute paths in the file are below it.
type ParseReport func(file io.Reader, root string, each func(evidence.Case) error) ([]string, error)

// writeCases reads a tar.gz of test reports and writes an evidence.AttemptCases, file by file. root is the directory that the files come
// from. It returns an error only before it has written anything; later errors become problems in the response.
func writeCases(w io.Writer, in io.Reader, root string, parse ParseReport, m *masks) error {
	gz, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("read the test reports: %w", err)
	}
	out := bufio.NewWriter(w)
	r := &caseWriter{masks: m, out: out}
	r.json = json.NewEncoder(r)
	r.text(`{"cases":[`)
	files := tar.NewReader(gz)
	for r.err == nil {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.problem("The test reports cannot be read to their end: %s", err)
			break
		}
		problems, err := parse(files, root, r.add)
		for _, p := range problems {
			r.problem("%s: %s", header.Name, p)
		}
		if err != nil && r.err == nil {
			r.problem("%s: %s", header.Name, err)
		}
	}
	if r.dropped > 0 {
		r.problem("%d of %d test cases were left out: at most %d, and %s of them, are read of one attempt.", r.dropped, r.written+r.dropped,
			maxCasesOf, units.BytesSize(maxCaseBytes))
	}
	r.end()
	return nil
}

// caseWriter masks cases, enforces the limits and writes the cases. It stops at the first write error, which means that the reader has
// gone.
type caseWriter struct {
	masks    *masks
	out      *bufio.Writer
	json     *json.Encoder
	err      error
	written  int
	bytes    int
	dropped  int
	problems []string
	// texts counts the failed cases that keep their full text, flaky the flaky ones that keep their message.
	texts, flaky int
}

// Write implements io.Writer and counts the bytes.
func (r *caseWriter) Write(p []byte) (int, error) {
	n, err := r.out.Write(p)
	r.bytes += n
	return n, err
}

func (r *caseWriter) text(s string) {
	if r.err == nil {
		_, r.err = r.out.WriteString(s)
	}
}

func (r *caseWriter) value(v any) {
	if r.err == nil {
		r.err = r.json.Encode(v)
	}
}

func (r *caseWriter) add(c evidence.Case) error {
	if r.written >= maxCasesOf || r.bytes >= maxCaseBytes {
		r.dropped++
		return r.err
	}
	if r.written > 0 {
		r.text(",")
	}
	r.value(r.clean(c))
	r.written++
	return r.err
}

// end writes what follows the cases.
func (r *caseWriter) end() {
	r.text("]")
	if len(r.problems) > 0 {
		r.text(`,"problems":`)
		r.value(r.problems)
	}
	r.text("}\n")
	if r.err == nil {
		r.err = r.out.Flush()
	}
}

// clean masks a case and then truncates it. The output of passing cases, and texts beyond the limits of the result, are only in the
// test reports of the record.
func (r *caseWriter) clean(c evidence.Case) evidence.Case {
	text := func(s string, most int) string { return text.Head(r.masks.string(s), most) }
	c.Class, c.Name, c.File = text(c.Class, maxName), text(c.Name, maxName), text(c.File, maxName)
	if c.Status.Bad() && r.texts < evidence.MaxTexts {
		r.texts++
		c.Message, c.Detail, c.Output = text(c.Message, evidence.MaxMessage), text(c.Detail, evidence.MaxDetail), text(c.Output, evidence.MaxOutput)
		return c
	}
	if c.Flaky && r.flaky < evidence.MaxTexts {
		r.flaky++
		c.Message, c.Detail, c.Output = text(c.Message, evidence.MaxMessage), "", ""
		return c
	}
	c.Cut = c.Status.Bad() && (c.Detail != "" || c.Output != "" || len(c.Message) > evidence.MaxBrief)
	c.Message, c.Detail, c.Output = text(c.Message, evidence.MaxBrief), "", ""
	return c
}

func (r *caseWriter) problem(format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, text.Head(r.masks.string(fmt.Sprintf(format, args...)), evidence.MaxMessage))
	}
}

// cleanAttempt masks a wrapper's report of an attempt and enforces its limits.
func cleanAttempt(a evidence.Attempt, key evidence.AttemptKey, m *masks) evidence.Attempt {
	a.AttemptKey = key
	a.Signal = text.Head(m.string(a.Signal), 32)
	a.JUnit, a.Artifacts = cleanFiles(a.JUnit, m), cleanFiles(a.Artifacts, m)
	problems := a.Problems[:min(len(a.Problems), maxProblems)]
	a.Problems = nil
	for room := maxProblemText; len(problems) > 0 && room > 0; problems = problems[1:] {
		p := text.Head(m.string(problems[0]), min(evidence.MaxMessage, room))
		a.Problems = append(a.Problems, p)
		room -= len(p)
	}
	if a.Usage != nil {
		with := *a.Usage
		with.Source = text.Head(m.string(with.Source), 32)
		a.Usage = &with
	}
	return a
}

// cleanFiles returns the first files of a list, with masked paths.
func cleanFiles(files []evidence.File, m *masks) []evidence.File {
	var l listing
	for _, f := range files[:min(len(files), maxListed)] {
		l.add(m.string(f.Path), f.Size)
	}
	return l.Files
}

// listing names the first files of an upload. The others are only in the archive, so that they take no memory.
type listing struct {
	Files []evidence.File
	// Count is the number of files, Bytes the total length of the listed paths.
	Count, Bytes int
}

func (l *listing) add(path string, size int64) {
	l.Count++
	if path = text.Head(path, maxName); len(l.Files) < maxListed && l.Bytes+len(path) <= maxListedPaths && len(l.Files) == l.Count-1 {
		l.Files = append(l.Files, evidence.File{Path: path, Size: size})
		l.Bytes += len(path)
	}
}
