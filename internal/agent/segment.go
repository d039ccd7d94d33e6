package agent

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// position is how far a container's log has been read.
type position struct {
	// Pod is the pod's UID, Restarts identifies the run of the container.
	Pod      string
	Restarts int32
	// Last is the latest timestamp of a line, in nanoseconds since 1970, and Same the number of lines that had it.
	Last int64
	Same int
	// Done means that this run of the container has ended and its log was read to the end.
	Done bool
}

// reaches reports whether the log was read up to a run of the container, to its end if that has ended.
func (p position) reaches(restarts int32, ended bool) bool {
	return p.Restarts > restarts || p.Restarts == restarts && (p.Done || !ended)
}

// segment is a file of gzip members. The header of each member holds the position at its end, so that text and position reach the disk
// together or not at all.
type segment struct {
	name string
	// text is the length of its text, size the length of the file, in bytes.
	text, size int64
}

// compressor creates gzip members. One serves all logs, because its tables are large.
type compressor struct {
	mu  sync.Mutex
	gz  *gzip.Writer
	buf bytes.Buffer
}

var positionField = [2]byte{'C', 'p'}

// member appends text as one gzip member. On error it restores the segment to its previous state.
func (c *compressor) member(s *segment, text []byte, at position) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	extra, err := positionExtra(at)
	if err != nil {
		return err
	}
	if err := c.fill(text, extra); err != nil {
		return err
	}
	if err := s.append(c.buf.Bytes()); err != nil {
		return err
	}
	s.text += int64(len(text))
	return nil
}

// bytes returns text as a gzip member without a position.
func (c *compressor) bytes(text []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fill(text, nil); err != nil {
		return nil, err
	}
	return bytes.Clone(c.buf.Bytes()), nil
}

// fill creates a member in the buffer.
func (c *compressor) fill(text, extra []byte) error {
	c.buf.Reset()
	if c.gz == nil {
		gz, err := gzip.NewWriterLevel(&c.buf, gzip.BestSpeed)
		if err != nil {
			return fmt.Errorf("compress a log: %w", err)
		}
		c.gz = gz
	}
	c.gz.Reset(&c.buf)
	c.gz.Extra = extra
	if _, err := c.gz.Write(text); err != nil {
		return fmt.Errorf("compress a log: %w", err)
	}
	if err := c.gz.Close(); err != nil {
		return fmt.Errorf("compress a log: %w", err)
	}
	return nil
}

// append opens the file for each write, because a stack may have more logs than a process should have open files.
func (s *segment) append(data []byte) error {
	f, err := os.OpenFile(s.name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, s.size); err != nil {
		return errors.Join(fmt.Errorf("write a log: %w", err), f.Truncate(s.size))
	}
	s.size += int64(len(data))
	return nil
}

// positionExtra encodes a position as the header's extra field: two letters, the length, the data (RFC 1952, 2.3.1.1).
func positionExtra(at position) ([]byte, error) {
	data, err := json.Marshal(at)
	if err != nil {
		return nil, fmt.Errorf("encode a log's position: %w", err)
	}
	out := append([]byte(nil), positionField[:]...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(data))) //nolint:gosec // it is short
	return append(out, data...), nil
}

func readPosition(extra []byte) (at position, ok bool) {
	if len(extra) < 4 || [2]byte(extra) != positionField {
		return at, false
	}
	return at, json.Unmarshal(extra[4:], &at) == nil
}

// openSegment opens or creates a segment and truncates it after its last complete member. It passes the text to each, piece by piece,
// and returns the position of that member.
func openSegment(name string, each func([]byte)) (*segment, position, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, position{}, fmt.Errorf("open a log: %w", err)
	}
	defer f.Close()
	s := &segment{name: name}
	var at position
	in := &countingReader{r: bufio.NewReaderSize(f, 64<<10)}
	for {
		text, here, ok := readMember(in, each)
		if !ok {
			break
		}
		s.text, s.size, at = s.text+text, in.n, here
	}
	if err := f.Truncate(s.size); err != nil {
		return nil, at, fmt.Errorf("truncate a log after its last complete part: %w", err)
	}
	return s, at, nil
}

func readMember(in *countingReader, each func([]byte)) (int64, position, bool) {
	gz, err := gzip.NewReader(in)
	if err != nil {
		return 0, position{}, false
	}
	gz.Multistream(false)
	at, ok := readPosition(gz.Extra)
	if !ok {
		return 0, at, false
	}
	n, err := io.Copy(writerFunc(each), gz)
	return n, at, err == nil
}

// countingReader counts the bytes read. It implements io.ByteReader, so that gzip does not read beyond the end of a member.
type countingReader struct {
	r *bufio.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

type writerFunc func([]byte)

// Write implements io.Writer.
func (w writerFunc) Write(p []byte) (int, error) { w(p); return len(p), nil }
