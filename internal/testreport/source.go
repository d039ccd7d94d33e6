package testreport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// maxRun is the longest text that is passed to the decoder at once, in bytes: the decoder holds a complete text in memory.
	maxRun = 16 << 10
	// maxAttribute limits an attribute's value, in bytes; maxTag limits a tag.
	maxAttribute = 32 << 10
	maxTag       = 1 << 20
)

var errLongTag = errors.New("a tag is too long")

// declaration matches the charset in the XML declaration, after an optional byte order mark.
var declaration = regexp.MustCompile(`^\x{FEFF}?\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)

// decode converts a file to UTF-8. A byte order mark has priority over the declaration. problem is a sentence, or empty.
func decode(r io.Reader) (text *bufio.Reader, problem string) {
	in := bufio.NewReader(r)
	head, _ := in.Peek(1 << 10) // The next read returns the error again.
	enc := unicode.UTF8
	if m := declaration.FindSubmatch(head); m != nil {
		label := strings.ToLower(string(m[1]))
		declared, err := htmlindex.Get(label)
		switch {
		case err != nil:
			problem = "Its charset " + label + " is not supported; it was read as UTF-8"
		case strings.HasPrefix(label, "utf-16"):
			// The declaration was readable as ASCII, so the file is not UTF-16. .NET writes such files.
		default:
			enc = declared
		}
	}
	return bufio.NewReaderSize(transform.NewReader(in, unicode.BOMOverride(enc.NewDecoder())), headSize), problem
}

// place is the part of the XML that is being read.
type place int

const (
	inText place = iota
	inTag
	inCDATA
)

// source passes XML to the decoder in a form that it can parse with little memory. It removes comments, processing instructions and
// document types (so no entity is ever declared), replaces characters that XML forbids, escapes stray < and >, splits long texts and
// truncates long attributes.
type source struct {
	in  *bufio.Reader
	out []byte
	at  place
	// run is the length of the current text or tag, quoted that of the attribute's value; quote is its quotation mark, or 0.
	run, quoted int
	quote       rune
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	for len(s.out) < len(b) {
		if err := s.step(); err != nil {
			if len(s.out) == 0 {
				return 0, err
			}
			break
		}
	}
	n := copy(b, s.out)
	s.out = append(s.out[:0], s.out[n:]...)
	return n, nil
}

// step reads one character, a sequence that belongs together, or a run of plain characters.
func (s *source) step() error {
	if s.copyPlain() {
		return nil
	}
	r, size, err := s.in.ReadRune()
	if err != nil {
		return err
	}
	if !legal(r) {
		r = utf8.RuneError
	}
	s.run += size
	switch s.at {
	case inTag:
		return s.tag(r)
	case inCDATA:
		s.cdata(r)
		return nil
	}
	return s.text(r)
}

// copyPlain copies the bytes of a text or an attribute's value that have no special meaning, as most do. It reports whether there were
// any.
func (s *source) copyPlain() bool {
	room := maxRun - s.run
	if s.at == inTag {
		if s.quote == 0 {
			return false
		}
		room = min(maxTag-s.run, maxAttribute-s.quoted)
	}
	ahead, _ := s.in.Peek(s.in.Buffered()) // They are in the buffer.
	n := 0
	for n < min(len(ahead), room) && isPlain(ahead[n]) {
		n++
	}
	s.out = append(s.out, ahead[:n]...)
	s.run += n
	s.quoted += n
	s.discard(n)
	return n > 0
}

// isPlain reports whether a byte is an ASCII character without special meaning in texts, CDATA and attribute values.
func isPlain(b byte) bool {
	return b == '\n' || ' ' <= b && b < 0x7f && b != '<' && b != '>' && b != '&' && b != ']' && b != '"' && b != '\''
}

// put appends to the output, after splitting a text that has become too long.
func (s *source) put(written, split string) {
	if s.run > maxRun {
		s.out = append(s.out, split...)
		s.run = 0
	}
	s.out = append(s.out, written...)
}

func (s *source) text(r rune) error {
	switch r {
	case '<':
		return s.open()
	case '&':
		s.put(s.reference(), "<![CDATA[]]>")
	case '>':
		s.put("&gt;", "<![CDATA[]]>")
	default:
		s.put(string(r), "<![CDATA[]]>")
	}
	return nil
}

func (s *source) cdata(r rune) {
	if r == ']' && s.next("]>") {
		s.out = append(s.out, "]]>"...)
		s.at, s.run = inText, 0
		return
	}
	s.put(string(r), "]]><![CDATA[")
}

// open handles what follows a <.
func (s *source) open() error {
	switch {
	case s.next("![CDATA["):
		s.out = append(s.out, "<![CDATA["...)
		s.at, s.run = inCDATA, 0
		return nil
	case s.next("!--"):
		return s.skip("-->")
	case s.next("?"):
		return s.skip("?>")
	case s.next("!"):
		return s.skip(">")
	}
	if b, err := s.in.Peek(1); err == nil && !nameStart(b[0]) && b[0] != '/' {
		s.put("&lt;", "<![CDATA[]]>")
		return nil
	}
	s.out = append(s.out, '<')
	s.at, s.run = inTag, 0
	return nil
}

func nameStart(b byte) bool {
	return b == '_' || b == ':' || b >= utf8.RuneSelf || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

func (s *source) tag(r rune) error {
	if s.run > maxTag {
		return errLongTag
	}
	written := string(r)
	switch {
	case s.quote == 0 && r == '>':
		s.at, s.run = inText, 0
	case s.quote == 0 && (r == '"' || r == '\''):
		s.quote, s.quoted = r, 0
	case s.quote == r:
		s.quote = 0
	case s.quote != 0:
		switch r {
		case '<':
			written = "&lt;"
		case '&':
			written = s.reference()
		}
		if s.quoted += len(written); s.quoted > maxAttribute {
			// Do not count the rest of the value, which is dropped.
			s.run -= utf8.RuneLen(r)
			return nil
		}
	}
	s.out = append(s.out, written...)
	return nil
}

// reference handles what follows an &. It replaces a reference to a character that XML forbids.
func (s *source) reference() string {
	ahead, _ := s.in.Peek(12)
	end := bytes.IndexByte(ahead, ';')
	if end < 2 || ahead[0] != '#' {
		return "&"
	}
	digits, base := string(ahead[1:end]), 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	if n, err := strconv.ParseUint(digits, base, 32); err != nil || n > utf8.MaxRune || legal(rune(n)) {
		return "&"
	}
	s.discard(end + 1)
	return string(utf8.RuneError)
}

// next reports whether the input continues with want, and consumes it if so.
func (s *source) next(want string) bool {
	ahead, err := s.in.Peek(len(want))
	if err != nil || string(ahead) != want {
		return false
	}
	s.discard(len(want))
	return true
}

// discard consumes n bytes that were peeked at.
func (s *source) discard(n int) {
	_, _ = s.in.Discard(n) // They are in the buffer.
}

// skip consumes a comment, a processing instruction or a declaration. What remains of a document type after its first declaration is
// text outside all elements, which is ignored.
func (s *source) skip(end string) error {
	for !s.next(end) {
		if _, err := s.in.ReadByte(); err != nil {
			return err
		}
	}
	return nil
}

// legal reports whether XML 1.0 allows the character (https://www.w3.org/TR/xml/#charsets).
func legal(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || 0x20 <= r && r <= 0xD7FF || 0xE000 <= r && r <= 0xFFFD || 0x10000 <= r && r <= utf8.MaxRune
}
