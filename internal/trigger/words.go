package trigger

import (
	"strings"
	"unicode"
)

// splitWords splits a line into words as a POSIX shell does, without its expansions: blanks separate words, quotation marks group
// them, a backslash takes the next character literally, except between single quotes. Typographic double quotes and the dash that
// phones make of "--" count as what was typed. closed is false if a quotation mark is missing.
func splitWords(line string) (words []string, closed bool) {
	var s splitter
	for _, r := range line {
		s.next(r)
	}
	closed = s.quote == 0
	if s.escaped {
		s.word.WriteRune('\\')
	}
	s.end()
	return s.words, closed
}

// splitter is the state of splitWords.
type splitter struct {
	words []string
	word  strings.Builder
	// inWord is set within a word, which may be empty: "".
	inWord bool
	// quote is the open quotation mark, or 0.
	quote rune
	// escaped is set after a backslash.
	escaped bool
}

func (s *splitter) next(r rune) {
	if r == '“' || r == '”' {
		r = '"'
	}
	switch {
	case s.escaped:
		// Between double quotes a backslash is special only before these.
		if s.quote == '"' && r != '"' && r != '\\' {
			s.word.WriteRune('\\')
		}
		s.word.WriteRune(r)
		s.escaped = false
	case r == '\\' && s.quote != '\'':
		s.escaped, s.inWord = true, true
	case s.quote != 0 && r == s.quote:
		s.quote = 0
	case s.quote == 0 && (r == '"' || r == '\''):
		s.quote, s.inWord = r, true
	case s.quote == 0 && unicode.IsSpace(r):
		s.end()
	case r == '—' && !s.inWord:
		s.word.WriteString("--")
		s.inWord = true
	default:
		s.word.WriteRune(r)
		s.inWord = true
	}
}

// end finishes the current word.
func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}
