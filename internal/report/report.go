// Package report renders the state of a Run: the single comment on the issue, which is edited as the Run proceeds, and the check
// runs on the commit. It is pure. Text from a repository, a log or a person never becomes a mention, a link or HTML.
package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// maxBody is the longest text sent to GitHub, in bytes. GitHub's limit is 65,536 characters for a comment and 65,535 for the summary
// and the text of a check run: https://docs.github.com/en/rest/checks/runs
const maxBody = 60_000

// Mark is the hidden line that identifies a Run's comment.
func Mark(run *v1alpha1.Run) string { return "<!-- conductor:run=" + run.Name + " -->" }

// Comment renders the Run's comment in GitHub's Markdown, at most 60,000 bytes. A suite without a result is shown by its status; left is
// from TimeLeft. The clock decides whether the stack has expired and dates the comment; the rest depends only on the Run and its results.
func Comment(run *v1alpha1.Run, results []evidence.Suite, left string, now time.Time) string {
	suites := gather(run, suiteNames(run), results)
	parts := underWay(run, suites, left)
	if run.Status.Outcome != "" {
		parts = ended(run, suites, now)
	}
	body := fitted(run, parts)
	if now.IsZero() {
		return body
	}
	return body + "\n<sub>Updated " + now.UTC().Format("2006-01-02 15:04:05") + " UTC</sub>\n"
}

// underWay are the parts of a comment on a Run without an outcome: what it does now comes first.
func underWay(run *v1alpha1.Run, suites []tested, left string) []part {
	return []part{
		{add: func(d *document) {
			d.line(Mark(run))
			d.para("### " + headline(run, suites))
			d.explain(run, left)
			d.para(origin(run))
		}},
		{add: func(d *document) { d.stages(run) }},
		{"suites", func(d *document) { d.suites(run, suites) }},
		{"images", func(d *document) { d.images(run) }},
		{"services", func(d *document) { d.services(run) }},
		{"the notes on the conversion", func(d *document) { d.notes(run) }},
		{add: func(d *document) { d.para(next(run)) }},
	}
}

// ended are the parts of a comment on a Run with an outcome: what failed and what to do come first.
func ended(run *v1alpha1.Run, suites []tested, now time.Time) []part {
	return []part{
		{add: func(d *document) {
			d.line(Mark(run))
			d.para("### " + headline(run, suites))
			if run.Status.Outcome != v1alpha1.OutcomeFailed || !isEveryFailureNamed(suites) {
				d.explain(run, "")
			}
			d.failures(run, suites)
			d.para(next(run))
			d.para(origin(run))
		}},
		{"the suites", func(d *document) { d.suites(run, suites) }},
		{add: func(d *document) { d.stages(run) }},
		{"the images", func(d *document) { d.images(run) }},
		{"the services", func(d *document) { d.services(run) }},
		{add: func(d *document) {
			d.health(run)
			d.para(expiry(run, now))
			d.record(run)
			d.fullText(run, suites)
		}},
		{"the notes on the conversion", func(d *document) { d.notes(run) }},
	}
}

// Digest is a hash of the report of a Run; inFull are the suites that are reported test by test. It depends neither on the clock nor on
// what was sent before, so an equal digest means that there is nothing to send. The result of a suite does not change once the suite has
// ended, so its name represents it here and the result need not be fetched. Logs and failures are left out too: they move from the Run to
// its record, and they arrive together with an outcome, a message or a record, which do change the digest.
func Digest(run *v1alpha1.Run, inFull []string) string {
	h := sha256.New()
	bare := withoutTexts(run)
	report := bare.Status.Report
	bare.Status.Report = nil
	h.Write([]byte(Comment(bare, nil, "", time.Time{})))
	bare.Status.Report = report
	// Strings and times always marshal, and writing to a hash cannot fail.
	_ = json.NewEncoder(h).Encode(CheckRuns(bare, nil, nil, ""))
	_ = json.NewEncoder(h).Encode(slices.Sorted(slices.Values(inFull)))
	return hex.EncodeToString(h.Sum(nil))
}

// withoutTexts returns a Run without the texts that compact.Fold removes.
func withoutTexts(run *v1alpha1.Run) *v1alpha1.Run {
	bare := *run
	bare.Status.Suites, bare.Status.Images, bare.Status.Services = slices.Clone(run.Status.Suites), slices.Clone(run.Status.Images), slices.Clone(run.Status.Services)
	for i := range bare.Status.Suites {
		bare.Status.Suites[i].Log, bare.Status.Suites[i].Failures = "", nil
	}
	for i := range bare.Status.Images {
		bare.Status.Images[i].Log = ""
	}
	for i := range bare.Status.Services {
		bare.Status.Services[i].Message, _, _ = strings.Cut(bare.Status.Services[i].Message, "\n")
	}
	if r := run.Status.Record; r != nil {
		record := *r
		record.Folded, bare.Status.Record = false, &record
	}
	return &bare
}

// size bounds what a document shows.
type size struct {
	// log is the bytes of one log, rows the rows of one table, text the characters of one message.
	log, rows, text int
	// cases is how many failing tests are shown in full, detail the bytes of each one's message, names how many are only named.
	cases, detail, names int
}

// sizes are tried from the largest to the smallest, which always fits.
var sizes = []size{
	{log: 8192, rows: 64, text: 2000, cases: 100, detail: 8192, names: 20},
	{log: 4096, rows: 64, text: 600, cases: 100, detail: 4096, names: 20},
	{log: 2048, rows: 64, text: 600, cases: 60, detail: 2048, names: 20},
	{log: 1024, rows: 64, text: 300, cases: 40, detail: 1024, names: 10},
	{log: 512, rows: 32, text: 120, cases: 25, detail: 512, names: 5},
	{rows: 10, text: 80, cases: 10, detail: 160, names: 2},
	{rows: 3, text: 60, cases: 3, detail: 80},
}

// part is a part of a text; one with a name can be left out.
type part struct {
	name string
	add  func(*document)
}

// maxNotice is room for the sentence on what is left out, in bytes.
const maxNotice = 600

// fitted renders the parts at the largest size at which they fit into maxBody. If that is not the largest of all, a sentence follows on
// where the rest is. Parts that do not fit at the smallest size either are left out, the last one first.
func fitted(run *v1alpha1.Run, parts []part) string {
	for i, s := range sizes {
		if body := render(parts, s); len(body) <= maxBody-maxNotice {
			if i > 0 {
				body += shortened(run, nil)
			}
			return body
		}
	}
	var without []string
	for i := len(parts) - 1; ; i-- {
		if i >= 0 && parts[i].name == "" {
			continue
		}
		if i >= 0 {
			without = append(without, parts[i].name)
			parts = slices.Delete(slices.Clone(parts), i, i+1)
		}
		if body := render(parts, sizes[len(sizes)-1]); i < 0 || len(body) <= maxBody-maxNotice {
			return text.Head(body, maxBody-maxNotice) + shortened(run, without)
		}
	}
}

func render(parts []part, s size) string {
	d := document{size: s}
	for _, p := range parts {
		if p.add(&d); d.full() {
			break // It will be discarded.
		}
	}
	return strings.TrimLeft(d.String(), "\n")
}

// shortened is the sentence on what a text lacks, and where that is.
func shortened(run *v1alpha1.Run, without []string) string {
	lacks := "Logs, messages and lists are shortened"
	if len(without) > 0 {
		lacks += ", and " + strings.Join(without, ", ") + " left out"
	}
	return "\n" + lacks + " to fit GitHub's limit. " + code("conductor runs record "+run.Name) + " prints all of it.\n"
}

// document is Markdown under construction: paragraphs with an empty line between them.
type document struct {
	strings.Builder
	size
}

func (d *document) line(s string) { d.WriteString(s + "\n") }

// full reports whether the document is already too long. It will be discarded for a smaller size, so adding more is wasted work.
func (d *document) full() bool { return d.Len() > maxBody }

// para adds a paragraph, unless it is empty.
func (d *document) para(s string) {
	if s != "" {
		d.WriteString("\n" + s + "\n")
	}
}

// table adds a table of at most d.rows rows. Cells are already Markdown.
func (d *document) table(head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	more := len(rows) - d.rows
	if more > 0 {
		rows = rows[:d.rows]
	}
	d.WriteString("\n| " + strings.Join(head, " | ") + " |\n|" + strings.Repeat(" --- |", len(head)) + "\n")
	for _, r := range rows {
		d.line("| " + strings.Join(r, " | ") + " |")
	}
	if more > 0 {
		d.para("and " + text.Plural(more, "more row"))
	}
}

// log adds the end of a log, collapsed.
func (d *document) log(label, name, log string) {
	if d.size.log == 0 || d.full() || strings.TrimSpace(log) == "" {
		return
	}
	d.para("<details><summary>" + label + " <code>" + escapeHTML(name) + "</code></summary>")
	d.para(fence(log, d.size.log))
	d.para("</details>")
}
