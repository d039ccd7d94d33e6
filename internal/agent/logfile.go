package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/docker/go-units"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

const (
	// memberText is how much text is compressed at once, in bytes.
	memberText = 64 << 10
	// recentText is how much of the end of a log is kept in memory for `?tail=`, in bytes.
	recentText = 16 << 10
	// tailSegments is the number of files that hold the tail. Starting a new one deletes the oldest.
	tailSegments = 8
)

// logFile is the log of one container: the head and the tail of its masked text, compressed on disk. It is safe for concurrent use.
type logFile struct {
	dir string
	// limit is how much text is kept, in bytes: half of it in the head, half in the tail.
	limit    int64
	compress *compressor
	log      *slog.Logger

	mu   sync.Mutex
	info evidence.LogFile
	// headFull means that the head is closed. It may be shorter than half the limit if the disk was full.
	headFull bool
	head     *segment
	tail     []*segment
	next     int
	// at is the position after pending, flushed the position after the text on disk.
	at      position
	flushed position
	in      *maskWriter
	pending []byte
	recent  []byte
}

// logInfo is the content of a log's info.json.
type logInfo struct {
	evidence.LogFile
	HeadFull bool
}

// openLog opens or creates the log in dir; info names what it belongs to.
func openLog(dir string, info evidence.LogFile, limit int64, m *masks, c *compressor, log *slog.Logger) (*logFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create a log's directory: %w", err)
	}
	l := &logFile{dir: dir, limit: limit, compress: c, log: log, info: info}
	l.in = m.writer(writerFunc(l.take))
	if err := l.load(); err != nil {
		return nil, err
	}
	return l, nil
}

// load reads the log from disk.
func (l *logFile) load() error {
	data, err := os.ReadFile(filepath.Join(l.dir, "info.json"))
	if err == nil {
		var was logInfo
		if err := json.Unmarshal(data, &was); err == nil {
			l.info, l.headFull = was.LogFile, was.HeadFull
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read a log's info: %w", err)
	}
	var text int64
	open := func(name string) (*segment, error) {
		s, at, err := openSegment(name, l.remember)
		if err != nil {
			return nil, err
		}
		text += s.text
		if s.size > 0 {
			l.at, l.flushed = at, at
		}
		return s, nil
	}
	if l.head, err = open(filepath.Join(l.dir, "head")); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(l.dir, "tail.*"))
	if err != nil {
		return fmt.Errorf("list a log's files: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		s, err := open(name)
		if err != nil {
			return err
		}
		l.tail = append(l.tail, s)
		if _, err := fmt.Sscanf(filepath.Base(name), "tail.%d", &l.next); err != nil {
			return fmt.Errorf("the name of a log's file: %w", err)
		}
	}
	l.info.Bytes = text + l.info.Dropped
	return nil
}

// saveInfo writes info.json. It only logs an error: losing this information on a full disk is better than losing the log.
func (l *logFile) saveInfo() {
	data, err := json.Marshal(logInfo{l.info, l.headFull})
	if err == nil {
		err = writeFile(filepath.Join(l.dir, "info.json"), data)
	}
	if err != nil {
		l.log.Warn("could not save a log's info", "pod", l.info.Pod, "container", l.info.Container, "error", err)
	}
}

// add appends complete lines of the container, or the beginning of a long one; at is the position after them.
func (l *logFile) add(text []byte, at position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Writing to memory does not fail.
	_, _ = l.in.Write(text)
	l.at = at
	l.flush(memberText)
}

// note appends a line from the agent itself and sets the position.
func (l *logFile) note(at position, format string, args ...any) {
	line := ""
	if format != "" {
		line = "[conductor: " + fmt.Sprintf(format, args...) + "]\n"
		if l.endsInLine() {
			line = "\n" + line
		}
	}
	l.add([]byte(line), at)
}

func (l *logFile) endsInLine() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.in.fresh
}

// place returns the position after everything that was added.
func (l *logFile) place() position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// setEnded records whether the log is complete.
func (l *logFile) setEnded(ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ended {
		_ = l.in.Close()
		l.flush(1)
	}
	l.info.Ended = ended
	l.saveInfo()
}

// sync writes everything that was added to disk.
func (l *logFile) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush(1)
}

// state returns the log's state as reported to Conductor.
func (l *logFile) state() evidence.LogFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// take receives masked text.
func (l *logFile) take(text []byte) {
	l.pending = append(l.pending, text...)
	l.info.Bytes += int64(len(text))
	l.remember(text)
}

// remember keeps the end of the text in memory.
func (l *logFile) remember(text []byte) {
	l.recent = append(l.recent, text[max(0, len(text)-recentText):]...)
	if over := len(l.recent) - recentText; over > recentText {
		l.recent = append(l.recent[:0], l.recent[over:]...)
	}
}

// flush writes the pending text to disk if it has at least the given length. Its position is the one after all added text, even if a
// part of the last line is still held back.
func (l *logFile) flush(least int) {
	if len(l.pending) < least {
		return
	}
	for left := l.pending; len(left) > 0; {
		n := min(len(left), memberText)
		at := l.at
		if n < len(left) {
			at = l.flushed
		}
		l.write(left[:n], at)
		left = left[n:]
	}
	l.flushed = l.at
	l.pending = l.pending[:0]
	if cap(l.pending) > 4*memberText {
		l.pending = nil
	}
}

// write appends text to the head while it has room, and then to the tail. When the disk is full it deletes the oldest files of the
// tail. If that is not enough it drops the text, always between head and tail.
func (l *logFile) write(text []byte, at position) {
	size := int64(len(text))
	if !l.headFull && l.head.text+size <= l.limit/2 {
		if err := l.compress.member(l.head, text, at); err == nil {
			return
		}
	}
	l.headFull = true
	for {
		err := l.compress.member(l.last(size), text, at)
		if err == nil {
			return
		}
		if len(l.tail) == 0 || l.tail[0].size == 0 {
			l.log.Warn("could not write a log", "pod", l.info.Pod, "container", l.info.Container, "error", err)
			l.info.Dropped += size
			return
		}
		l.dropOldest()
	}
}

// last returns the file of the tail that has room for size more bytes.
func (l *logFile) last(size int64) *segment {
	if n := len(l.tail); n > 0 && l.tail[n-1].text+size <= l.limit/2/tailSegments {
		return l.tail[n-1]
	}
	if len(l.tail) >= tailSegments {
		l.dropOldest()
	}
	l.next++
	s := &segment{name: filepath.Join(l.dir, fmt.Sprintf("tail.%09d", l.next))}
	l.tail = append(l.tail, s)
	if len(l.tail) == 1 {
		l.saveInfo()
	}
	return s
}

func (l *logFile) dropOldest() {
	s := l.tail[0]
	l.tail = l.tail[1:]
	if err := os.Remove(s.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.log.Warn("could not remove the middle of a log", "file", s.name, "error", err)
	}
	l.info.Dropped += s.text
	l.saveInfo()
}

// tailText returns the last lines of the log, at most recentText bytes.
func (l *logFile) tailText(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.recent[max(0, len(l.recent)-recentText):]
	if int64(len(text)) < l.info.Bytes {
		// Drop the first line, which is most likely incomplete.
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	from := len(bytes.TrimSuffix(text, []byte("\n")))
	for range max(lines, 1) {
		if from = bytes.LastIndexByte(text[:max(from, 0)], '\n'); from < 0 {
			break
		}
	}
	return strings.ToValidUTF8(string(text[from+1:]), "\uFFFD")
}

// snapshot is a log at one point in time. It does not change while the log grows.
type snapshot struct {
	parts []*io.SectionReader
	files []*os.File
	size  int64
}

// snapshot opens the log as it is now.
func (l *logFile) snapshot() (*snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush(1)
	s := &snapshot{}
	all := append([]*segment{l.head}, l.tail...)
	for i, part := range all {
		if i == 1 && l.info.Dropped > 0 {
			if err := s.gap(l.compress, l.info.Dropped); err != nil {
				_ = s.Close()
				return nil, err
			}
		}
		if part.size == 0 {
			continue
		}
		f, err := os.Open(part.name)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("open a log: %w", err)
		}
		s.files = append(s.files, f)
		s.add(io.NewSectionReader(f, 0, part.size))
	}
	if len(l.tail) == 0 && l.info.Dropped > 0 {
		if err := s.gap(l.compress, l.info.Dropped); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if len(s.parts) == 0 {
		return s, s.text(l.compress, nil)
	}
	return s, nil
}

// gap adds a line with the amount of text that was dropped.
func (s *snapshot) gap(c *compressor, dropped int64) error {
	return s.text(c, fmt.Appendf(nil, "\n[conductor: %s of this log were left out here]\n", units.BytesSize(float64(dropped))))
}

// text adds a member that is not in a file.
func (s *snapshot) text(c *compressor, text []byte) error {
	data, err := c.bytes(text)
	if err != nil {
		return err
	}
	s.add(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
	return nil
}

func (s *snapshot) add(part *io.SectionReader) {
	s.parts = append(s.parts, part)
	s.size += part.Size()
}

// reader returns a reader from the beginning of the log.
func (s *snapshot) reader() io.Reader {
	all := make([]io.Reader, len(s.parts))
	for i, p := range s.parts {
		all[i] = io.NewSectionReader(p, 0, p.Size())
	}
	return io.MultiReader(all...)
}

// Close implements io.Closer.
func (s *snapshot) Close() error {
	var all error
	for _, f := range s.files {
		all = errors.Join(all, f.Close())
	}
	return all
}

// sortLogs sorts logs by pod and container.
func sortLogs(all []evidence.LogFile) {
	slices.SortFunc(all, func(a, b evidence.LogFile) int {
		return cmp.Or(strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container))
	})
}
