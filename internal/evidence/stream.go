package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is in the chain of an error when a JSON document, or one value of it, has more bytes than are read.
var ErrTooLarge = errors.New("it is larger than what is read of it")

// Stream reads a JSON document value by value, so that no more than one of them is in memory. A document of strangers can make it
// hold at most twice the bytes of the largest value that it takes.
type Stream struct {
	json   *json.Decoder
	source *bounded
}

// NewStream reads a document of at most total bytes. No value that is decoded as one may have more than value bytes.
func NewStream(r io.Reader, total, value int64) *Stream {
	b := &bounded{source: r, total: total, value: value}
	return &Stream{json: json.NewDecoder(b), source: b}
}

// Value decodes the value that comes next.
func (s *Stream) Value(out any) error {
	s.source.left = s.source.value
	return s.json.Decode(out)
}

// Skip leaves out the value that comes next.
func (s *Stream) Skip() error { return s.Value(&json.RawMessage{}) }

// Object calls field with the name of each field of the object that comes next. field has to read or skip the value.
func (s *Stream) Object(field func(name string) error) error {
	return s.each('{', func() error {
		name, err := s.token()
		if err != nil {
			return err
		}
		text, _ := name.(string) // JSON has no other names
		return field(text)
	})
}

// Array calls element for each element of the array that comes next. element has to read or skip it.
func (s *Stream) Array(element func() error) error { return s.each('[', element) }

// each walks an object or array; null is an empty one.
func (s *Stream) each(open json.Delim, one func() error) error {
	begin, err := s.token()
	if err != nil || begin == nil {
		return err
	}
	if begin != open {
		return fmt.Errorf("%v is where %v should be", begin, open)
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

// bounded is a source that ends with ErrTooLarge.
type bounded struct {
	source io.Reader
	// total is what the document may still have, left what the value that is read may still have.
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
