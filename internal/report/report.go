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

// Comment renders the Run's comment in GitHub's Markdown, at most 60,000 bytes. A suite without a result is shown by its status.
// The clock decides whether the stack has expired and dates the comment; the rest depends only on the Run and its results.
func Comment(run *v1alpha1.Run, results []evidence.Suite, now time.Time) string {
	suites := gather(run, suiteNames(run), results)
	body := fitted(func(s size) string {
		d := document{size: s}
		d.line(Mark(run))
		d.para("### " + headline(run, suites))
		d.para(origin(run))
		d.para(explanation(run, s))
		d.stages(run)
		d.suites(run, suites)
		d.images(run)
		d.services(run)
		d.health(run)
		d.para(expiry(run, now))
		d.record(run)
		d.fullText(run, suites)
		d.notes(run)
		d.para(next(run))
		return d.String()
	})
	if now.IsZero() {
		return body
	}
	return body + "\n<sub>Updated " + now.UTC().Format("2006-01-02 15:04:05") + " UTC</sub>\n"
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
	h.Write([]byte(Comment(bare, nil, time.Time{})))
	bare.Status.Report = report
	// Strings and times always marshal, and writing to a hash cannot fail.
	_ = json.NewEncoder(h).Encode(CheckRuns(bare, nil, nil))
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

// fitted renders at the largest size that fits into maxBody.
func fitted(render func(size) string) string {
	var body string
	for _, s := range sizes {
		if body = render(s); len(body) <= maxBody-100 {
			break
		}
	}
	return body
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

// log adds the end of a log, collapsed unless open.
func (d *document) log(label, name, log string, open bool) {
	if d.size.log == 0 || d.full() || strings.TrimSpace(log) == "" {
		return
	}
	tag := "<details>"
	if open {
		tag = "<details open>"
	}
	d.para(tag + "<summary>" + label + " <code>" + escapeHTML(name) + "</code></summary>")
	d.para(fence(log, d.size.log))
	d.para("</details>")
}
