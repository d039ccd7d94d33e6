package compact

import "unicode/utf8"

// ellipsis stands for what is missing.
const ellipsis = "…"

// head is the beginning of s in at most limit bytes, with an ellipsis where something is missing.
func head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// tail is the end of s in at most limit bytes.
func tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	start := len(s) - limit
	for start < len(s) && !utf8.RuneStart(s[start]) {
		start++
	}
	return s[start:]
}
