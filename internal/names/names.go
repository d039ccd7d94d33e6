// Package names derives names of Kubernetes objects, and values of their labels, from other names.
package names

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxLabel is the longest DNS label (RFC 1123), and also the longest value of a Kubernetes label.
const maxLabel = 63

// LabelValue returns a name as the value of a label: the name itself if it is valid, else a shortened form with a hash.
func LabelValue(name string) string {
	if len(validation.IsValidLabelValue(name)) == 0 {
		return name
	}
	return Label(name)
}

// Label makes a DNS label of s: s itself if it is one, else as much of it as possible and a hash of the whole.
func Label(s string) string {
	if len(s) <= maxLabel && Slug(s) == s && s != "" {
		return s
	}
	return Hashed(s, s)
}

// Hashed makes a DNS label of as much of s as fits and a hash of the parts.
func Hashed(s string, parts ...string) string {
	const hash = 10
	s = Slug(s)
	s = strings.TrimRight(s[:min(len(s), maxLabel-hash-1)], "-")
	if s == "" {
		s = "x"
	}
	return s + "-" + Digest(parts...)[:hash]
}

// Digest returns the SHA-256 of the parts, in hexadecimal.
func Digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

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
