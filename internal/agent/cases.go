package agent

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// maxCasesOf is how many test cases of one attempt are read.
	maxCasesOf = 20000
	// maxCaseText is how much text the cases of one attempt may have beyond their names and messages, in bytes.
	maxCaseText = 16 << 20
	// maxName is the length in bytes at which a name or path is cut.
	maxName = 1 << 10
	// maxProblems is how many sentences one attempt may have.
	maxProblems = 100
)

// ParseJUnit reads one JUnit file: its cases, and sentences about what could not be read. root is the directory that the test ran
// in, which its absolute paths are below.
type ParseJUnit func(file io.Reader, root string) ([]evidence.Case, []string, error)

// parseCases reads the cases from a tar.gz of JUnit files that were found below root.
func parseCases(in io.Reader, root string, parse ParseJUnit, m *masks) (evidence.AttemptCases, error) {
	r := &caseReader{masks: m, room: maxCaseText}
	gz, err := gzip.NewReader(in)
	if err != nil {
		return r.out, fmt.Errorf("read the JUnit files: %w", err)
	}
	files := tar.NewReader(gz)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.out, fmt.Errorf("read the JUnit files: %w", err)
		}
		cases, problems, err := parse(files, root)
		r.add(cases)
		for _, p := range problems {
			r.problem("%s: %s", header.Name, p)
		}
		if err != nil {
			r.problem("%s: %s", header.Name, err)
		}
	}
	if r.dropped > 0 {
		r.problem("%d test cases are more than are read; %d were left out.", maxCasesOf+r.dropped, r.dropped)
	}
	return r.out, nil
}

// caseReader masks cases and holds them within the limits.
type caseReader struct {
	masks   *masks
	out     evidence.AttemptCases
	room    int
	dropped int
}

func (r *caseReader) add(cases []evidence.Case) {
	for _, c := range cases {
		if len(r.out.Cases) >= maxCasesOf {
			r.dropped++
			continue
		}
		r.out.Cases = append(r.out.Cases, r.clean(c))
	}
}

// clean masks before it cuts. What a passing case has printed is in the record's JUnit, and nobody reads it elsewhere.
func (r *caseReader) clean(c evidence.Case) evidence.Case {
	text := func(s string, most int) string { return cut(r.masks.string(s), most) }
	c.Class, c.Name, c.File = text(c.Class, maxName), text(c.Name, maxName), text(c.File, maxName)
	c.Message = text(c.Message, evidence.MaxMessage)
	if !c.Status.Bad() {
		c.Detail, c.Output = "", ""
		return c
	}
	for _, long := range []struct {
		text *string
		most int
	}{{&c.Detail, evidence.MaxDetail}, {&c.Output, evidence.MaxOutput}} {
		if r.room <= 0 {
			*long.text = ""
		}
		*long.text = cut(text(*long.text, long.most), r.room)
		r.room -= len(*long.text)
	}
	return c
}

func (r *caseReader) problem(format string, args ...any) {
	if len(r.out.Problems) < maxProblems {
		r.out.Problems = append(r.out.Problems, cut(r.masks.string(fmt.Sprintf(format, args...)), evidence.MaxMessage))
	}
}

// cleanAttempt masks what a wrapper says of an attempt and holds it within limits.
func cleanAttempt(a evidence.Attempt, key evidence.AttemptKey, m *masks) evidence.Attempt {
	a.AttemptKey = key
	a.Signal = cut(m.string(a.Signal), 32)
	a.JUnit, a.Artifacts = cleanFiles(a.JUnit, m), cleanFiles(a.Artifacts, m)
	problems := a.Problems[:min(len(a.Problems), maxProblems)]
	a.Problems = nil
	for _, p := range problems {
		a.Problems = append(a.Problems, cut(m.string(p), evidence.MaxMessage))
	}
	if a.Usage != nil {
		with := *a.Usage
		with.Source = cut(m.string(with.Source), 32)
		a.Usage = &with
	}
	return a
}

func cleanFiles(files []evidence.File, m *masks) []evidence.File {
	files = files[:min(len(files), maxFiles)]
	out := make([]evidence.File, 0, len(files))
	for _, f := range files {
		out = append(out, evidence.File{Path: cut(m.string(f.Path), maxName), Size: f.Size})
	}
	return out
}
