package junit

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// leftOut is the room for the line that says how much of a text is missing, in bytes.
const leftOut = 48

// text holds a text of any length in bounded memory: its beginning and its end.
type text struct {
	// half is how much of each end is kept, in bytes; size is how much there was.
	half, size int
	head, tail []byte
}

// newText returns a text whose string is no longer than limit, in bytes.
func newText(limit int) *text {
	return &text{half: (limit - leftOut) / 2}
}

func (t *text) add(b []byte) {
	t.size += len(b)
	n := min(t.half-len(t.head), len(b))
	t.head = append(t.head, b[:n]...)
	t.tail = append(t.tail, b[n:]...)
	if len(t.tail) > 4*t.half {
		t.tail = append(t.tail[:0], t.tail[len(t.tail)-t.half:]...)
	}
}

// String is the text, without colours and without blank lines around it.
func (t *text) String() string {
	head, tail := string(t.head), string(t.tail)
	if t.size > 2*t.half {
		head = cut(head, t.half)
		tail = tail[len(tail)-t.half:]
		for !utf8.RuneStart(tail[0]) {
			tail = tail[1:]
		}
		head += fmt.Sprintf("\n[%d bytes left out]\n", t.size-len(head)-len(tail))
	}
	return trim(plain(head + tail))
}

// trim takes blank lines from both ends, and spaces from the last line.
func trim(s string) string {
	s = strings.TrimRight(s, " \t\r\n")
	for {
		line, rest, more := strings.Cut(s, "\n")
		if !more || strings.TrimSpace(line) != "" {
			return s
		}
		s = rest
	}
}

// escape is a terminal's escape sequence. Its first character is forbidden in XML: it comes replaced, or as pytest writes it.
var escape = regexp.MustCompile(`(?:\x{FFFD}|#x1[Bb])\[[0-9;?]*[A-Za-z]`)

func plain(s string) string {
	if !strings.ContainsRune(s, utf8.RuneError) && !strings.Contains(s, "#x1") {
		return s
	}
	return escape.ReplaceAllString(s, "")
}

// cut returns at most limit bytes, ending with a whole character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
