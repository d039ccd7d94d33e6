package delivery

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/report"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Table prints one line per Delivery.
func Table(w io.Writer, list []v1alpha1.Delivery, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row(t, "DELIVERY", "EVENT", "REPOSITORY", "ABOUT", "SENDER", "OUTCOME", "RUN", "AGE")
	for i := range list {
		d := &list[i]
		e := d.Spec.Event
		row(t, d.Name, e.Name, e.Repository.FullName(), about(e), e.Sender.Login, outcomeOf(d), d.Status.Run,
			duration.HumanDuration(now.Sub(receivedAt(d).Time)))
	}
	return t.Flush()
}

// Describe prints everything known about a Delivery.
func Describe(w io.Writer, d *v1alpha1.Delivery, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	e, at := d.Spec.Event, receivedAt(d).Time
	row(t, "Delivery:", d.Name)
	row(t, "Event:", strings.TrimSpace(e.Name+" "+e.Action))
	row(t, "Repository:", e.Repository.FullName())
	row(t, "About:", about(e))
	row(t, "Sender:", e.Sender.Login)
	row(t, "Received:", fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), duration.HumanDuration(now.Sub(at))))
	row(t, "Outcome:", outcomeOf(d))
	row(t, "Run:", d.Status.Run)
	row(t, "Reason:", d.Status.Reason)
	if e.Comment != nil {
		for _, c := range e.Comment.Commands {
			row(t, "Command:", line(c))
		}
		if e.Comment.More > 0 {
			row(t, "Skipped:", text.Plural(e.Comment.More, "command"))
		}
	}
	return t.Flush()
}

// row writes to memory; Flush returns the error, if any.
func row(t *tabwriter.Writer, cells ...string) {
	for i, c := range cells {
		if cells[i] = text.Head(report.Plain(c), maxReason); cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

// about returns the ref or the issue of an event.
func about(e v1alpha1.Event) string {
	switch {
	case e.Push != nil:
		return e.Push.Ref
	case e.Comment != nil:
		return fmt.Sprintf("#%d", e.Comment.Issue)
	case e.Closed != nil:
		return fmt.Sprintf("#%d", e.Closed.Issue)
	}
	return ""
}

func outcomeOf(d *v1alpha1.Delivery) string {
	if d.Status.ProcessedAt == nil {
		return "Waiting"
	}
	return string(d.Status.Outcome)
}

// line returns a parsed command as it could be written, or its problem.
func line(c v1alpha1.Command) string {
	if c.Problem != "" {
		return c.Problem
	}
	words := append([]string{c.Verb}, c.Args...)
	for _, f := range c.Flags {
		words = append(words, fmt.Sprintf("--%s=%q", f.Name, f.Value))
	}
	return strings.Join(words, " ")
}
