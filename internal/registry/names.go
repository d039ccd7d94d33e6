package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// component is one element of a repository's path
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

var notAllowed = regexp.MustCompile(`[^a-z0-9]+`)

// maxComponent bounds each of owner, name and image; with a prefix they stay below the 255 characters of a path.
const maxComponent = 64

// Repository names where an image of a repository is pushed, as host/prefix/owner/name/image; without image, the
// repository's own place. Two images never share a name: what has to be spelled differently gets a hash of itself.
func (r *Registry) Repository(repo v1alpha1.Repository, image string) string {
	parts := []string{r.o.Host}
	if r.o.Prefix != "" {
		parts = append(parts, r.o.Prefix)
	}
	// GitHub's names do not differ by case alone, an image's may.
	parts = append(parts, spell(strings.ToLower(repo.Owner)), spell(strings.ToLower(repo.Name)))
	if image != "" {
		parts = append(parts, spell(image))
	}
	return strings.Join(parts, "/")
}

// spell is a name as a component.
func spell(s string) string {
	if component.MatchString(s) && len(s) <= maxComponent {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	plain := strings.Trim(notAllowed.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(plain) > maxComponent-9 {
		plain = strings.Trim(plain[:maxComponent-9], "-")
	}
	return strings.TrimPrefix(plain+"-"+hex.EncodeToString(sum[:4]), "-")
}
