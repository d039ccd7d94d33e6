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
	return ImageRepository(r.o, repo, image)
}

// ImageRepository is Repository without a connection.
func ImageRepository(o Options, repo v1alpha1.Repository, image string) string {
	parts := []string{o.Host}
	if o.Prefix != "" {
		parts = append(parts, o.Prefix)
	}
	// GitHub's names do not differ by case alone, an image's may.
	owner := spell(strings.ToLower(repo.Owner))
	for _, own := range []string{o.Records, o.Sources} {
		if first, _, _ := strings.Cut(strings.TrimPrefix(own, "/"), "/"); owner == first {
			owner = hashed(owner) // or the images of this owner would be among the records or the sources
			break
		}
	}
	parts = append(parts, owner, spell(strings.ToLower(repo.Name)))
	if image != "" {
		parts = append(parts, spell(image))
	}
	return strings.Join(parts, "/")
}

// RecordRepository names where the records and histories of a repository are kept, as host/path.
func (r *Registry) RecordRepository(repo v1alpha1.Repository) string {
	return r.ownRepository(r.o.Records, repo)
}

// SourceRepository names where the source artifacts of a repository are kept, as host/path.
func (r *Registry) SourceRepository(repo v1alpha1.Repository) string {
	return r.ownRepository(r.o.Sources, repo)
}

// ownRepository is a repository's part of a place that holds no images. A place with a slash at its beginning is not below the prefix.
func (r *Registry) ownRepository(place string, repo v1alpha1.Repository) string {
	parts := []string{r.o.Host}
	if r.o.Prefix != "" && !strings.HasPrefix(place, "/") {
		parts = append(parts, r.o.Prefix)
	}
	parts = append(parts, strings.Trim(place, "/"), spell(strings.ToLower(repo.Owner)), spell(strings.ToLower(repo.Name)))
	return strings.Join(parts, "/")
}

// historyTag is the tag of a suite's history on a branch. It is longer than a Run's name can be, so that it is never one's.
func historyTag(branch, suite string) string {
	sum := sha256.Sum256([]byte(suite + "\x00" + branch))
	return "history-" + hex.EncodeToString(sum[:])
}

// spell is a name as a component.
func spell(s string) string {
	if component.MatchString(s) && len(s) <= maxComponent {
		return s
	}
	return hashed(s)
}

// hashed is what can be kept of a name, and a hash of it.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	plain := strings.Trim(notAllowed.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(plain) > maxComponent-9 {
		plain = strings.Trim(plain[:maxComponent-9], "-")
	}
	return strings.TrimPrefix(plain+"-"+hex.EncodeToString(sum[:4]), "-")
}
