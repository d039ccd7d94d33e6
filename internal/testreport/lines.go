package testreport

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxLine is the length to which a line is truncated, in bytes. go test splits lines of more than 4 KiB.
const maxLine = 128 << 10

// lines reads a text line by line.
type lines struct {
	in     *bufio.Reader
	buffer []byte
}

// next returns the next line without its end, valid until the next call; false at the end of the text.
func (l *lines) next() ([]byte, bool) {
	l.buffer = l.buffer[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.buffer = append(l.buffer, part[:min(len(part), maxLine-len(l.buffer))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimRight(l.buffer, "\r\n"), err == nil || len(part) > 0 || len(l.buffer) > 0
	}
}

// printable replaces the characters that XML forbids, as source does for XML.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !legal(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if !legal(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
