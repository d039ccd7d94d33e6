package trigger

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Parse returns the commands of a comment in order, at most MaxCommands, and how many more there are. A command is a line that begins
// with Prefix in what GitHub shows as text; code blocks, quotes and HTML comments are skipped. Where Markdown is ambiguous, the line is
// not a command.
func Parse(body string) (commands []v1alpha1.Command, more int) {
	var s scanner
	for line := range strings.SplitSeq(clean(body), "\n") {
		if !s.isText(line) {
			continue
		}
		rest, ok := cutPrefix(line)
		switch {
		case !ok:
		case len(commands) == MaxCommands:
			more++
		default:
			commands = append(commands, parse(rest))
		}
	}
	return commands, more
}

// cutPrefix returns what follows Prefix on a line, and whether Prefix is its first word.
func cutPrefix(line string) (rest string, ok bool) {
	line = strings.TrimLeftFunc(line, unicode.IsSpace)
	end := strings.IndexFunc(line, unicode.IsSpace)
	if end < 0 {
		end = len(line)
	}
	return line[end:], strings.EqualFold(line[:end], Prefix)
}

// clean normalizes line ends and blanks, and drops invisible characters, which keyboards, phones and web pages insert.
func clean(body string) string {
	body = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u00a0' || r == '\u202f':
			return ' '
		case r == '\u00ad' || r == '\ufeff' || r >= '\u200b' && r <= '\u200f' || r >= '\u202a' && r <= '\u202e' || r >= '\u2060' && r <= '\u2069':
			return -1
		}
		return r
	}, body)
}

// scanner tracks which block of GitHub Flavored Markdown a line is in (spec 0.29: 4.4 to 4.6 and 5.1).
type scanner struct {
	// fence closes the open code block, such as "```".
	fence string
	// until closes the open HTML, such as "-->".
	until string
}

// hidden opens HTML whose content is not text of the comment.
var hidden = regexp.MustCompile(`(?i)<!--|<(?:pre|script|style|textarea)(?:[\s>]|$)`)

// list is the marker of a list item; a code block may follow it on the same line.
var list = regexp.MustCompile(`^(?:(?:[-*+]|[0-9]{1,9}[.)]) +)+`)

// isText takes the next line and reports whether it is plain text, indented by at most three blanks.
func (s *scanner) isText(line string) bool {
	text := strings.TrimLeft(line, " ")
	indented := len(line)-len(text) > 3 || strings.HasPrefix(text, "\t")
	switch {
	case s.fence != "":
		if !indented && strings.HasPrefix(text, s.fence) && strings.Trim(text, s.fence[:1]+" \t") == "" {
			s.fence = ""
		}
		return false
	case s.until != "":
		if _, rest, ok := cutFold(line, s.until); ok {
			s.until = ""
			s.openHTML(rest)
		}
		return false
	case indented || strings.HasPrefix(text, ">"):
		return false
	case s.openFence(text[len(list.FindString(text)):]):
		return false
	}
	return !s.openHTML(line)
}

// openFence reports whether a line opens a code block. Backticks after a fence of backticks make it inline code.
func (s *scanner) openFence(text string) bool {
	for _, c := range []string{"`", "~"} {
		rest := strings.TrimLeft(text, c)
		if n := len(text) - len(rest); n >= 3 && (c == "~" || !strings.Contains(rest, c)) {
			s.fence = text[:n]
			return true
		}
	}
	return false
}

// openHTML reports whether a line has HTML that hides text, and remembers what closes it if the line does not.
func (s *scanner) openHTML(line string) bool {
	found := false
	for {
		at := hidden.FindStringIndex(line)
		if at == nil {
			return found
		}
		found = true
		begin := strings.ToLower(strings.TrimRight(line[at[0]:at[1]], "> \t"))
		end := "-->"
		if begin != "<!--" {
			end = "</" + begin[1:] + ">"
		}
		_, rest, ok := cutFold(line[at[0]+len(begin):], end)
		if !ok {
			s.until = end
			return true
		}
		line = rest
	}
}

// cutFold is strings.Cut for an ASCII separator in any case.
func cutFold(s, sep string) (before, after string, found bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}
