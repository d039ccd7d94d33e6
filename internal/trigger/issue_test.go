package trigger

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func TestIssue(t *testing.T) {
	const tag = "refs/tags/run-integration-tests"
	all := v1alpha1.CommitHints{TagMessage: "for #2", Branches: []string{"3-x"}, Message: "Fix it (#4)", PullRequests: []int{5}}
	for _, tc := range []struct {
		name  string
		ref   string
		hints v1alpha1.CommitHints
		want  int
		from  string
	}{
		{"the tag first", tag + "/1", all, 1, SourceTag},
		{"then its message", tag, all, 2, SourceTagMessage},
		{"then a branch", tag, v1alpha1.CommitHints{Branches: all.Branches, Message: all.Message, PullRequests: all.PullRequests}, 3, SourceBranch},
		{"then the commit", tag, v1alpha1.CommitHints{Message: all.Message, PullRequests: all.PullRequests}, 4, SourceCommitMessage},
		{"then the pull request", tag, v1alpha1.CommitHints{PullRequests: []int{5, 6}}, 5, SourcePullRequest},
		{"a pull request without a number", tag, v1alpha1.CommitHints{PullRequests: []int{0, 6}}, 6, SourcePullRequest},
		{"a tag that begins with a slash", "refs/tags//8", v1alpha1.CommitHints{}, 8, SourceTag},
		{"then none", tag, v1alpha1.CommitHints{Branches: []string{"main"}, Message: "Tidy up"}, 0, ""},
		{"a tag that names no issue", tag + "/nightly", v1alpha1.CommitHints{}, 0, ""},
		{"a tag in words", tag + "/issue-7", v1alpha1.CommitHints{}, 7, SourceTag},
		{"a number that is none", tag + "/0", v1alpha1.CommitHints{}, 0, ""},
		{"a number too long", tag + "/12345678901", v1alpha1.CommitHints{}, 0, ""},
		{"the pushed branch", "refs/heads/issue-9", v1alpha1.CommitHints{Branches: []string{"10-x"}}, 9, SourceBranch},
		{"a later line closes", tag, v1alpha1.CommitHints{Message: "Merge pull request #45 from x\n\nFixes #12"}, 12, SourceCommitMessage},
		{"a later line mentions", tag, v1alpha1.CommitHints{Message: "Tidy up\n\nSee #12"}, 0, ""},
		{"a tag's later line mentions", tag, v1alpha1.CommitHints{TagMessage: "QA\n\nplease, #12"}, 12, SourceTagMessage},
	} {
		if n, from := Issue(tc.ref, tc.hints); n != tc.want || from != tc.from {
			t.Errorf("%s: %d from %q, want %d from %q", tc.name, n, from, tc.want, tc.from)
		}
	}
}

func TestIssueInBranches(t *testing.T) {
	for branch, want := range map[string]int{
		"123-foo": 123, "123": 123, "issue-123": 123, "issues/123": 123, "feature/123-x": 123, "fix-#123": 123, "GH-123": 123, "ann/issue123": 123,
		"ann/fix-login-#123": 123, "bugfix/123_login": 123, "#123": 123, "copilot/fix-123": 123,
		"main": 0, "release/2": 0, "releases/2026-10": 0, "v1": 0, "1.x": 0, "node-20": 0, "dependabot/npm/20": 0, "feature/oauth2": 0, "a123": 0, "0": 0, "": 0,
	} {
		if n, _ := Issue("", v1alpha1.CommitHints{Branches: []string{branch}}); n != want {
			t.Errorf("branch %q names %d, want %d", branch, n, want)
		}
	}
}

func TestIssueInMessages(t *testing.T) {
	for message, want := range map[string]int{
		"Fix login (#12)": 12, "#12: login": 12, "Closes: #12": 12, "[#12] x": 12, "fixes #7 and #8": 7, "resolved #3.": 3, "a\n#5": 5, "see #9, fix #10": 10,
		"acme/shop#12": 0, "a#12": 0, "https://x.test/#12": 0, "&#12;": 0, "#12a": 0, "#0": 0, "# 12": 0, "##12": 0, "C#12": 0, "color: #123abc": 0, "": 0,
	} {
		if n, _ := Issue("", v1alpha1.CommitHints{TagMessage: message}); n != want {
			t.Errorf("message %q names %d, want %d", message, n, want)
		}
	}
}

// TestIssuesAreDocumented holds docs/issues.md to the order of the code.
func TestIssuesAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/issues.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, source := range []string{SourceTag, SourceTagMessage, SourceBranch, SourceCommitMessage, SourcePullRequest} {
		if want := fmt.Sprintf("\n| %d | %s |", i+1, source); !strings.Contains(string(data), want) {
			t.Errorf("docs/issues.md has no row %q", want)
		}
	}
	for _, v := range versions {
		if !strings.Contains(string(data), "`"+v+"/`") {
			t.Errorf("docs/issues.md does not say that %s/ is left out", v)
		}
	}
}

func FuzzIssue(f *testing.F) {
	f.Add("refs/tags/run-integration-tests/1", "#2", "3-x", "Fix #4", 5)
	f.Fuzz(func(t *testing.T, ref, tag, branch, message string, pull int) {
		n, from := Issue(ref, v1alpha1.CommitHints{TagMessage: tag, Branches: []string{branch}, Message: message, PullRequests: []int{pull}})
		if n < 0 || (n == 0) != (from == "") {
			t.Errorf("%d from %q", n, from)
		}
	})
}
