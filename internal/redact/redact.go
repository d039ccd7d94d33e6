// Package redact masks secrets in text that leaves Conductor: values that are known, in streams too, and
// tokens that are recognised by their shape.
//
// Known values shorter than MinLength bytes are not masked: "1" or "qa" would blank out half of every log, and what is
// that short is no secret. Mask before you cut: the front half of a value that a cut left is not recognised.
package redact

import (
	"bytes"
	"slices"
)

// MinLength is the length in bytes from which on a value is masked.
const MinLength = 4

// Redactor masks a fixed set of values. It is safe for concurrent use.
type Redactor struct {
	matcher *matcher
	mask    string
}

// New makes a Redactor for values. Each is masked as it stands, each of its lines alone, and in the encodings that
// programs print: base64 (wherever it begins in the encoded text), percent-encoding and JSON escapes.
func New(values ...string) *Redactor {
	var all []string
	for _, v := range values {
		all = append(all, forms(v)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return &Redactor{matcher: newMatcher(all), mask: maskFor(all)}
}

// String masks the values in s.
func (r *Redactor) String(s string) string {
	st := stream{r: r}
	out := st.feed(nil, []byte(s))
	return string(st.end(out))
}

// maskFor picks a mask that shares no byte with a form, so that a mask and the text beside it never make up a value.
func maskFor(all []string) string {
	used := [256]bool{}
	for _, f := range all {
		for i := range len(f) {
			used[f[i]] = true
		}
	}
	if !used['*'] {
		return "***"
	}
	for c := byte('!'); c <= '~'; c++ {
		if !used[c] {
			return string(bytes.Repeat([]byte{c}, 3))
		}
	}
	for c := range used {
		if !used[c] {
			return string(bytes.Repeat([]byte{byte(c)}, 3))
		}
	}
	return "***"
}
