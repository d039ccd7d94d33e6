package agent

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// seenLines is how many lines a log remembers by their times, to tell after a broken stream what is new.
const seenLines = 1024

// batchText is how much of a log is handed on at once, in bytes.
const batchText = 32 << 10

// seen knows by their times which lines were read. Lines of standard output and standard error may be a little out of order, and
// several may have the same time.
type seen struct {
	times []int64
	next  int
	// floor is the latest time that was forgotten: lines up to it count as read.
	floor int64
	// last is the latest time, same how many lines had it.
	last int64
	same int
}

// resumed is what is known of a log that an earlier process has read.
func resumed(at position) *seen {
	s := &seen{}
	if at.Last == 0 {
		return s
	}
	for range at.Same {
		s.add(at.Last)
	}
	s.floor = at.Last - 1
	return s
}

func (s *seen) add(t int64) {
	switch {
	case t > s.last:
		s.last, s.same = t, 1
	case t == s.last:
		s.same++
	}
	if len(s.times) < seenLines {
		s.times = append(s.times, t)
		return
	}
	s.floor = max(s.floor, s.times[s.next])
	s.times[s.next] = t
	s.next = (s.next + 1) % seenLines
}

// since is the time from which on a log has to be asked for again: whole seconds are all that the API has, and one more leaves
// room for lines out of order. Zero is from the start.
func (s *seen) since() time.Time {
	if s.last == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.last).Add(-time.Second).Truncate(time.Second)
}

// again tells, for one stream that was opened anew, which of its lines were read before.
func (s *seen) again() func(t int64) bool {
	counts := map[int64]int{}
	for _, t := range s.times {
		counts[t]++
	}
	// What this stream itself brings is new, in whatever order.
	floor := s.floor
	return func(t int64) bool {
		if t <= floor {
			return true
		}
		if counts[t] == 0 {
			return false
		}
		counts[t]--
		return true
	}
}

// copyLines reads a log with times and hands on the lines that are new, without their times. The end of the stream is no error.
func copyLines(r io.Reader, s *seen, to func(text []byte, got tally)) error {
	c := &lineCopier{in: bufio.NewReaderSize(r, batchText), seen: s, old: s.again(), to: to}
	return c.run()
}

// tally is what a stream held so far.
type tally struct {
	lines int
	// firstFresh says that the first line was new, so that between it and the last one read before some may be missing.
	firstFresh bool
}

type lineCopier struct {
	in    *bufio.Reader
	seen  *seen
	old   func(int64) bool
	to    func([]byte, tally)
	batch []byte
	tally tally
	// inside says that the last piece was no whole line, skip that its line is an old one, and time is the line's.
	inside, skip bool
	time         int64
}

func (c *lineCopier) run() error {
	for {
		piece, err := c.in.ReadSlice('\n')
		if len(piece) > 0 {
			c.piece(piece)
		}
		if c.in.Buffered() == 0 || len(c.batch) >= batchText || err != nil {
			c.hand()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// piece takes a line, or a part of one that is longer than the buffer.
func (c *lineCopier) piece(p []byte) {
	if !c.inside {
		c.time, p = splitTime(p)
		c.tally.lines++
		// A line without a time is the kubelet's own, about a log that it cannot read; it is kept.
		if c.skip = c.time != 0 && c.old(c.time); !c.skip {
			c.tally.firstFresh = c.tally.firstFresh || c.tally.lines == 1 && c.time != 0
		}
	}
	c.inside = !bytes.HasSuffix(p, []byte("\n"))
	if c.skip {
		return
	}
	c.batch = append(c.batch, p...)
	if !c.inside && c.time != 0 {
		c.seen.add(c.time)
	}
}

func (c *lineCopier) hand() {
	if len(c.batch) > 0 {
		c.to(c.batch, c.tally)
		c.batch = c.batch[:0]
	}
}

// splitTime takes the time from the beginning of a line, in nanoseconds since 1970; 0 is none. The kubelet writes RFC 3339 with
// nanoseconds and a blank: k8s.io/cri-client, pkg/logs, timeFormatOut.
func splitTime(line []byte) (int64, []byte) {
	blank := bytes.IndexByte(line[:min(len(line), 40)], ' ')
	if blank < 0 {
		return 0, line
	}
	t, err := time.Parse(time.RFC3339Nano, string(line[:blank]))
	if err != nil {
		return 0, line
	}
	return t.UnixNano(), line[blank+1:]
}
