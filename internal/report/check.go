package report

import (
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// CheckName is the name of the check run of a Run whose suites are not known, and the beginning of every other's.
const CheckName = "conductor"

// States and conclusions of a check run: https://docs.github.com/en/rest/checks/runs
const (
	statusQueued     = "queued"
	statusInProgress = "in_progress"
	statusCompleted  = "completed"

	concludedSuccess  = "success"
	concludedFailure  = "failure"
	concludedNeutral  = "neutral"
	concludedCanceled = "cancelled"
	concludedTimedOut = "timed_out"
)

// CheckRuns are the check runs of a Run: one for each suite. Without names the suites are those of the Run's status. While
// no suite is known there is one for the Run as a whole; once told, it is kept up to date beside the others.
func CheckRuns(run *v1alpha1.Run, suites []string, _ []evidence.Suite) []v1alpha1.CheckRun {
	if len(suites) == 0 {
		for _, s := range run.Status.Suites {
			suites = append(suites, s.Name)
		}
	}
	var checks []v1alpha1.CheckRun
	if r := run.Status.Report; len(suites) == 0 || r != nil && r.CheckRuns[run.Name] != 0 {
		checks = append(checks, runCheck(run))
	}
	for _, name := range suites {
		i := slices.IndexFunc(run.Status.Suites, func(s v1alpha1.SuiteStatus) bool { return s.Name == name })
		s := v1alpha1.SuiteStatus{Name: name}
		if i >= 0 {
			s = run.Status.Suites[i]
		}
		checks = append(checks, suiteCheck(run, s))
	}
	return checks
}

// runCheck is the check run of the Run as a whole.
func runCheck(run *v1alpha1.Run) v1alpha1.CheckRun {
	c := v1alpha1.CheckRun{
		Name: CheckName, ExternalID: run.Name, HeadSHA: run.Spec.SHA,
		Title: title(headline(run)), StartedAt: instant(run.Status.StartedAt),
	}
	c.Status, c.Conclusion = runState(run)
	if c.Status == statusCompleted {
		c.CompletedAt = instant(run.Status.FinishedAt)
	}
	c.Summary = summary(run, true)
	c.Text = fitted(func(s size) string {
		d := document{size: s}
		d.suites(run)
		d.images(run)
		d.services(run)
		return strings.TrimLeft(d.String(), "\n")
	})
	return c
}

// suiteCheck is the check run of one suite.
func suiteCheck(run *v1alpha1.Run, s v1alpha1.SuiteStatus) v1alpha1.CheckRun {
	c := v1alpha1.CheckRun{
		Name: CheckName + " / " + cut(Plain(s.Name), 100), ExternalID: run.Name + "/" + s.Name, HeadSHA: run.Spec.SHA,
		StartedAt: instant(s.StartedAt), Title: suiteTitle(run, s), Summary: summary(run, s.Outcome != v1alpha1.OutcomePassed),
	}
	if c.StartedAt.IsZero() {
		c.StartedAt = instant(run.Status.StartedAt)
	}
	c.Status, c.Conclusion = suiteConclusion(run, s)
	if c.Status == statusCompleted {
		if c.CompletedAt = instant(s.FinishedAt); c.CompletedAt.IsZero() {
			c.CompletedAt = instant(run.Status.FinishedAt)
		}
	}
	c.Text = fitted(func(sz size) string {
		d := document{size: sz}
		if sz.log > 0 && strings.TrimSpace(s.Log) != "" {
			d.para("The end of the log:")
			d.para(fence(s.Log, sz.log))
		}
		if s.Outcome == "" || s.Outcome == v1alpha1.OutcomeError {
			d.images(run)
			d.services(run)
		}
		return strings.TrimLeft(d.String(), "\n")
	})
	return c
}

// summary is what all check runs of a Run say first. One that passed has no use for why another did not.
func summary(run *v1alpha1.Run, explain bool) string {
	return fitted(func(s size) string {
		d := document{size: s}
		d.para(origin(run))
		if explain {
			d.para(explanation(run, s))
		}
		d.stages(run)
		d.para(expiry(run, time.Time{}))
		return strings.TrimLeft(d.String(), "\n")
	})
}

func runState(run *v1alpha1.Run) (status, conclusion string) {
	switch run.Status.Outcome {
	case v1alpha1.OutcomePassed:
		return statusCompleted, concludedSuccess
	case v1alpha1.OutcomeFailed:
		return statusCompleted, concludedFailure
	case v1alpha1.OutcomeCanceled:
		return statusCompleted, concludedCanceled
	case v1alpha1.OutcomeError:
		if _, reason := culprit(run); reason == v1alpha1.ReasonTimeout {
			return statusCompleted, concludedTimedOut
		}
		return statusCompleted, concludedFailure
	}
	if run.Status.StartedAt == nil {
		return statusQueued, ""
	}
	return statusInProgress, ""
}

// suiteConclusion is the suite's own, or else that of the Run: a suite that could not run has not passed.
func suiteConclusion(run *v1alpha1.Run, s v1alpha1.SuiteStatus) (status, conclusion string) {
	switch s.Outcome {
	case v1alpha1.OutcomePassed:
		return statusCompleted, concludedSuccess
	case v1alpha1.OutcomeFailed:
		return statusCompleted, concludedFailure
	case v1alpha1.OutcomeCanceled:
		return statusCompleted, concludedCanceled
	case v1alpha1.OutcomeError:
		if st, reason := culprit(run); s.ExitCode == nil && st != nil && st.name == "tests" && reason == v1alpha1.ReasonTimeout {
			return statusCompleted, concludedTimedOut
		}
		return statusCompleted, concludedFailure
	}
	status, conclusion = runState(run)
	if conclusion == concludedSuccess {
		conclusion = concludedNeutral
	}
	return status, conclusion
}

// suiteTitle is one line of plain text: GitHub does not render Markdown there.
func suiteTitle(run *v1alpha1.Run, s v1alpha1.SuiteStatus) string {
	if s.Outcome == "" {
		if run.Status.Outcome != "" {
			return title("Not run. " + headline(run))
		}
		return title(headline(run))
	}
	var words string
	switch s.Outcome {
	case v1alpha1.OutcomePassed:
		words = "Passed"
	case v1alpha1.OutcomeCanceled:
		words = "Canceled"
	case v1alpha1.OutcomeError:
		words = "No result"
	default:
		words = "Failed"
	}
	if s.StartedAt != nil && s.FinishedAt != nil {
		words += " after " + brief(max(0, s.FinishedAt.Sub(s.StartedAt.Time)))
	}
	if s.ExitCode != nil && *s.ExitCode != 0 {
		words += " with exit code " + strconv.Itoa(int(*s.ExitCode))
	}
	if s.Message != "" {
		words += ": " + s.Message
	}
	return title(words)
}

// title is a headline without its Markdown.
func title(s string) string {
	return cut(Plain(strings.NewReplacer("`", "", "\\", "", zeroWidth, "", "@", "@\u200b").Replace(s)), 200)
}

func instant(t *metav1.MicroTime) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
