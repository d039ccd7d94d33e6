package testreport

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// leftOut is the space for the line that reports the omitted length, in bytes.
const leftOut = 48

// longText keeps the beginning and the end of a text of any length.
type longText struct {
	// half is how much of each end is kept, in bytes; size is the length of the text.
	half, size int
	head, tail []byte
}

// newText returns a text whose string has at most limit bytes.
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

// held returns how much memory the text takes, in bytes; 0 for nil.
func (t *longText) held() int {
	if t == nil {
		return 0
	}
	return len(t.head) + len(t.tail)
}

// String returns the text without terminal colors and surrounding blank lines; "" for nil.
func (t *longText) String() string {
	if t == nil {
		return ""
	}
	head, tail := string(t.head), string(t.tail)
	if t.size > 2*t.half {
		// The last character of the head may be split.
		for r, n := utf8.DecodeLastRuneInString(head); r == utf8.RuneError && n == 1; r, n = utf8.DecodeLastRuneInString(head) {
			head = head[:len(head)-1]
		}
		tail = tail[len(tail)-t.half:]
		for !utf8.RuneStart(tail[0]) {
			tail = tail[1:]
		}
		head += fmt.Sprintf("\n[%d bytes left out]\n", t.size-len(head)-len(tail))
	}
	return trim(plain(head + tail))
}

// trim removes blank lines from both ends, and trailing spaces from the last line.
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

// escape matches a terminal's escape sequence. XML forbids its first character, so it arrives replaced, or as pytest writes it.
var escape = regexp.MustCompile(`(?:\x{FFFD}|#x1[Bb])\[[0-9;?]*[A-Za-z]`)

func plain(s string) string {
	if !strings.ContainsRune(s, utf8.RuneError) && !strings.Contains(s, "#x1") {
		return s
	}
	return escape.ReplaceAllString(s, "")
}
