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

// masks holds the secrets of the stack's namespace: the files below the directory in which its Secrets are mounted. A value that was
// secret once stays so until the agent exits.
type masks struct {
	dir   string
	known atomic.Pointer[redact.Redactor]

	mu     sync.Mutex
	values map[[sha256.Size]byte]string
}

// newMasks reads the secrets below dir, which may not exist.
func newMasks(dir string) (*masks, error) {
	m := &masks{dir: dir, values: map[[sha256.Size]byte]string{}}
	m.known.Store(redact.New())
	return m, m.reload()
}

// reload reads new values.
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
		// JUnit is XML, which escapes some characters (Extensible Markup Language 1.0, 2.4). Tools escape quotes differently.
		escaped := html.EscapeString(v)
		named := strings.NewReplacer("&#39;", "&apos;", "&#34;", "&quot;").Replace(escaped)
		bare := strings.NewReplacer("&#39;", "'", "&#34;", `"`).Replace(escaped)
		all = append(all, escaped, named, bare)
	}
	slices.Sort(all)
	m.known.Store(redact.New(slices.Compact(all)...))
	return err
}

// read adds the content of the files below the directory. In a Secret volume each key is a symbolic link to a file in a directory that
// begins with two dots; those directories are skipped so that no file is read twice.
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

// writer returns a writer that masks text and passes it on to w line by line. Secrets may be split over several writes. Close writes
// the rest and does not close w.
func (m *masks) writer(w io.Writer) *maskWriter {
	return &maskWriter{masks: m, lines: lineMasker{out: w}, fresh: true}
}

// maskWriter masks known values first, then everything shaped like a credential.
type maskWriter struct {
	masks *masks
	with  *redact.Redactor
	known io.WriteCloser
	lines lineMasker
	// fresh means that the last byte ended a line. New secrets take effect only there, because a value may be split over two writes.
	fresh bool
}

// Write implements io.Writer.
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

// Close writes the text that was held back.
func (w *maskWriter) Close() error {
	if w.known == nil {
		return nil
	}
	err := w.known.Close()
	w.known, w.with, w.fresh = nil, nil, true
	return errors.Join(err, w.lines.end())
}

const (
	// maxLine is the length at which a line is split, in bytes. A credential at that point is masked only if each half has the shape of
	// one.
	maxLine = 64 << 10
	// maxKey is how much text after the beginning of a private key is masked if its end does not follow, in bytes.
	maxKey = 32 << 10
)

// lineMasker masks credentials by their shape, line by line, and private keys across lines.
type lineMasker struct {
	out     io.Writer
	pending []byte
	lower   []byte
	// key counts the bytes of a private key whose end has not been seen; 0 means that the text is not inside a key.
	key int
}

// Write implements io.Writer.
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

// end writes a last line that has no newline.
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

// lineLength returns the length of the first line including its end, or 0 if the line is incomplete. A long line is split after a
// space.
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

// hints are the strings, in lower case, one of which every text must contain for redact.Token to match. Searching for them is much
// faster, and most lines contain none. A test keeps hints and redact.Token in step.
var hints = [][]byte{
	[]byte("private key"), []byte("ghp_"), []byte("gho_"), []byte("ghu_"), []byte("ghs_"), []byte("ghr_"), []byte("github_pat_"), []byte("npm_"),
	[]byte("eyj"), []byte("authorization"), []byte("bearer"), []byte(`"auth"`), []byte(`"identitytoken"`), []byte(`"password"`),
}

// A URL is suspicious only with an @ after it, since half of all logs are full of URLs.
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
