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
	// maxName is the longest name of a Run in bytes: namespaces, labels and host names are made from it.
	maxName = 40
	// digits is how many hexadecimal digits of the hash a name has.
	digits = 10
)

// RunName names the Run that an event starts, by what the event means: a push by its repository, ref, object and
// repository.pushed_at, so that a redelivery is the same Run and the same tag pushed again at the same commit is a new
// one; a comment's first command by its repository and id. It is a DNS label of at most 40 bytes.
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

// CommandRunName names the Run that a comment's command starts, by its index. The first one's name is the event's RunName.
func CommandRunName(e v1alpha1.Event, index int) string {
	if index == 0 {
		return RunName(e)
	}
	return name(e.Repository.Name, "comment", strconv.FormatInt(e.Repository.ID, 10), strconv.FormatInt(e.Comment.ID, 10), strconv.Itoa(index))
}

// PollName names the Run of a tag that was found by polling: by the repository (owner/name, or name), the full ref, the
// object it points to, and when that was first seen.
func PollName(repo, ref, object, since string) string {
	return name(repo[strings.LastIndexByte(repo, '/')+1:], "poll", repo, ref, object, since)
}

// name joins a truncated slug and a hash of the parts. Parts do not contain NUL, so different lists never join to the same text.
func name(text string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	s := slug(text)
	if most := maxName - digits - 1; len(s) > most {
		s = strings.TrimRight(s[:most], "-")
	}
	return fmt.Sprintf("%s-%s", s, hex.EncodeToString(sum[:])[:digits])
}

// slug converts a repository's name to a DNS label that begins with a letter, as the name of a Service has to.
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
