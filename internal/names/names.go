// Package names makes the names of Kubernetes objects of other names.
package names

import "strings"

// Slug is s in lower case, with one dash for each run of characters that a DNS label cannot hold, and none at either end. It is empty
// where nothing is left, and may begin with a digit or be too long for a label.
func Slug(s string) string {
	var b strings.Builder
	dash := true
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
			dash = false
		case r == '-' || !dash:
			b.WriteByte('-')
			dash = true
		}
	}
	return strings.Trim(b.String(), "-")
}
