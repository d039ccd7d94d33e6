// Package text shortens texts and formats counts. Lengths are in bytes, and characters are never split.
package text

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Ellipsis marks omitted text.
const Ellipsis = "…"

// Head returns the beginning of s, at most limit bytes.
func Head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Tail returns the end of s, at most limit bytes.
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

// Truncate shortens s to at most limit bytes, including an ellipsis if text is omitted. limit must be at least 3, the length of
// Ellipsis.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return Head(s, limit-len(Ellipsis)) + Ellipsis
}

// Plural formats a number of things: 1 image, 2 images.
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Duration formats a duration without its zero parts: 30m, not 30m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
