package runs

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/report"
	"github.com/w3evolutionsllc/conductor/internal/stage"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// Table prints one line per Run.
func Table(w io.Writer, list []v1alpha1.Run, now time.Time) error {
	t := newTable(w, "RUN", "REPOSITORY", "REF", "COMMIT", "STATE", "TOOK", "AGE", "EXPIRES")
	for i := range list {
		r := &list[i]
		t.row(r.Name, r.Spec.Repository.FullName(), refName(r.Spec.Ref), r.Spec.SHA[:min(len(r.Spec.SHA), 12)], state(r),
			took(r.Status.StartedAt, r.Status.FinishedAt, now), ago(r.CreationTimestamp.Time, now), expires(r, now))
	}
	return t.Flush()
}

// Describe prints everything known about a Run: a timeline of the stages, then images, services and suites.
func Describe(w io.Writer, run *v1alpha1.Run, now time.Time) error {
	t := newTable(w)
	t.row("Run:", run.Name)
	t.row("Repository:", run.Spec.Repository.FullName())
	t.row("Commit:", run.Spec.SHA+" ("+refName(run.Spec.Ref)+", trust level "+string(run.Spec.Trust)+")")
	t.row("Asked for by:", run.Spec.Actor.Login+" ("+string(run.Spec.Trigger.Kind)+")")
	t.row("State:", strings.TrimSuffix(state(run)+": "+run.Status.Message, ": "))
	if run.Status.Issue > 0 {
		t.row("Issue:", fmt.Sprintf("#%d (%s)", run.Status.Issue, run.Status.IssueSource))
	}
	if run.Status.Namespace != "" {
		t.row("Stack:", strings.TrimSuffix(run.Status.Namespace+", expires "+expires(run, now), ", expires "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, section := range []*table{stages(w, run, now), images(w, run, now), services(w, run), suites(w, run, now)} {
		if section == nil {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := section.Flush(); err != nil {
			return err
		}
	}
	for _, n := range run.Status.Notes {
		if _, err := fmt.Fprintln(w, "note:", report.Plain(n)); err != nil {
			return err
		}
	}
	return nil
}

func stages(w io.Writer, run *v1alpha1.Run, now time.Time) *table {
	zero := run.Status.StartedAt
	if run.Spec.Trigger.ReceivedAt != nil {
		zero = run.Spec.Trigger.ReceivedAt
	}
	t := newTable(w, "STAGE", "STATE", "BEGAN", "TOOK", "MESSAGE")
	for _, st := range stage.Table {
		var times v1alpha1.StageTime
		for _, have := range run.Status.Stages {
			if have.Name == st.Name {
				times = have
			}
		}
		began := ""
		if zero != nil && times.StartedAt != nil {
			began = "+" + brief(times.StartedAt.Sub(zero.Time))
		}
		reason, message := "", ""
		if c := meta.FindStatusCondition(run.Status.Conditions, st.Condition); c != nil {
			reason, message = c.Reason, c.Message
		}
		t.row(st.Name, reason, began, took(times.StartedAt, times.FinishedAt, now), message)
	}
	return t
}

func images(w io.Writer, run *v1alpha1.Run, now time.Time) *table {
	if len(run.Status.Images) == 0 {
		return nil
	}
	t := newTable(w, "IMAGE", "TOOK", "REFERENCE")
	for _, i := range run.Status.Images {
		t.row(i.Name, took(i.StartedAt, i.FinishedAt, now), i.Reference())
	}
	return t
}

func services(w io.Writer, run *v1alpha1.Run) *table {
	if len(run.Status.Services) == 0 {
		return nil
	}
	t := newTable(w, "SERVICE", "STATE", "REACH IT", "MESSAGE")
	for _, s := range run.Status.Services {
		t.row(s.Name, string(s.State), s.URL+s.PortForward, strings.TrimSpace(s.Message+" "+s.URLProblem))
	}
	return t
}

func suites(w io.Writer, run *v1alpha1.Run, now time.Time) *table {
	if len(run.Status.Suites) == 0 {
		return nil
	}
	t := newTable(w, "SUITE", "OUTCOME", "EXIT CODE", "TOOK", "MESSAGE")
	for _, s := range run.Status.Suites {
		code := ""
		if s.ExitCode != nil {
			code = fmt.Sprint(*s.ExitCode)
		}
		t.row(s.Name, string(s.Outcome), code, took(s.StartedAt, s.FinishedAt, now), s.Message)
	}
	return t
}

// table aligns columns. Cells may come from a repository, so control characters are removed: they cannot move the cursor or add lines.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, head ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

// row writes to memory; Flush returns the error, if any.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = text.Head(report.Plain(c), 200)
		if cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

// state returns the outcome, or the phase of a Run that has not ended.
func state(run *v1alpha1.Run) string {
	switch {
	case run.DeletionTimestamp != nil:
		return string(v1alpha1.PhaseDeleting)
	case run.Status.Outcome != "":
		return string(run.Status.Outcome)
	case run.Spec.Cancel != nil:
		return "canceling"
	case run.Status.Phase == "":
		return string(v1alpha1.PhasePending)
	}
	return string(run.Status.Phase)
}

func refName(ref string) string {
	for _, prefix := range []string{"refs/tags/", "refs/heads/", "refs/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return name
		}
	}
	return ref
}

// took returns how long something took, or has taken so far.
func took(from, to *metav1.MicroTime, now time.Time) string {
	switch {
	case from == nil:
		return ""
	case to == nil:
		return brief(now.Sub(from.Time)) + " so far"
	}
	return brief(to.Sub(from.Time))
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return brief(now.Sub(t))
}

func expires(run *v1alpha1.Run, now time.Time) string {
	switch {
	case run.Status.Namespace == "" || meta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackKept):
		return ""
	case run.Status.ExpiresAt == nil && (run.Status.Keep == v1alpha1.Forever || run.Spec.Extension != nil):
		return "never"
	case run.Status.ExpiresAt == nil:
		return ""
	case !now.Before(run.Status.ExpiresAt.Time):
		return "now"
	}
	return "in " + brief(run.Status.ExpiresAt.Sub(now))
}

// brief rounds a duration: to milliseconds below ten seconds, to seconds below an hour, else to minutes.
func brief(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
