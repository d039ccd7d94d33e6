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
	// recentText is how much of a log's end is in memory for `?tail=`, in bytes.
	recentText = 16 << 10
	// tailSegments is in how many files the tail is: the oldest goes when a new one is begun.
	tailSegments = 8
)

// logFile is the log of one container: the head and the tail of its masked text on disk, compressed. It is safe for concurrent use.
type logFile struct {
	dir string
	// limit is how much text is kept, in bytes: half of it head, half of it tail.
	limit    int64
	compress *compressor
	log      *slog.Logger

	mu   sync.Mutex
	info evidence.LogFile
	// headFull says that the head takes no more text, though it may be shorter than half of the limit: the disk was full.
	headFull bool
	head     *segment
	tail     []*segment
	next     int
	// at is the position behind pending, flushed the one behind what is on disk.
	at      position
	flushed position
	in      *maskWriter
	pending []byte
	recent  []byte
}

// logInfo is what is in a log's info.json.
type logInfo struct {
	evidence.LogFile
	HeadFull bool
}

// openLog opens the log in dir, or makes one; info says what it belongs to.
func openLog(dir string, info evidence.LogFile, limit int64, m *masks, c *compressor, log *slog.Logger) (*logFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a log's directory: %w", err)
	}
	l := &logFile{dir: dir, limit: limit, compress: c, log: log, info: info}
	l.in = m.writer(writerFunc(l.take))
	if err := l.load(); err != nil {
		return nil, err
	}
	return l, nil
}

// load reads what is on disk.
func (l *logFile) load() error {
	data, err := os.ReadFile(filepath.Join(l.dir, "info.json"))
	if err == nil {
		var was logInfo
		if err := json.Unmarshal(data, &was); err == nil {
			l.info, l.headFull = was.LogFile, was.HeadFull
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read what a log belongs to: %w", err)
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
		return fmt.Errorf("look for a log's files: %w", err)
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

// saveInfo writes info.json. What it says beyond the segments is not worth an error: a full disk is no reason to lose the log.
func (l *logFile) saveInfo() {
	data, err := json.Marshal(logInfo{l.info, l.headFull})
	if err == nil {
		err = writeFile(filepath.Join(l.dir, "info.json"), data)
	}
	if err != nil {
		l.log.Warn("could not save what a log belongs to", "pod", l.info.Pod, "container", l.info.Container, "error", err)
	}
}

// add appends whole lines of the container, or the beginning of a long one; at is the position behind them.
func (l *logFile) add(text []byte, at position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A writer into memory has no errors.
	_, _ = l.in.Write(text)
	l.at = at
	l.flush(memberText)
}

// note appends a line of the agent's own and a position.
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

// place is the position behind everything that was added.
func (l *logFile) place() position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// setEnded reports whether more can come.
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

// sync writes all that was added to disk.
func (l *logFile) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush(1)
}

// state is what Conductor is told.
func (l *logFile) state() evidence.LogFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// take gets masked text.
func (l *logFile) take(text []byte) {
	l.pending = append(l.pending, text...)
	l.info.Bytes += int64(len(text))
	l.remember(text)
}

// remember keeps the end of the text.
func (l *logFile) remember(text []byte) {
	l.recent = append(l.recent, text[max(0, len(text)-recentText):]...)
	if over := len(l.recent) - recentText; over > recentText {
		l.recent = append(l.recent[:0], l.recent[over:]...)
	}
}

// flush writes what is pending to disk when it is at least as long as least. The position that goes with it is the one behind all
// that was added; of a line that is still held back the beginning was not.
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

// write puts text into the head while that has room, and then into the tail. When the disk is full the tail's oldest files make
// room; text for which there is none even so is dropped, always between head and tail.
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

// last is the tail's file that takes size bytes more.
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

// tailText is the end of the log, at most this many lines and recentText bytes.
func (l *logFile) tailText(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.recent[max(0, len(l.recent)-recentText):]
	if int64(len(text)) < l.info.Bytes {
		// The first line is cut, unless it happens to begin here.
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

// snapshot is a log as it was at one moment. It does not change while the log goes on.
type snapshot struct {
	parts []*io.SectionReader
	files []*os.File
	size  int64
}

// snapshot opens all that there is now.
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

// gap says how much was left out.
func (s *snapshot) gap(c *compressor, dropped int64) error {
	return s.text(c, fmt.Appendf(nil, "\n[conductor: %s of this log were left out here]\n", units.BytesSize(float64(dropped))))
}

// text adds a member that is in no file.
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

// reader reads it from the beginning.
func (s *snapshot) reader() io.Reader {
	all := make([]io.Reader, len(s.parts))
	for i, p := range s.parts {
		all[i] = io.NewSectionReader(p, 0, p.Size())
	}
	return io.MultiReader(all...)
}

// Close is io.Closer.
func (s *snapshot) Close() error {
	var all error
	for _, f := range s.files {
		all = errors.Join(all, f.Close())
	}
	return all
}

// sortLogs puts logs in the order of their pods and containers.
func sortLogs(all []evidence.LogFile) {
	slices.SortFunc(all, func(a, b evidence.LogFile) int {
		return cmp.Or(strings.Compare(a.Pod, b.Pod), strings.Compare(a.Container, b.Container))
	})
}
