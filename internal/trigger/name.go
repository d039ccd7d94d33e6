package trigger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const (
	// maxName is the longest name of a Run in bytes: namespaces, labels and host names are made of it.
	maxName = 40
	// digits is how many hexadecimal digits of the hash a name holds.
	digits = 10
)

// RunName names the Run that an event starts, by what the event means: a push by its repository, ref, object and
// repository.pushed_at, so that a redelivery is the same Run and the same tag pushed again at the same commit is a new
// one; a comment by its repository and id. It is a DNS label of at most 40 bytes.
func RunName(e v1alpha1.Event) string {
	id := strconv.FormatInt(e.Repository.ID, 10)
	switch {
	case e.Push != nil:
		return name(e.Repository.Name, "push", id, e.Push.Ref, e.Push.After, strconv.FormatInt(e.Push.PushedAt, 10))
	case e.Comment != nil:
		return name(e.Repository.Name, "comment", id, strconv.FormatInt(e.Comment.ID, 10))
	}
	return name(e.Repository.Name, "event", id, e.Name, e.Action)
}

// PollName names the Run of a tag that was found by comparing refs, because its push made no event: by the repository
// (owner/name, or name), the full ref, the object it points to and the one it pointed to when last seen.
func PollName(repo, ref, object, before string) string {
	return name(repo[strings.LastIndexByte(repo, '/')+1:], "poll", repo, ref, object, before)
}

// name is a slug, cut, and a hash of the parts. A part holds no NUL, so two lists of parts never hash alike by joining.
func name(text string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	s := slug(text)
	if most := maxName - digits - 1; len(s) > most {
		s = strings.TrimRight(s[:most], "-")
	}
	return fmt.Sprintf("%s-%s", s, hex.EncodeToString(sum[:])[:digits])
}

// slug writes a repository's name in the letters of a DNS label, beginning with a letter as a Service's name has to.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	s := strings.TrimRight(b.String(), "-")
	if s == "" || s[0] <= '9' {
		s = strings.TrimRight("run-"+s, "-")
	}
	return s
}
