package trigger

import (
	"regexp"
	"strings"
)

// Command is one command of a comment.
type Command struct {
	// Name is one of the grammar's, or what stood in its place.
	Name string
	// Action is what it asks for: Help where it is not one of the grammar's.
	Action Action
	// Args are the words after it, in small letters and each once.
	Args []string
	// Problem is a sentence about what is wrong with it; empty when nothing is.
	Problem string
}

// First is the command of a comment that counts: the first. It is false when there is none.
func First(body string) (Command, bool) {
	all := Parse(body)
	if len(all) == 0 {
		return Command{}, false
	}
	return all[0], true
}

// Parse finds the commands of a comment: lines that begin with Prefix, as far as people see them as text. What is in a
// code block, a quote or an HTML comment was not said. Where Markdown could be read either way nothing is a command.
func Parse(body string) []Command {
	var out []Command
	var s scanner
	for line := range strings.SplitSeq(clean(body), "\n") {
		if !s.spoken(line) {
			continue
		}
		if words := strings.Fields(line); len(words) > 0 && strings.EqualFold(words[0], Prefix) {
			out = append(out, check(words[1:]))
		}
	}
	return out
}

// clean makes line ends and blanks plain, and drops characters that take no room: keyboards, phones and web pages put
// them in unseen.
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

// scanner knows in which block of GitHub Flavored Markdown a line is (spec 0.29: 4.4 to 4.6 and 5.1).
type scanner struct {
	// fence is what closes the code block that is open: "```", say.
	fence string
	// until is what closes the HTML that is open: "-->", say.
	until string
}

// hidden begins HTML whose text is not said.
var hidden = regexp.MustCompile(`(?i)<!--|<(?:pre|script|style|textarea)(?:[\s>]|$)`)

// list is what a list item begins with; a code block may stand right behind it.
var list = regexp.MustCompile(`^(?:(?:[-*+]|[0-9]{1,9}[.)]) +)+`)

// spoken takes the next line and reports whether it is text that its author said, with no more than three blanks before it.
func (s *scanner) spoken(line string) bool {
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

// openFence reports whether a line begins a code block. A fence of backticks has none after it.
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

// openHTML reports whether a line holds HTML that hides text, and notes what ends it when it goes on.
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

// cutFold is strings.Cut for a separator of ASCII whose case does not matter.
func cutFold(s, sep string) (before, after string, found bool) {
	for i := 0; i+len(sep) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return s[:i], s[i+len(sep):], true
		}
	}
	return s, "", false
}
