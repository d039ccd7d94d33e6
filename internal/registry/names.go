package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// component matches one element of a repository path
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

var notAllowed = regexp.MustCompile(`[^a-z0-9]+`)

// maxComponent limits each of owner, name and image, so that together with a prefix they stay below the 255 characters of a path.
const maxComponent = 64

// Repository returns where a repository's image is pushed, as host/prefix/owner/name/image; without image, the repository's own path.
// Two images never share a name: a name that has to be changed is extended with a hash.
func (r *Registry) Repository(repo v1alpha1.Repository, image string) string {
	return ImageRepository(r.o, repo, image)
}

// ImageRepository is like Repository but does not need a Registry.
func ImageRepository(o Options, repo v1alpha1.Repository, image string) string {
	parts := []string{o.Host}
	if o.Prefix != "" {
		parts = append(parts, o.Prefix)
	}
	// GitHub's names are case-insensitive, an image's are not.
	owner := spell(strings.ToLower(repo.Owner))
	for _, own := range []string{o.Records, o.Sources} {
		if first, _, _ := strings.Cut(strings.TrimPrefix(own, "/"), "/"); owner == first {
			owner = hashed(owner) // keeps the images of this owner apart from the records and sources
			break
		}
	}
	parts = append(parts, owner, spell(strings.ToLower(repo.Name)))
	if image != "" {
		parts = append(parts, spell(image))
	}
	return strings.Join(parts, "/")
}

// RecordRepository returns where a repository's records and histories are stored, as host/path.
func (r *Registry) RecordRepository(repo v1alpha1.Repository) string {
	return r.ownRepository(r.o.Records, repo)
}

// SourceRepository returns where a repository's source artifacts are stored, as host/path.
func (r *Registry) SourceRepository(repo v1alpha1.Repository) string {
	return r.ownRepository(r.o.Sources, repo)
}

// ownRepository returns a repository's path below the place for records or sources. A place with a leading slash is not below the
// prefix.
func (r *Registry) ownRepository(place string, repo v1alpha1.Repository) string {
	parts := []string{r.o.Host}
	if r.o.Prefix != "" && !strings.HasPrefix(place, "/") {
		parts = append(parts, r.o.Prefix)
	}
	parts = append(parts, strings.Trim(place, "/"), spell(strings.ToLower(repo.Owner)), spell(strings.ToLower(repo.Name)))
	return strings.Join(parts, "/")
}

// historyTag returns the tag of a suite's history on a branch. It is longer than the name of a Run can be, so the two never collide.
func historyTag(branch, suite string) string {
	sum := sha256.Sum256([]byte(suite + "\x00" + branch))
	return "history-" + hex.EncodeToString(sum[:])
}

// spell converts a name to a path component.
func spell(s string) string {
	if component.MatchString(s) && len(s) <= maxComponent {
		return s
	}
	return hashed(s)
}

// hashed returns the valid part of a name followed by a hash of the name.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	plain := strings.Trim(notAllowed.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(plain) > maxComponent-9 {
		plain = strings.Trim(plain[:maxComponent-9], "-")
	}
	return strings.TrimPrefix(plain+"-"+hex.EncodeToString(sum[:4]), "-")
}
