package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// CheckName is the name of a Run's check run while its suites are unknown, and the prefix of each suite's check run.
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

// CheckRuns returns the check runs of a Run, one for each suite. Without names the suites are those of the Run's status. While
// no suite is known there is one for the Run as a whole; once created, it is updated beside the others. A suite without a
// result is shown by its status; left is from TimeLeft.
func CheckRuns(run *v1alpha1.Run, names []string, results []evidence.Suite, left string) []v1alpha1.CheckRun {
	if len(names) == 0 {
		names = suiteNames(run)
	}
	suites := gather(run, names, results)
	var checks []v1alpha1.CheckRun
	if len(suites) == 0 || isRunCheckNoted(run) {
		checks = append(checks, runCheck(run, suites, left))
	}
	for i := range suites {
		checks = append(checks, suiteCheck(run, suites, &suites[i], left))
	}
	return checks
}

// isRunCheckNoted reports whether the status lists a check run of the Run as a whole; its id is 0 until it is created.
func isRunCheckNoted(run *v1alpha1.Run) bool {
	if run.Status.Report == nil {
		return false
	}
	_, ok := run.Status.Report.CheckRuns[run.Name]
	return ok
}

// checkID is the external ID of a suite's check run.
func checkID(run *v1alpha1.Run, suite string) string { return run.Name + "/" + suite }

// runCheck is the check run of the Run as a whole.
func runCheck(run *v1alpha1.Run, suites []tested, left string) v1alpha1.CheckRun {
	c := v1alpha1.CheckRun{
		Name: CheckName, ExternalID: run.Name, HeadSHA: run.Spec.SHA,
		Title: title(headline(run, suites)), StartedAt: instant(run.Status.StartedAt),
	}
	c.Status, c.Conclusion = runState(run)
	if c.Status == statusCompleted {
		c.CompletedAt = instant(run.Status.FinishedAt)
	}
	c.Summary = summary(run, true, left)
	c.Text = fitted(run, []part{
		{add: func(d *document) { d.failures(run, suites) }},
		{"the suites", func(d *document) { d.suites(run, suites) }},
		{"the images", func(d *document) { d.images(run) }},
		{"the services", func(d *document) { d.services(run) }},
	})
	return c
}

// suiteCheck is the check run of one suite.
func suiteCheck(run *v1alpha1.Run, suites []tested, t *tested, left string) v1alpha1.CheckRun {
	c := v1alpha1.CheckRun{
		Name: CheckName + " / " + cut(Plain(t.Name), 100), ExternalID: checkID(run, t.Name), HeadSHA: run.Spec.SHA,
		StartedAt: instant(t.StartedAt), Title: suiteTitle(run, suites, t), Summary: summary(run, t.Outcome != v1alpha1.OutcomePassed, left),
	}
	if c.StartedAt.IsZero() {
		c.StartedAt = instant(run.Status.StartedAt)
	}
	c.Status, c.Conclusion = suiteConclusion(run, t.SuiteStatus)
	if c.Status == statusCompleted {
		if c.CompletedAt = instant(t.FinishedAt); c.CompletedAt.IsZero() {
			c.CompletedAt = instant(run.Status.FinishedAt)
		}
	}
	var unannotated int
	c.Annotations, unannotated = annotations(t)
	c.Text = fitted(run, suiteParts(run, t, unannotated))
	return c
}

// suiteParts are the parts of the text of a suite's check run. unannotated is how many annotations exceed the limit.
func suiteParts(run *v1alpha1.Run, t *tested, unannotated int) []part {
	parts := []part{{add: func(d *document) {
		if unannotated > 0 {
			d.para(fmt.Sprintf("GitHub shows %d annotations; %d more are in the record.", maxAnnotations, unannotated))
		}
		d.suite(run, t, min(len(t.bad), d.cases))
		if d.size.log > 0 && strings.TrimSpace(t.Log) != "" {
			d.para("End of the log:")
			d.para(fence(t.Log, d.size.log))
		}
	}}}
	if t.Outcome == "" || t.Outcome == v1alpha1.OutcomeError {
		parts = append(parts, part{"the images", func(d *document) { d.images(run) }}, part{"the services", func(d *document) { d.services(run) }})
	}
	return append(parts, part{add: func(d *document) { d.record(run) }})
}

// summary is the same for all check runs of a Run, except that a passed suite does not explain why another failed.
func summary(run *v1alpha1.Run, explain bool, left string) string {
	return fitted(run, []part{{add: func(d *document) {
		if explain {
			d.explain(run, left)
		}
		d.para(origin(run))
		d.stages(run)
		d.para(expiry(run, time.Time{}))
	}}})
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

// suiteConclusion is the suite's own conclusion, or else that of the Run: a suite that could not run has not passed.
func suiteConclusion(run *v1alpha1.Run, s v1alpha1.SuiteStatus) (status, conclusion string) {
	switch s.Outcome {
	case v1alpha1.OutcomePassed:
		return statusCompleted, concludedSuccess
	case v1alpha1.OutcomeFailed:
		return statusCompleted, concludedFailure
	case v1alpha1.OutcomeCanceled:
		return statusCompleted, concludedCanceled
	case v1alpha1.OutcomeError:
		if st, reason := culprit(run); s.ExitCode == nil && st != nil && st.Name == "tests" && reason == v1alpha1.ReasonTimeout {
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

// suiteTitle is one line of plain text: GitHub does not render Markdown in titles.
func suiteTitle(run *v1alpha1.Run, suites []tested, s *tested) string {
	if s.Outcome == "" {
		if run.Status.Outcome != "" {
			return title("Not run. " + headline(run, suites))
		}
		return title(headline(run, suites))
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
	after, with := " after ", " with "
	if s.totals != nil && s.totals.Tests > 0 && (s.Outcome == v1alpha1.OutcomePassed || s.failures() > 0) {
		words, after, with = s.tally(), "; took ", ", "
	}
	if s.StartedAt != nil && s.FinishedAt != nil {
		words += after + brief(max(0, s.FinishedAt.Sub(s.StartedAt.Time)))
	}
	if s.ExitCode != nil && *s.ExitCode != 0 {
		words += with + "exit code " + strconv.Itoa(int(*s.ExitCode))
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
