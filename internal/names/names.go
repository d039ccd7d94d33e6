// Package names derives names of Kubernetes objects from other names.
package names

import "strings"

// Slug returns s in lower case. It replaces characters that a DNS label cannot contain with dashes and removes dashes at both
// ends. The result may be empty, start with a digit or be too long for a label.
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
