package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge means that a JSON document, or one value in it, exceeds its size limit.
var ErrTooLarge = errors.New("the size limit is exceeded")

// Stream reads a JSON document value by value, so that only one value is in memory. For an untrusted document it buffers at most twice
// the size limit of a value.
type Stream struct {
	json   *json.Decoder
	source *bounded
}

// NewStream returns a Stream for a document of at most total bytes, in which each decoded value has at most value bytes.
func NewStream(r io.Reader, total, value int64) *Stream {
	b := &bounded{source: r, total: total, value: value}
	return &Stream{json: json.NewDecoder(b), source: b}
}

// Value decodes the next value.
func (s *Stream) Value(out any) error {
	s.source.left = s.source.value
	return s.json.Decode(out)
}

// Skip skips the next value.
func (s *Stream) Skip() error { return s.Value(&json.RawMessage{}) }

// Object calls field with the name of each field of the next value, an object. field must read or skip the field's value.
func (s *Stream) Object(field func(name string) error) error {
	return s.each('{', func() error {
		name, err := s.token()
		if err != nil {
			return err
		}
		text, _ := name.(string) // JSON names are always strings
		return field(text)
	})
}

// Array calls element for each element of the next value, an array. element must read or skip it.
func (s *Stream) Array(element func() error) error { return s.each('[', element) }

// each iterates over an object or array; null counts as empty.
func (s *Stream) each(open json.Delim, one func() error) error {
	begin, err := s.token()
	if err != nil || begin == nil {
		return err
	}
	if begin != open {
		return fmt.Errorf("found %v instead of %v", begin, open)
	}
	for s.source.left = s.source.value; s.json.More(); s.source.left = s.source.value {
		if err := one(); err != nil {
			return err
		}
	}
	_, err = s.token()
	return err
}

func (s *Stream) token() (json.Token, error) {
	s.source.left = s.source.value
	return s.json.Token()
}

// bounded is a source that fails with ErrTooLarge beyond its limits.
type bounded struct {
	source io.Reader
	// total is the remaining limit of the document, left that of the current value.
	total, value, left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	most := min(b.total, b.left, int64(len(p)))
	if most <= 0 && len(p) > 0 {
		return 0, ErrTooLarge
	}
	n, err := b.source.Read(p[:most])
	b.total -= int64(n)
	b.left -= int64(n)
	return n, err
}
