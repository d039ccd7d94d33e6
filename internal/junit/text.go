package junit

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// leftOut is the room for the line that says how much of a text is missing, in bytes.
const leftOut = 48

// longText holds a text of any length in bounded memory: its beginning and its end.
type longText struct {
	// half is how much of each end is kept, in bytes; size is how much there was.
	half, size int
	head, tail []byte
}

// newText returns a text whose string is no longer than limit, in bytes.
func newText(limit int) *longText {
	return &longText{half: (limit - leftOut) / 2}
}

func (t *longText) add(b []byte) {
	t.size += len(b)
	n := min(t.half-len(t.head), len(b))
	t.head = append(t.head, b[:n]...)
	t.tail = append(t.tail, b[n:]...)
	if len(t.tail) > 4*t.half {
		t.tail = append(t.tail[:0], t.tail[len(t.tail)-t.half:]...)
	}
}

// String is the text, without colours and without blank lines around it.
func (t *longText) String() string {
	head, tail := string(t.head), string(t.tail)
	if t.size > 2*t.half {
		head = text.Head(head, t.half)
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
