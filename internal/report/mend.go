package report

import (
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const (
	configFile = ".conductor.yaml"
	docs       = "https://github.com/w3evolutionsllc/conductor/blob/main/docs/"
)

// mistake is what is wrong with a repository's configuration, as far as the comment can show how to mend it.
type mistake struct {
	// headline completes "No test result: ".
	headline string
	// missing is the suggested file, wrong the problems with their lines in the notation of diffs. One of them is empty.
	missing, wrong string
}

// mistakeOf finds the mistake that ended a Run; nil if it is another one. The planner writes a suggested file below its sentence, and
// the problems of a file line by line.
func mistakeOf(run *v1alpha1.Run) *mistake {
	st, reason := culprit(run)
	if run.Status.Outcome != v1alpha1.OutcomeError || st == nil {
		return nil
	}
	message := strings.TrimSpace(run.Status.Message)
	switch _, rest, _ := strings.Cut(message, "\n"); {
	case reason == v1alpha1.ReasonNotFound && strings.HasPrefix(rest, "version: "):
		return &mistake{headline: "`" + configFile + "` is missing", missing: rest}
	case reason == v1alpha1.ReasonInvalidConfig && strings.HasPrefix(message, configFile+":"):
		return &mistake{headline: "`" + configFile + "` is not valid", wrong: message}
	}
	return nil
}

// mend adds what is wrong with the configuration and the lines that mend it.
func (d *document) mend(run *v1alpha1.Run, m *mistake) {
	if m.missing != "" {
		first, _, _ := strings.Cut(strings.TrimSpace(run.Status.Message), "\n")
		d.para("**Why:** " + inline(first, d.text))
		d.para("`" + configFile + "`")
		d.para(fencedAs("yaml", clip(m.missing, d.text)))
	} else {
		d.para("**Why:** Each error is followed by its line. `-` marks a wrong line and `+` its correction, if that is clear.")
		d.para(fencedAs("diff", clip(m.wrong, 2*d.text)))
	}
	d.para("All keys are in [the reference of `" + configFile + "`](" + docs + "conductor-yaml.md).")
}
