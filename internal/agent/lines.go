package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// seenLines is the number of recent timestamps that a log remembers, to recognize new lines after its stream broke.
const seenLines = 1024

// errNoLog is the error for a log that the kubelet cannot read. The kubelet answers with 200 and a sentence, the only line that does not begin
// with a timestamp: k8s.io/kubernetes, pkg/kubelet/kuberuntime, GetContainerLogs.
var errNoLog = errors.New("the kubelet cannot read the log")

// maxProblem limits what is kept of the kubelet's sentence, in bytes.
const maxProblem = 256

// batchText is how much of a log is passed on at once, in bytes.
const batchText = 32 << 10

// seen records which lines were read, by timestamp. Lines of standard output and standard error may be slightly out of order, and
// several may have the same timestamp.
type seen struct {
	times []int64
	next  int
	// floor is the latest timestamp that was dropped: lines up to it count as read.
	floor int64
	// last is the latest timestamp, same the number of lines that had it.
	last int64
	same int
}

// resumed restores seen from the position that an earlier process saved.
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

// since returns the time from which to request a log again. The API accepts whole seconds only, and one more second leaves room for
// lines out of order. Zero means from the start.
func (s *seen) since() time.Time {
	if s.last == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.last).Add(-time.Second).Truncate(time.Second)
}

// again returns a function that reports, for one reopened stream, whether a line with timestamp t was read before.
func (s *seen) again() func(t int64) bool {
	counts := map[int64]int{}
	for _, t := range s.times {
		counts[t]++
	}
	// Lines of this stream are new, in whatever order they come.
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

// copyLines reads a log with timestamps and passes on the new lines without them. It returns nil at the end of the stream.
func copyLines(r io.Reader, s *seen, to func(batch []byte, got tally)) error {
	c := &lineCopier{in: bufio.NewReaderSize(r, batchText), seen: s, old: s.again(), to: to}
	return c.run()
}

// tally counts what a stream has delivered so far.
type tally struct {
	lines int
	// firstFresh means that the first line was new: lines between it and the last one read before may be missing.
	firstFresh bool
}

type lineCopier struct {
	in    *bufio.Reader
	seen  *seen
	old   func(int64) bool
	to    func([]byte, tally)
	batch []byte
	tally tally
	// inside means that the last piece was only part of a line, skip that its line was read before; time is that line's timestamp.
	inside, skip bool
	time         int64
	// problem is the first line that is not of the log.
	problem string
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
		case errors.Is(err, io.EOF) && c.problem != "":
			return fmt.Errorf("%w: %s", errNoLog, c.problem)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// piece handles a line, or a part of one that is longer than the buffer.
func (c *lineCopier) piece(p []byte) {
	if !c.inside {
		c.time, p = splitTime(p)
		c.tally.lines++
		if c.time == 0 && c.problem == "" {
			c.problem = text.Truncate(string(bytes.TrimSpace(p)), maxProblem)
		}
		if c.skip = c.time == 0 || c.old(c.time); !c.skip {
			c.tally.firstFresh = c.tally.firstFresh || c.tally.lines == 1
		}
	}
	c.inside = !bytes.HasSuffix(p, []byte("\n"))
	if c.skip {
		return
	}
	c.batch = append(c.batch, p...)
	if !c.inside {
		c.seen.add(c.time)
	}
}

func (c *lineCopier) hand() {
	if len(c.batch) > 0 {
		c.to(c.batch, c.tally)
		c.batch = c.batch[:0]
	}
}

// splitTime splits the timestamp off a line, in nanoseconds since 1970; 0 means that the line has none. The kubelet writes RFC 3339
// with nanoseconds and a space: k8s.io/cri-client, pkg/logs, timeFormatOut.
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
