package testreport

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// shareCases is the most cases of a testsuite whose output is searched.
	shareCases = 500
	// shareName is the minimum length of a name that is searched for, in bytes.
	shareName = 4
)

// share assigns each failed case without output its part of the testsuite's output: from the first line that names it to a line that
// names another case. Output that cannot be assigned is dropped.
func share(output string, cases []evidence.Case) {
	if output == "" {
		return
	}
	if len(cases) == 1 {
		give(&cases[0], output)
		return
	}
	parts := make([]strings.Builder, len(cases))
	current := -1
	for line := range strings.Lines(output) {
		if i := names(line, cases, current); i >= 0 {
			current = i
		}
		if current >= 0 {
			parts[current].WriteString(line)
		}
	}
	for i := range cases {
		give(&cases[i], parts[i].String())
	}
}

func give(c *evidence.Case, output string) {
	if !c.Status.Bad() || c.Output != "" {
		return
	}
	t := newText(evidence.MaxOutput)
	t.add([]byte(output))
	c.Output = t.String()
}

// names returns the index of the case that a line names: the current one if possible, else the one with the longest name; -1 if there
// is none.
func names(line string, cases []evidence.Case, current int) int {
	best := -1
	for i, c := range cases {
		if !mentions(line, c.Name) {
			continue
		}
		if i == current {
			return i
		}
		if best < 0 || len(c.Name) > len(cases[best].Name) {
			best = i
		}
	}
	return best
}

// mentions reports whether a line contains the name at word boundaries.
func mentions(line, name string) bool {
	if len(name) < shareName {
		return false
	}
	before, after, found := strings.Cut(line, name)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	return found && !word(last) && !word(next)
}

func word(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_')
}
