package trigger

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The places where the number of an issue is found.
const (
	SourceTag           = "tag"
	SourceTagMessage    = "tag message"
	SourceBranch        = "branch"
	SourceCommitMessage = "commit message"
	SourcePullRequest   = "pull request"
)

var (
	// reference is #n where GitHub links it to an issue of the same repository: not in owner/repo#n, a word, a URL's
	// fragment or an HTML entity.
	reference = regexp.MustCompile(`(?:^|[^\w/&#.-])#([1-9][0-9]{0,8})\b`)
	// closing is a reference after one of GitHub's closing keywords:
	// docs.github.com, "Linking a pull request to an issue".
	closing = regexp.MustCompile(`(?i)(?:^|[^\w-])(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#([1-9][0-9]{0,8})\b`)
	// branchNumber is the number in one element of a branch name: 123, 123-login, issue-123, fix-#123.
	branchNumber = regexp.MustCompile(`(?i)^(?:(?:issues?|gh|bug|bugfix|fix|feat|feature|hotfix|task|chore)[-_]?)?#?([1-9][0-9]{0,8})(?:[-_].*)?$`)
	// anywhere is #n anywhere in an element.
	anywhere = regexp.MustCompile(`(?:^|[-_])#([1-9][0-9]{0,8})(?:[-_]|$)`)
)

// versions are first elements of branch names; the numbers after them are versions and dates, not issues.
var versions = []string{"release", "releases", "version", "versions", "dependabot", "renovate", "backport", "gh-readonly-queue"}

// Issue returns the issue that a run belongs to and where its number was found, or 0 and "". It checks in this order:
// the end of the tag's name (run-integration-tests/123), #n in the tag's message, the names of the branches, the commit's
// message, the commit's pull requests. docs/issues.md explains each.
func Issue(ref string, h v1alpha1.CommitHints) (number int, source string) {
	if n := tagNumber(ref); n > 0 {
		return n, SourceTag
	}
	if n := first(h.TagMessage, closing, reference); n > 0 {
		return n, SourceTagMessage
	}
	branches := h.Branches
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		branches = append([]string{b}, branches...)
	}
	for _, b := range branches {
		if n := fromBranch(b); n > 0 {
			return n, SourceBranch
		}
	}
	subject, _, _ := strings.Cut(h.Message, "\n")
	if n := first(h.Message, closing); n > 0 {
		return n, SourceCommitMessage
	}
	if n := first(subject, reference); n > 0 {
		return n, SourceCommitMessage
	}
	for _, n := range h.PullRequests {
		if n > 0 {
			return n, SourcePullRequest
		}
	}
	return 0, ""
}

// tagNumber returns the number after the last slash of a tag.
func tagNumber(ref string) int {
	tag, ok := strings.CutPrefix(ref, tagPrefix)
	at := strings.LastIndexByte(tag, '/')
	if !ok || at < 0 {
		return 0
	}
	return first(tag[at+1:], branchNumber)
}

func fromBranch(branch string) int {
	elements := strings.Split(branch, "/")
	if len(elements) > 1 && slices.Contains(versions, strings.ToLower(elements[0])) {
		return 0
	}
	for _, e := range elements {
		if n := first(e, branchNumber, anywhere); n > 0 {
			return n
		}
	}
	return 0
}

// first returns the number in the first match of the first expression that matches text.
func first(text string, expressions ...*regexp.Regexp) int {
	for _, x := range expressions {
		if m := x.FindStringSubmatch(text); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil {
				return n
			}
		}
	}
	return 0
}
