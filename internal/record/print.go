// Package record prints the record of a run to a terminal. The record is an OCI artifact; docs/record.md describes how to read it
// without Conductor.
package record

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/docker/go-units"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// Print writes a record for people: the run, its suites, its failed and flaky tests, and the files of the record. It removes control
// characters from test output, which could control the terminal.
func Print(w io.Writer, reference, digest string, r evidence.Result, layers []evidence.Layer) error {
	p := &printer{w: w}
	p.head(reference, digest, r)
	p.suites(r.Suites)
	for _, s := range r.Suites {
		p.tests(s)
	}
	p.services(r.Services)
	for _, note := range r.Notes {
		p.line("\nNote: %s", clean(note))
	}
	p.layers(layers)
	return p.err
}

// printer keeps the first write error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// table writes rows in columns, after an empty line and a heading.
func (p *printer) table(head []string, rows [][]string) {
	if len(rows) == 0 || p.err != nil {
		return
	}
	p.line("")
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if p.err == nil {
		p.err = t.Flush()
	}
}

func (p *printer) head(reference, digest string, r evidence.Result) {
	p.line("Run:         %s", clean(r.Run))
	p.line("Repository:  %s", clean(r.Repository))
	p.line("Commit:      %s (%s)", clean(r.SHA), clean(r.Ref))
	p.line("Asked for:   %s, by %s", clean(r.Trigger), clean(or(r.Actor, "unknown")))
	p.line("Outcome:     %s", clean(strings.TrimSuffix(r.Outcome+": "+r.Message, ": ")))
	if r.StartedAt != nil && r.FinishedAt != nil {
		p.line("Time:        %s, took %s", r.StartedAt.UTC().Format(time.RFC3339), seconds(r.FinishedAt.Sub(*r.StartedAt).Seconds()))
	}
	for _, i := range r.Images {
		p.line("Image:       %s", clean(or(i.Reference, i.Name)))
	}
	p.line("Record:      %s", clean(reference))
	p.line("Digest:      %s", clean(digest))
}

func (p *printer) suites(all []evidence.Suite) {
	var rows [][]string
	for _, s := range all {
		t := evidence.Totals{}
		if s.Totals != nil {
			t = *s.Totals
		}
		took := ""
		if s.StartedAt != nil && s.FinishedAt != nil {
			took = seconds(s.FinishedAt.Sub(*s.StartedAt).Seconds())
		}
		rows = append(rows, []string{
			s.Name, s.Outcome, fmt.Sprint(t.Tests), fmt.Sprint(t.Passed), fmt.Sprint(t.Failed + t.Errors), fmt.Sprint(t.Skipped), fmt.Sprint(t.Flaky),
			took, memory(s.Usage), s.Message,
		})
	}
	p.table([]string{"SUITE", "OUTCOME", "TESTS", "PASSED", "FAILED", "SKIPPED", "FLAKY", "TOOK", "MEMORY", "MESSAGE"}, rows)
}

// tests prints the failed and flaky cases of a suite, and the problems of its attempts.
func (p *printer) tests(s evidence.Suite) {
	for _, c := range s.Cases {
		switch {
		case c.Status.Bad():
			p.line("\n%s  %s › %s%s", strings.ToUpper(string(c.Status)), clean(s.Name), clean(c.ID()), place(c))
			p.text(c.Message)
		case c.Flaky:
			p.line("\nFLAKY  %s › %s%s", clean(s.Name), clean(c.ID()), place(c))
		}
	}
	for _, a := range s.Attempts {
		for _, problem := range a.Problems {
			p.line("\nNote: suite %s, shard %d, attempt %d: %s", clean(s.Name), a.Shard, a.Number, clean(problem))
		}
	}
}

// text prints a test's own lines, indented.
func (p *printer) text(s string) {
	for line := range strings.Lines(strings.TrimSpace(s)) {
		p.line("    %s", clean(strings.TrimRight(line, "\r\n")))
	}
}

func (p *printer) services(all []evidence.Service) {
	var rows [][]string
	for _, s := range all {
		rows = append(rows, []string{s.Name, s.State, memory(s.Usage), s.Message})
	}
	p.table([]string{"SERVICE", "STATE", "MEMORY", "MESSAGE"}, rows)
}

func (p *printer) layers(all []evidence.Layer) {
	var rows [][]string
	for _, l := range all {
		rows = append(rows, []string{l.Name, units.BytesSize(float64(l.Size))})
	}
	p.table([]string{"FILE", "SIZE"}, rows)
}

// place returns the position of a case, with a leading space.
func place(c evidence.Case) string {
	switch {
	case c.File == "":
		return ""
	case c.Line == 0:
		return "  " + clean(c.File)
	}
	return fmt.Sprintf("  %s:%d", clean(c.File), c.Line)
}

func memory(u *evidence.Usage) string {
	if u == nil || u.MemoryPeak == 0 {
		return "-"
	}
	return units.BytesSize(float64(u.MemoryPeak))
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// clean returns a text as one line, without control and formatting characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case unicode.Is(unicode.C, r):
			return -1
		}
		return r
	}, s)
}
