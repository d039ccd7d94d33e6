package redact

import "io"

// stream masks text that arrives in pieces. It holds back only the end of the text that may still become a value. Positions are counted
// from the start of the text.
type stream struct {
	r  *Redactor
	at int32
	// held is the text from position first on that has not been written.
	held  []byte
	first int
	// spans are the positions from first on that belong to a value, in order and without overlaps.
	spans []span
	// masked means that the last byte written belonged to a value: adjacent values get a single mask.
	masked bool
}

// span is the half-open range [from, to).
type span struct{ from, to int }

// feed processes a piece and appends the text that is decided to out.
func (s *stream) feed(out, piece []byte) []byte {
	m := s.r.matcher
	done := s.first
	place := s.first + len(s.held)
	s.held = append(s.held, piece...)
	for _, c := range piece {
		s.at = m.step(s.at, c)
		place++
		n := &m.nodes[s.at]
		if n.ends > 0 {
			s.mark(span{place - n.ends, place})
		}
		done = place - n.depth
	}
	return s.give(out, done)
}

// mark adds a span that does not end before the existing ones.
func (s *stream) mark(add span) {
	last := len(s.spans) - 1
	for ; last >= 0 && s.spans[last].to >= add.from; last-- {
		add.from = min(add.from, s.spans[last].from)
	}
	s.spans = append(s.spans[:last+1], add)
}

// end appends the text that is still held back; it did not become a value.
func (s *stream) end(out []byte) []byte {
	s.at = 0
	return s.give(out, s.first+len(s.held))
}

// give appends the text before a position.
func (s *stream) give(out []byte, place int) []byte {
	from := s.first
	for from < place {
		next := span{place, place}
		if len(s.spans) > 0 {
			next = span{min(s.spans[0].from, place), min(s.spans[0].to, place)}
		}
		if from < next.from {
			out, s.masked = append(out, s.held[from-s.first:next.from-s.first]...), false
		}
		if from = max(from, next.to); next.to > next.from && !s.masked {
			out, s.masked = append(out, s.r.mask...), true
		}
		if len(s.spans) > 0 && s.spans[0].to <= place {
			s.spans = s.spans[1:]
		} else if len(s.spans) > 0 {
			s.spans[0].from = max(s.spans[0].from, place)
		}
	}
	s.held = append(s.held[:0], s.held[max(0, place-s.first):]...)
	s.first = max(s.first, place)
	return out
}

// Writer returns a writer that masks text and passes it on to w. Close writes the text that was held back and does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser { return &writer{stream{r: r}, w} }

type writer struct {
	stream
	w io.Writer
}

// Write implements io.Writer. It returns the number of bytes received, not passed on.
func (w *writer) Write(p []byte) (int, error) {
	if out := w.feed(nil, p); len(out) > 0 {
		if _, err := w.w.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close implements io.Closer.
func (w *writer) Close() error {
	out := w.end(nil)
	if len(out) == 0 {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}

// Reader returns a reader of src with the values masked.
func (r *Redactor) Reader(src io.Reader) io.Reader {
	return &reader{stream: stream{r: r}, src: src, buf: make([]byte, 32<<10)}
}

type reader struct {
	stream
	src   io.Reader
	buf   []byte
	ready []byte
	err   error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 && r.err == nil && len(p) > 0 {
		n, err := r.src.Read(r.buf)
		r.ready = r.feed(r.ready[:0], r.buf[:n])
		if err != nil {
			r.ready, r.err = r.end(r.ready), err
		}
	}
	if len(r.ready) == 0 && len(p) > 0 {
		return 0, r.err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
