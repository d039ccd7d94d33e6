package report

import (
	"regexp"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// maxAnnotations is how many a check run gets: with 50 to a request, 20 requests.
	maxAnnotations = 1000
	// maxAnnotationTitle is in characters, the others in bytes. GitHub takes 255 characters of a title and 64 KB of each of the
	// others: https://docs.github.com/en/rest/checks/runs. A message grows where mentions are broken.
	maxAnnotationTitle   = 255
	maxAnnotationMessage = 20_000
	maxAnnotationDetails = 60_000
)

// Levels of an annotation: https://docs.github.com/en/rest/checks/runs
const (
	levelFailure = "failure"
	levelWarning = "warning"
)

// called is where GitHub could see a mention.
var called = regexp.MustCompile(`@(\w)`)

// annotations are the suite's: one for each failing case, then one for each flaky one, where file and line are known. They are
// in the result's order, so that what is sent twice is the same. It tells how many found no room.
func annotations(t *tested) (list []v1alpha1.Annotation, left int) {
	for _, flaky := range []bool{false, true} {
		for i := range t.cases {
			c := &t.cases[i]
			told := c.Status.Bad()
			if flaky {
				told = c.Flaky && !told
			}
			file, known := inRepository(c.File)
			switch {
			case !told || !known || c.Line < 1:
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
		Title: cut(uncalled(oneLine(c.ID(), maxAnnotationTitle)), maxAnnotationTitle), RawDetails: block(c.Detail, maxAnnotationDetails),
	}
	message := strings.TrimSpace(c.Message)
	if message == "" {
		message, _, _ = strings.Cut(strings.TrimSpace(c.Detail), "\n")
	}
	if a.Message = uncalled(block(message, maxAnnotationMessage)); a.Message == "" {
		a.Message = "The test failed and does not say why."
	}
	if !c.Status.Bad() {
		a.Level, a.Message = levelWarning, "Flaky: it failed, and passed when it was tried again.\n"+a.Message
	}
	return a
}

// uncalled breaks what GitHub could take for a mention.
func uncalled(s string) string { return called.ReplaceAllString(s, "@\u200b$1") }

// block is the beginning of a text of several lines, at most max bytes of it.
func block(s string, max int) string {
	s, whole := head(s, max)
	s = strings.TrimSpace(clean(s))
	if !whole {
		s += "…"
	}
	return s
}
