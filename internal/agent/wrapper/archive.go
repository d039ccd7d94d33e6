package wrapper

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/docker/go-units"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// noBlock keeps open from waiting for the other end of a pipe.
const noBlock = syscall.O_NONBLOCK

// tarSlack is more than the headers of one entry and the end of an archive need, in bytes.
const tarSlack = 16 << 10

// archive writes files as a tar of at most limit bytes. It holds no complete file in memory.
type archive struct {
	files []match
	limit int64
}

// archived lists the files of an archive, and the problems with others.
type archived struct {
	files    []evidence.File
	problems []string
}

// counter counts the bytes written.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// write writes the archive. It returns errors of the writer; a file that cannot be read or does not fit is a problem.
func (a archive) write(w io.Writer) (archived, error) {
	var out archived
	var large, unread []string
	counted := &counter{Writer: w}
	t := tar.NewWriter(counted)
	buffer := make([]byte, 128<<10)
	for _, file := range a.files {
		name := file.name
		f, info, err := file.open()
		if err != nil {
			unread = append(unread, fmt.Sprintf("%s (%s)", name, reason(err)))
			continue
		}
		size := info.Size()
		if counted.n+size+tarSlack > a.limit {
			large = append(large, fmt.Sprintf("%s (%s)", name, units.BytesSize(float64(size))))
			f.Close()
			continue
		}
		err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: info.ModTime()})
		if err == nil {
			err = fill(t, f, size, buffer)
		}
		f.Close()
		var cut *cutError
		if errors.As(err, &cut) {
			unread, err = append(unread, name+" ("+cut.Error()+")"), nil
		}
		if err != nil {
			return out, fmt.Errorf("archive %s: %w", name, err)
		}
		out.files = append(out.files, evidence.File{Path: name, Size: size})
	}
	if len(unread) > 0 {
		out.problems = append(out.problems, text.Plural(len(unread), "file")+" could not be read: "+some(unread)+".")
	}
	if len(large) > 0 {
		out.problems = append(out.problems, fmt.Sprintf("%s left out because of the limit of %s in all: %s.",
			text.Plural(len(large), "file"), units.BytesSize(float64(a.limit)), some(large)))
	}
	return out, t.Close()
}

// cutError means that a file shrank while it was read.
type cutError struct{ missing int64 }

func (e *cutError) Error() string {
	return "it shrank while it was read; the last " + units.BytesSize(float64(e.missing)) + " are zeros"
}

// fill writes exactly size bytes of a file, as announced in the header.
func fill(w io.Writer, r io.Reader, size int64, buffer []byte) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(r, size), buffer)
	if n == size || errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	// Pad a file that fails half-way like one that shrank. If the writer failed, it fails again here.
	clear(buffer)
	for left := size - n; left > 0; {
		m, err := w.Write(buffer[:min(left, int64(len(buffer)))])
		if err != nil {
			return err
		}
		left -= int64(m)
	}
	return &cutError{size - n}
}

// some joins the first few elements.
func some(all []string) string {
	const few = 5
	if len(all) <= few {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:few], ", "), len(all)-few)
}

// reason returns an error's text without the path, which the message names already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
