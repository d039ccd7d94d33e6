// Package redact masks secrets in text that leaves Conductor: known values, also in streams, and tokens that are recognized by their
// shape.
//
// Known values shorter than MinLength bytes are not masked: masking "1" or "qa" would make most logs unreadable, and a value that short
// is not a secret. Mask text before truncating it: a truncated value is not recognized.
package redact

import (
	"bytes"
	"slices"
)

// MinLength is the minimum length of masked values, in bytes.
const MinLength = 4

// Redactor masks a fixed set of values. It is safe for concurrent use.
type Redactor struct {
	matcher *matcher
	mask    string
}

// New creates a Redactor for values. It masks each value verbatim, each of its lines, and its common encodings: base64 (at any offset
// in the encoded text), percent-encoding and JSON escapes.
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

// maskFor returns a mask that shares no byte with a form, so that a mask and the text beside it never form a value.
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
