package report

import (
	"regexp"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// maxAnnotations is the number of annotations of a check run: 20 requests of 50 each.
	maxAnnotations = 1000
	// maxAnnotationTitle is in characters, the others in bytes. GitHub's limits are 255 characters for a title and 64 KB for each of
	// the others: https://docs.github.com/en/rest/checks/runs. The margin is for the zero-width characters that break mentions.
	maxAnnotationTitle   = 255
	maxAnnotationMessage = 20_000
	maxAnnotationDetails = 60_000
)

// Levels of an annotation: https://docs.github.com/en/rest/checks/runs
const (
	levelFailure = "failure"
	levelWarning = "warning"
)

// mentionLike matches text that GitHub could take for a mention.
var mentionLike = regexp.MustCompile(`@(\w)`)

// annotations returns one annotation for each failing case, then one for each flaky case, if file and line are known. The order is
// that of the result, so that repeated requests are identical. left is how many exceed maxAnnotations.
func annotations(t *tested) (list []v1alpha1.Annotation, left int) {
	for _, flaky := range []bool{false, true} {
		for i := range t.cases {
			c := &t.cases[i]
			wanted := c.Status.Bad()
			if flaky {
				wanted = c.Flaky && !wanted
			}
			file, known := inRepository(c.File)
			switch {
			case !wanted || !known || c.Line < 1:
			case len(list) == maxAnnotations:
				left++
			default:
				list = append(list, annotation(file, c))
			}
		}
	}
	return list, left
}

func annotation(file string, c *evidence.Case) v1alpha1.Annotation {
	a := v1alpha1.Annotation{
		Path: file, StartLine: c.Line, EndLine: c.Line, Level: levelFailure,
		Title: cut(breakMentions(oneLine(c.ID(), maxAnnotationTitle)), maxAnnotationTitle), RawDetails: block(c.Detail, maxAnnotationDetails),
	}
	message := strings.TrimSpace(c.Message)
	if message == "" {
		message, _, _ = strings.Cut(strings.TrimSpace(c.Detail), "\n")
	}
	if a.Message = breakMentions(block(message, maxAnnotationMessage)); a.Message == "" {
		a.Message = "The test failed without a message."
	}
	if !c.Status.Bad() {
		a.Level, a.Message = levelWarning, "Flaky: failed, then passed on retry.\n"+a.Message
	}
	return a
}

// breakMentions inserts a zero-width space into what GitHub could take for a mention.
func breakMentions(s string) string { return mentionLike.ReplaceAllString(s, "@\u200b$1") }

// block returns at most max bytes of the beginning of a text, and keeps its line breaks.
func block(s string, max int) string {
	s, whole := head(s, max)
	s = strings.TrimSpace(clean(s))
	if !whole {
		s += "…"
	}
	return s
}
