package report

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// maxPath is the longest file path that is linked or annotated, in bytes.
const maxPath = 512

// failing adds one failing case, collapsed: its location, message and output.
func (d *document) failing(run *v1alpha1.Run, t *tested, c *evidence.Case) {
	mark := ""
	if t.isFresh(c) {
		mark = " newly failing"
	}
	d.para("<details><summary>❌ <code>" + escapeHTML(c.ID()) + "</code>" + mark + "</summary>")
	d.para(d.where(run, t, c))
	if s := story(c); s != "" {
		d.para(fenceHead(s, d.detail))
	} else {
		d.para("The test reported no message.")
	}
	if strings.TrimSpace(c.Output) != "" && d.size.log > 0 {
		d.para("Output of this test:")
		d.para(fence(c.Output, min(d.detail, d.size.log)))
	}
	d.para("</details>")
}

// story is a case's message and trace; the message alone is left out if the trace contains it.
func story(c *evidence.Case) string {
	message, detail := strings.TrimSpace(c.Message), strings.TrimSpace(c.Detail)
	if message == "" || strings.Contains(detail, message) {
		return detail
	}
	return strings.TrimSpace(message + "\n" + detail)
}

// where is a case's file and line as a link, its duration and its shard.
func (d *document) where(run *v1alpha1.Run, t *tested, c *evidence.Case) string {
	var parts []string
	if c.File != "" {
		parts = append(parts, blob(run, c))
	}
	if c.Status == evidence.Error {
		parts = append(parts, "ended with an error")
	}
	if c.Seconds > 0 {
		parts = append(parts, seconds(c.Seconds))
	}
	if t.Shards > 1 {
		parts = append(parts, "shard "+strconv.Itoa(c.Shard))
	}
	return strings.Join(parts, " · ")
}

// blob is file:line, linked to the file at the commit if the path can be one of the repository.
func blob(run *v1alpha1.Run, c *evidence.Case) string {
	place, anchor := c.File, ""
	file, known := inRepository(c.File)
	if known {
		place = file
	}
	if c.Line > 0 {
		anchor = strconv.Itoa(c.Line)
		place += ":" + anchor
		anchor = "#L" + anchor
	}
	if !known {
		return code(place)
	}
	return link(code(place), run.Spec.Repository.HTMLURL+"/blob/"+run.Spec.SHA+"/"+escapePath(file)+anchor)
}

// inRepository returns a path in the form that GitHub expects: relative to the repository's root, with slashes, and clean. It
// returns false when the path leaves the root, is absolute or contains characters unusual in file names.
func inRepository(file string) (string, bool) {
	if file == "" || len(file) > maxPath || Plain(file) != file {
		return "", false
	}
	file = strings.ReplaceAll(file, `\`, "/")
	if strings.HasPrefix(file, "/") || strings.Contains(file, ":") {
		return "", false
	}
	file = path.Clean(file)
	if file == "." || file == ".." || strings.HasPrefix(file, "../") {
		return "", false
	}
	return file, true
}

// escapePath escapes a path for an address, so that it contains no Markdown.
func escapePath(file string) string {
	var b strings.Builder
	for i := range len(file) {
		switch c := file[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("/-._", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// seconds formats the duration of a test: with one decimal, since most tests are short.
func seconds(s float64) string {
	if s < 60 {
		return strconv.FormatFloat(s, 'f', 1, 64) + "s"
	}
	// Absurdly long times are capped, as they would overflow a duration.
	return brief(time.Duration(min(s, 1e6) * float64(time.Second)))
}

// noticeable is the shortest time in seconds of a test that is listed as slow.
const noticeable = 0.1

// slowest lists the suite's slowest cases with their durations.
func (d *document) slowest(t *tested) {
	var spans []string
	for _, c := range t.slowest[:min(len(t.slowest), d.names)] {
		if c.Seconds < noticeable {
			break
		}
		spans = append(spans, code(c.ID())+" "+seconds(c.Seconds))
	}
	if len(spans) > 0 {
		d.para("**Slowest in " + code(t.Name) + ":** " + strings.Join(spans, ", "))
	}
}

// attempts adds the table of the attempts, collapsed, if there was more than one.
func (d *document) attempts(run *v1alpha1.Run, t *tested) {
	if len(t.Attempts) < 2 {
		return
	}
	var rows [][]string
	for _, a := range t.Attempts {
		as := v1alpha1.SuiteStatus{Outcome: a.Outcome, StartedAt: a.StartedAt}
		rows = append(rows, []string{
			strconv.Itoa(int(a.Shard)), strconv.Itoa(int(a.Number)), suiteState(run, as), exitCode(a.ExitCode),
			took(a.StartedAt, a.FinishedAt), inline(a.Message, min(d.text, 300)),
		})
	}
	d.para("<details><summary>" + text.Plural(len(rows), "attempt") + " of <code>" + escapeHTML(t.Name) + "</code></summary>")
	d.table([]string{"Shard", "Attempt", "Result", "Exit code", "Took", ""}, rows)
	d.para("</details>")
}

// problems lists what went wrong apart from the tests themselves, such as an unreadable JUnit file.
func (d *document) problems(t *tested) {
	if len(t.problems) == 0 {
		return
	}
	var items strings.Builder
	for _, p := range t.problems[:min(len(t.problems), d.names)] {
		items.WriteString("\n- " + inline(p, min(d.text, 500)))
	}
	d.para("**Problems in " + code(t.Name) + ":**\n" + items.String())
}
