package report

import (
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Limits of what comes right under the headline: how many failing tests, how many logs, how many lines of each, and how many bytes.
const (
	topCases = 5
	topLogs  = 3
	topLines = 5
	topLog   = 12
	topBytes = 1000
)

// failures adds what failed, so that a reader sees it without opening anything: the first failing tests, and the last lines of what failed
// without naming a test. The sections below have all of it.
func (d *document) failures(run *v1alpha1.Run, suites []tested) {
	switch run.Status.Outcome {
	case "", v1alpha1.OutcomePassed, v1alpha1.OutcomeCanceled:
		return
	}
	all, shown := 0, 0
	d.share(suites, min(topCases, d.cases), func(t *tested, n int) {
		all += t.failures()
		shown += n
		for _, c := range t.bad[:n] {
			d.topCase(run, t, c, len(suites) > 1)
		}
	})
	if more := all - shown; more > 0 && shown > 0 {
		d.para("**" + text.Plural(more, "more failing test") + "**, listed below")
	}
	d.topLogs(run, suites)
}

// topCase adds one failing case: its name, its place and the first lines of its message.
func (d *document) topCase(run *v1alpha1.Run, t *tested, c *evidence.Case, named bool) {
	about := "❌ " + code(c.ID())
	if named {
		about += " in " + code(t.Name)
	}
	if t.isFresh(c) {
		about += ", newly failing"
	}
	if c.File != "" {
		about += " · " + blob(run, c)
	}
	d.para(about)
	message := strings.TrimSpace(c.Message)
	if message == "" {
		message = strings.TrimSpace(c.Detail)
	}
	if message = firstLines(message, topLines); message != "" {
		d.para(fenceHead(message, min(topBytes, d.detail)))
	}
}

// topLogs adds the last lines of failed builds, services and suites, of the latter only where no failing test is known.
func (d *document) topLogs(run *v1alpha1.Run, suites []tested) {
	left := topLogs
	add := func(about, log string) {
		if left > 0 && d.size.log > 0 && strings.TrimSpace(log) != "" {
			left--
			d.para("❌ " + about + " ended with:")
			d.para(fence(lastLines(log, topLog), min(topBytes, d.size.log)))
		}
	}
	for _, i := range run.Status.Images {
		add("The build of "+code(i.Name), i.Log)
	}
	for _, s := range run.Status.Services {
		if _, log, ok := strings.Cut(s.Message, "\n"); ok && s.State == v1alpha1.ServiceFailed {
			add("The service "+code(s.Name), log)
		}
	}
	for i := range suites {
		if t := &suites[i]; len(t.bad) == 0 && (t.Outcome == v1alpha1.OutcomeFailed || t.Outcome == v1alpha1.OutcomeError) {
			add("The suite "+code(t.Name), t.Log)
		}
	}
}

// share calls each with every suite, and with how many of its failing cases to show: the suites share the limit.
func (d *document) share(suites []tested, limit int, each func(t *tested, cases int)) {
	waiting := 0
	for _, t := range suites {
		if len(t.bad) > 0 {
			waiting++
		}
	}
	for i := range suites {
		n := 0
		if t := &suites[i]; len(t.bad) > 0 {
			n = min(len(t.bad), (limit+waiting-1)/waiting)
			limit -= n
			waiting--
		}
		if d.full() {
			return
		}
		each(&suites[i], n)
	}
}

// isEveryFailureNamed reports whether each failed suite has a failing case, which explains the outcome better than a count of suites.
func isEveryFailureNamed(suites []tested) bool {
	named := false
	for _, t := range suites {
		switch t.Outcome {
		case v1alpha1.OutcomeFailed, v1alpha1.OutcomeError:
			if len(t.bad) == 0 {
				return false
			}
			named = true
		}
	}
	return named
}

// firstLines returns the first n lines of a text that are not empty, and an ellipsis if there are more.
func firstLines(s string, n int) string {
	var out []string
	for line := range strings.Lines(lines.Replace(text.Head(s, 16*topBytes))) {
		if line = strings.TrimRight(line, " \n"); line == "" {
			continue
		}
		if len(out) == n {
			return strings.Join(append(out, text.Ellipsis), "\n")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// lastLines returns the last n lines of a text.
func lastLines(s string, n int) string {
	all := strings.Split(strings.TrimRight(lines.Replace(text.Tail(s, 16*topBytes)), "\n "), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}
