package githubapp

import (
	"sort"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// grant is the set of a token's permissions: GitHub's name of each permission, to read or write.
type grant map[string]string

// The permissions of each kind of call, according to GitHub's REST documentation
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps). The App's manifest is their union, which a
// test checks.
var (
	// readContents: tarball, git refs and tags, commits, branches. git fetch needs it too.
	readContents = grant{"contents": "read"}
	// readHistory: also the pull requests of a commit, or one by its number.
	readHistory = grant{"contents": "read", "pull_requests": "read"}
	// writeChecks: check runs.
	writeChecks = grant{"checks": "write"}
	// converse: comments and reactions. GitHub requires the first on an issue and the second on a pull request, and a number may be
	// either.
	converse = grant{"issues": "write", "pull_requests": "write"}
	// readMetadata: users' rights on a repository, and the repositories of an installation.
	readMetadata = grant{"metadata": "read"}
)

// String returns the permissions in a fixed order, such as "contents:read, pull_requests:read".
func (g grant) String() string {
	names := make([]string, 0, len(g))
	for name, level := range g {
		names = append(names, name+":"+level)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// options restricts a token to the grant and to one repository, or to all of the installation's if repo is empty.
func (g grant) options(repo v1alpha1.Repository) *github.InstallationTokenOptions {
	o := &github.InstallationTokenOptions{Permissions: g.permissions()}
	switch {
	case repo.ID != 0:
		o.RepositoryIDs = []int64{repo.ID}
	case repo.Name != "":
		o.Repositories = []string{repo.Name}
	}
	return o
}

func (g grant) permissions() *github.InstallationPermissions {
	level := func(name string) *string {
		if l, ok := g[name]; ok {
			return &l
		}
		return nil
	}
	return &github.InstallationPermissions{
		Metadata: level("metadata"), Contents: level("contents"), Checks: level("checks"),
		Issues: level("issues"), PullRequests: level("pull_requests"),
	}
}

// missing returns the part of the grant that an installation does not have.
func (g grant) missing(has *github.InstallationPermissions) grant {
	got := map[string]string{
		"metadata": has.GetMetadata(), "contents": has.GetContents(), "checks": has.GetChecks(),
		"issues": has.GetIssues(), "pull_requests": has.GetPullRequests(),
	}
	lacks := grant{}
	for name, level := range g {
		if got[name] != level && got[name] != "write" {
			lacks[name] = level
		}
	}
	return lacks
}
