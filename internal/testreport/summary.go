package testreport

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// maxName limits a case's name and class, in bytes.
const maxName = 1 << 10

// label returns a name as one line.
func label(s string) string {
	return text.Head(strings.Join(strings.Fields(plain(s)), " "), maxName)
}

// seconds parses a duration, also with a decimal comma or commas between thousands. It returns 0 for anything else.
func seconds(s string) float64 {
	s = strings.TrimSpace(s)
	if strings.Contains(s, ".") {
		s = strings.ReplaceAll(s, ",", "")
	}
	f, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	if err != nil || f < 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

var (
	// noise matches lines that only repeat a case's name or position, as written by go test, testify and Playwright.
	noise = regexp.MustCompile(`^(=== (RUN|PAUSE|CONT|NAME)|--- (FAIL|PASS|SKIP)|Error Trace:|\S+\.\w+:\d+:?$)|─{3}$`)
	// trace matches the start of a stack trace or of a source excerpt.
	trace = regexp.MustCompile(`^(at |File "|❯ |goroutine |stack backtrace|Stack Trace|(> )?\d+ \||#\d+ )`)
	// raised matches the lines of pytest's source excerpt that show the exception.
	raised = regexp.MustCompile(`(?m)^E {2,}(.+)$`)
	tabs   = regexp.MustCompile(`[ \t]*\t[ \t]*`)
)

// noiseMarks lists substrings, one of which every match of noise contains: the pattern takes a hundred times longer to find nothing in
// a long name.
var noiseMarks = []string{"=== ", "--- ", ":", "───"}

func isNoise(text string) bool {
	return slices.ContainsFunc(noiseMarks, func(mark string) bool { return strings.Contains(text, mark) }) && noise.MatchString(text)
}

// summaryLines is the most lines in a message.
const summaryLines = 6

// summary returns the beginning of a failure's text, up to its stack trace, without the lines that begin with the title, if there is one.
func summary(detail, title string) string {
	if found := raised.FindAllStringSubmatch(detail, summaryLines); found != nil {
		detail = ""
		for _, line := range found {
			detail += line[1] + "\n"
		}
	}
	var lines []string
	kept := 0
	for line := range strings.Lines(detail) {
		line = tabs.ReplaceAllString(strings.TrimSpace(line), " ")
		if isNoise(line) || title != "" && strings.HasPrefix(line, title) {
			continue
		}
		if kept == summaryLines || kept > 0 && trace.MatchString(line) {
			break
		}
		if line != "" {
			kept++
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
