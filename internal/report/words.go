package report

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/stage"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// causes are added to a headline when the stage's own words do not name the reason.
var causes = map[string]string{
	v1alpha1.ReasonOutOfMemory:   "out of memory",
	v1alpha1.ReasonEvicted:       "evicted",
	v1alpha1.ReasonNodeLost:      "its node was lost",
	v1alpha1.ReasonQuotaExceeded: "quota exceeded",
	v1alpha1.ReasonDiskFull:      "disk full",

	v1alpha1.ReasonInvalidCompose: "invalid compose file",
}

// headline is the Run in one line, without a Markdown block of its own.
func headline(run *v1alpha1.Run, suites []tested) string {
	sum := together(suites)
	switch run.Status.Outcome {
	case v1alpha1.OutcomePassed:
		if sum != nil && sum.Tests > 0 {
			return "✅ " + tally(*sum, 0, 0)
		}
		return "✅ Integration tests passed"
	case v1alpha1.OutcomeFailed:
		if sum != nil && sum.Failed+sum.Errors > 0 {
			return "❌ " + tally(*sum, 0, 0) + inSuites(run)
		}
		return "❌ Integration tests failed" + inSuites(run)
	case v1alpha1.OutcomeCanceled:
		return "⏹️ Integration tests canceled"
	case v1alpha1.OutcomeError:
		st, reason := culprit(run)
		m := mistakeOf(run)
		switch {
		case m != nil:
			return "⚠️ No test result: " + m.headline
		case reason == v1alpha1.ReasonTimeout:
			return "⚠️ No test result: the run timed out"
		case st == nil:
			return "⚠️ No test result"
		}
		if cause := causes[reason]; cause != "" {
			return "⚠️ No test result: " + st.Failed + " (" + cause + ")"
		}
		return "⚠️ No test result: " + st.Failed
	}
	if st := current(run); st != nil {
		return "⏳ " + st.Doing
	}
	return "⏳ Waiting to start"
}

func inSuites(run *v1alpha1.Run) string {
	names := failedSuites(run)
	if len(names) == 0 || len(names) > 4 {
		return ""
	}
	for i, n := range names {
		names[i] = code(n)
	}
	return ": " + strings.Join(names, ", ")
}

func failedSuites(run *v1alpha1.Run) []string {
	var names []string
	for _, s := range run.Status.Suites {
		if s.Outcome == v1alpha1.OutcomeFailed || s.Outcome == v1alpha1.OutcomeError {
			names = append(names, s.Name)
		}
	}
	return names
}

// culprit returns the stage that ended the Run and its reason: the first stage that failed by itself. A record that could not be
// stored does not change the outcome.
func culprit(run *v1alpha1.Run) (*stage.Stage, string) {
	for i := range stage.Table {
		c := meta.FindStatusCondition(run.Status.Conditions, stage.Table[i].Condition)
		if c != nil && c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonSkipped && c.Reason != v1alpha1.ReasonCanceled &&
			!stage.Table[i].Always {
			return &stage.Table[i], c.Reason
		}
	}
	return nil, ""
}

// current returns the last stage in progress: stages overlap, and the reader waits for the one furthest on.
func current(run *v1alpha1.Run) *stage.Stage {
	for i := len(stage.Table) - 1; i >= 0; i-- {
		c := meta.FindStatusCondition(run.Status.Conditions, stage.Table[i].Condition)
		if stage.Table[i].Title != "" && c != nil && c.Status == metav1.ConditionUnknown && c.Reason == v1alpha1.ReasonInProgress {
			return &stage.Table[i]
		}
	}
	return nil
}

// explain adds the cause of the outcome, or what is in progress and how long it will take.
func (d *document) explain(run *v1alpha1.Run, left string) {
	m := mistakeOf(run)
	switch c := run.Spec.Cancel; {
	case run.Status.Outcome == v1alpha1.OutcomePassed:
	case m != nil:
		d.mend(run, m)
	case run.Status.Outcome != "":
		d.para(labelled("Why", run.Status.Message, d.text))
	case c != nil:
		d.para("**Now:** canceling, requested by " + code(c.By))
	default:
		d.para(labelled("Now", doing(run), d.text))
		d.para(labelled("Expected", left, d.text))
	}
}

// doing is what a Run does or waits for.
func doing(run *v1alpha1.Run) string {
	if st := current(run); st != nil {
		return meta.FindStatusCondition(run.Status.Conditions, st.Condition).Message
	}
	for _, st := range stage.Table {
		if c := meta.FindStatusCondition(run.Status.Conditions, st.Condition); c != nil && c.Status == metav1.ConditionUnknown && c.Message != "" {
			return c.Message
		}
	}
	return run.Status.Message
}

// labelled is a paragraph with a label. A message of several lines, such as the errors in a file, keeps its line breaks.
func labelled(label, message string, max int) string {
	message = strings.TrimSpace(clean(message))
	if message == "" {
		return ""
	}
	first, rest, _ := strings.Cut(message, "\n")
	p := "**" + label + ":** " + inline(first, max)
	if rest != "" {
		p += "\n\n" + fence(cut(rest, max), 4*max)
	}
	return p
}

// origin is what was run, who requested it and the trust level.
func origin(run *v1alpha1.Run) string {
	sp := run.Spec
	commit := code(sp.SHA[:min(len(sp.SHA), 12)])
	if sp.Repository.HTMLURL != "" {
		commit = link(commit, sp.Repository.HTMLURL+"/commit/"+sp.SHA)
	}
	parts := []string{"Commit " + commit}
	if sp.Ref != "" {
		parts = append(parts, refName(sp.Ref))
	}
	if sp.Actor.Login != "" {
		parts = append(parts, "requested by "+code(sp.Actor.Login))
	}
	return strings.Join(append(parts, "trust level: "+trust(sp.Trust), "run "+code(run.Name)), " · ")
}

func refName(ref string) string {
	for prefix, what := range map[string]string{"refs/tags/": "tag ", "refs/heads/": "branch "} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return what + code(name)
		}
	}
	if n, ok := strings.CutPrefix(ref, "refs/pull/"); ok {
		n, _, _ = strings.Cut(n, "/")
		return "pull request " + code(n)
	}
	return code(ref)
}

func trust(t v1alpha1.TrustLevel) string {
	switch t {
	case v1alpha1.TrustProtected:
		return "protected ref"
	case v1alpha1.TrustUnprotected:
		return "unprotected ref"
	case v1alpha1.TrustFork:
		return "fork"
	}
	return "unknown"
}

// expiry is when the stack is deleted, or that it was.
func expiry(run *v1alpha1.Run, now time.Time) string {
	st := run.Status
	if st.Namespace == "" {
		return ""
	}
	c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionStackKept)
	if c != nil && c.Status == metav1.ConditionFalse {
		switch c.Reason {
		case v1alpha1.ReasonExpired:
			return "The stack expired" + kept(run) + " and was deleted."
		case v1alpha1.ReasonDeleted:
			return "The stack was deleted."
		}
		return labelled("Stack", c.Message, 300)
	}
	if st.Outcome == "" {
		return ""
	}
	inspect := " Inspect it: " + code("kubectl -n "+st.Namespace+" get pods")
	if c != nil && c.Reason == v1alpha1.ReasonExpiring {
		inspect += "\n\n" + "⏳ " + inline(c.Message, 300) + ". " + code("/conductor extend 4h") + " keeps it longer."
	}
	switch {
	case run.DeletionTimestamp != nil:
		return "The stack is being deleted."
	case st.ExpiresAt != nil && !now.IsZero() && !now.Before(st.ExpiresAt.Time):
		return "The stack has expired" + kept(run) + " and is being deleted."
	case st.ExpiresAt != nil:
		return "The stack is kept until " + st.ExpiresAt.UTC().Format("2006-01-02 15:04") + " UTC" + kept(run) + ", then deleted." + inspect
	case run.Spec.Extension != nil:
		return "The stack is kept until someone deletes it" + kept(run) + "." + inspect
	case st.Keep == v1alpha1.Forever:
		return "The stack is kept until someone deletes it (" + code("keep: forever") + ")." + inspect
	}
	return ""
}

// kept is what the time of a stack was made of.
func kept(run *v1alpha1.Run) string {
	keep := run.Status.Keep
	if d, err := time.ParseDuration(keep); err == nil {
		keep = brief(d)
	}
	var parts []string
	if keep != "" {
		parts = append(parts, inline(keep, 40))
	}
	if idle := run.Status.Idle; idle != nil {
		parts = append(parts, "or "+brief(idle.Duration)+" after its last use")
	}
	if e := run.Spec.Extension; e != nil {
		parts = append(parts, "extended by "+code(e.By))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// next lists the commands that make sense now.
func next(run *v1alpha1.Run) string {
	help := code("/conductor help") + " lists all commands."
	if run.Status.Outcome == "" {
		return "Comment " + code("/conductor cancel") + " to cancel this run. " + help
	}
	if mistakeOf(run) != nil {
		return "Push the corrected file, then comment " + code("/conductor test") + " to run the tests. " + help
	}
	rerun := "Comment " + code("/conductor test") + " to run it again"
	if f := failedSuites(run); len(f) > 0 && len(f) < len(run.Status.Suites) && len(f) <= 4 {
		rerun += ", or " + code("/conductor test "+strings.Join(f, " ")) + " to run the failed suites"
	}
	return rerun + ". " + help
}

// brief formats a duration in whole seconds without trailing zero units.
func brief(d time.Duration) string {
	if d < time.Second {
		return "<1s"
	}
	return text.Duration(d.Round(time.Second))
}
