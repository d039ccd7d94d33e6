package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// minNamed is how many digits of a commit a command has to name.
const minNamed = 12

// NoForks returns the refusal of all code from forks.
func NoForks() *Refusal { return noFork(Subject{}) }

// IsShort reports whether a command names only the beginning of the head: then CheckNamed needs the commits of the pull request.
func IsShort(named, head string) bool {
	return len(named) >= minNamed && len(named) < len(head) && strings.HasPrefix(head, strings.ToLower(named))
}

// CheckNamed returns nil if a command names the head of a fork's pull request, else a *Refusal with the line to paste. Two commits can be made
// to share their first digits, so the beginning of one is enough only if no other of the pull request's commits has it.
func CheckNamed(s Subject, named, head string, commits []string) error {
	named = strings.ToLower(named)
	others := func(sha string) bool { return sha != head && strings.HasPrefix(sha, named) }
	switch {
	case named == head && head != "":
		return nil
	case IsShort(named, head) && slices.Contains(commits, head) && !slices.ContainsFunc(commits, others):
		return nil
	case named == "":
		return unnamed(s, head, "names no commit", "the command has to name the commit that you have read")
	case IsShort(named, head):
		return unnamed(s, head, "names a commit by digits that may be another's too", "these digits may be another commit's too")
	case strings.HasPrefix(head, named):
		return unnamed(s, head, "names fewer than 12 digits of the commit", "the command has to name 12 digits or more of the commit")
	}
	return unnamed(s, head, "names a commit that is not the head", "the commit that the command names is not its head")
}

// unnamed is the refusal of code from a fork whose commit a command does not name. The line has the whole commit: the first digits of a commit
// can be forged.
func unnamed(s Subject, head, reason, answer string) *Refusal {
	return &Refusal{
		Trust:  v1alpha1.TrustFork,
		Reason: fmt.Sprintf("%s's command for the code of a fork %s; the head is %s", s.Actor.Login, reason, head),
		Answer: fmt.Sprintf("This pull request comes from a fork, and %s. Its code runs in your cluster: read what it changes first, above all Dockerfiles, "+
			"compose files, scripts and dependencies. If this commit may run, paste this line:\n\n```\n/conductor test --sha %s\n```", answer, head),
	}
}
