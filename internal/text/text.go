// Package text shortens texts and counts things in words. Lengths are in bytes, and no character is cut in two.
package text

import (
	"fmt"
	"unicode/utf8"
)

// Ellipsis represents what is missing.
const Ellipsis = "…"

// Head is the beginning of s, at most limit bytes.
func Head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Tail is the end of s, at most limit bytes.
func Tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	start := len(s) - limit
	for start < len(s) && !utf8.RuneStart(s[start]) {
		start++
	}
	return s[start:]
}

// Truncate is the beginning of s with an ellipsis where something is missing, together at most limit bytes; limit is at least that of
// the Ellipsis, which is 3.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return Head(s, limit-len(Ellipsis)) + Ellipsis
}

// Plural is a number of things: 1 image, 2 images.
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
