package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/w3evolutionsllc/conductor/internal/redact"
)

// masks knows the secrets of the stack's namespace: every file below a directory in which its Secrets are mounted. What was
// secret once stays so until the agent ends.
type masks struct {
	dir   string
	known atomic.Pointer[redact.Redactor]

	mu     sync.Mutex
	values map[[sha256.Size]byte]string
}

// newMasks reads the secrets below dir; a directory that is not there holds none.
func newMasks(dir string) (*masks, error) {
	m := &masks{dir: dir, values: map[[sha256.Size]byte]string{}}
	m.known.Store(redact.New())
	return m, m.reload()
}

// reload looks for new values.
func (m *masks) reload() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.values)
	err := m.read()
	if len(m.values) == before {
		return err
	}
	var all []string
	for _, v := range m.values {
		all = append(all, v)
		// JUnit is XML, which writes some characters otherwise (Extensible Markup Language 1.0, 2.4); tools differ in the quotes.
		escaped := html.EscapeString(v)
		named := strings.NewReplacer("&#39;", "&apos;", "&#34;", "&quot;").Replace(escaped)
		bare := strings.NewReplacer("&#39;", "'", "&#34;", `"`).Replace(escaped)
		all = append(all, escaped, named, bare)
	}
	slices.Sort(all)
	m.known.Store(redact.New(slices.Compact(all)...))
	return err
}

// read adds the files below the directory to the values. In a Secret's volume each key is a link to a file in a directory whose name
// begins with two dots, and those are not looked into twice.
func (m *masks) read() error {
	if m.dir == "" {
		return nil
	}
	err := filepath.WalkDir(m.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(entry.Name(), "..") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err == nil && len(data) >= redact.MinLength {
			m.values[sha256.Sum256(data)] = string(data)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the secrets to mask: %w", err)
	}
	return nil
}

// string masks a short text.
func (m *masks) string(s string) string { return redact.Token(m.known.Load().String(s)) }

// writer masks what is written to it and passes it on to w, whatever the pieces in which it comes. A line is given out when it is
// whole. Close gives out the rest and does not close w.
func (m *masks) writer(w io.Writer) *maskWriter {
	return &maskWriter{masks: m, lines: lineMasker{out: w}, fresh: true}
}

// maskWriter masks known values first, then what has the shape of a credential.
type maskWriter struct {
	masks *masks
	with  *redact.Redactor
	known io.WriteCloser
	lines lineMasker
	// fresh says that the last byte ended a line. New secrets are taken up there only, since a value may be half through.
	fresh bool
}

// Write is io.Writer.
func (w *maskWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if now := w.masks.known.Load(); now != w.with && w.fresh {
		if w.known != nil {
			if err := w.known.Close(); err != nil {
				return 0, err
			}
		}
		w.with, w.known = now, now.Writer(&w.lines)
	}
	w.fresh = p[len(p)-1] == '\n'
	return w.known.Write(p)
}

// Close gives out what was held back.
func (w *maskWriter) Close() error {
	if w.known == nil {
		return nil
	}
	err := w.known.Close()
	w.known, w.with, w.fresh = nil, nil, true
	return errors.Join(err, w.lines.end())
}

const (
	// maxLine is where a line is taken for two, in bytes. A credential at that place may be seen as two halves, which are masked
	// only where each has the shape.
	maxLine = 64 << 10
	// maxKey is the length from which on a private key without an end is none, in bytes.
	maxKey = 32 << 10
)

// lineMasker masks credentials by their shape, line by line, and private keys over several.
type lineMasker struct {
	out     io.Writer
	pending []byte
	lower   []byte
	// key counts the bytes of a private key whose end has not come; 0 is none.
	key int
}

// Write is io.Writer.
func (l *lineMasker) Write(p []byte) (int, error) {
	l.pending = append(l.pending, p...)
	rest := l.pending
	if whole := bytes.LastIndexByte(rest, '\n') + 1; whole > 0 && l.key == 0 && !l.suspicious(rest[:whole]) {
		if _, err := l.out.Write(rest[:whole]); err != nil {
			return 0, err
		}
		rest = rest[whole:]
	}
	for {
		n := lineLength(rest)
		if n == 0 {
			break
		}
		if err := l.line(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	l.pending = append(l.pending[:0], rest...)
	return len(p), nil
}

// end gives out a line that has no end.
func (l *lineMasker) end() error {
	rest := l.pending
	l.pending = nil
	err := error(nil)
	if len(rest) > 0 {
		err = l.line(rest)
	}
	l.key = 0
	return err
}

// lineLength is the length of the first line with its end, or 0 when it is not whole. A long line ends after a blank.
func lineLength(b []byte) int {
	if end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n'); end >= 0 {
		return end + 1
	}
	if len(b) < maxLine {
		return 0
	}
	if blank := bytes.LastIndexByte(b[:maxLine], ' '); blank > maxLine/2 {
		return blank + 1
	}
	return maxLine
}

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z ]*PRIVATE KEY-----`)
)

func (l *lineMasker) line(b []byte) error {
	if l.key > 0 {
		l.key += len(b)
		end := keyEnd.FindIndex(b)
		switch {
		case end != nil:
			l.key, b = 0, b[end[1]:]
		case l.key < maxKey:
			return nil
		default:
			l.key = 0
		}
	}
	if !l.suspicious(b) {
		_, err := l.out.Write(b)
		return err
	}
	text, newline := strings.CutSuffix(string(b), "\n")
	masked := redact.Token(text)
	if begins := keyBegin.FindAllStringIndex(text, -1); begins != nil {
		if last := begins[len(begins)-1]; !keyEnd.MatchString(text[last[1]:]) {
			l.key = len(text) - last[0]
		}
	}
	if newline {
		masked += "\n"
	}
	_, err := io.WriteString(l.out, masked)
	return err
}

// hints are what a text must hold, in lower case, for redact.Token to find anything in it. Most lines have none, and to look for
// them is much quicker. A test holds the two against each other.
var hints = [][]byte{
	[]byte("private key"), []byte("ghp_"), []byte("gho_"), []byte("ghu_"), []byte("ghs_"), []byte("ghr_"), []byte("github_pat_"), []byte("npm_"),
	[]byte("eyj"), []byte("authorization"), []byte("bearer"), []byte(`"auth"`), []byte(`"identitytoken"`), []byte(`"password"`),
}

// An address is suspicious with an @ behind it only, since half of all logs are full of addresses.
var addressHint, userHint = []byte("://"), []byte("@")

func (l *lineMasker) suspicious(b []byte) bool {
	if at := bytes.Index(b, addressHint); at >= 0 && bytes.Contains(b[at:], userHint) {
		return true
	}
	l.lower = l.lower[:0]
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		l.lower = append(l.lower, c)
	}
	return slices.ContainsFunc(hints, func(h []byte) bool { return bytes.Contains(l.lower, h) })
}
