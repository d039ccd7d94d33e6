package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"sort"

	"github.com/google/go-github/v62/github"
	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// maxMessage limits the message of a commit or tag, in characters.
	maxMessage = 16 << 10
	// maxPeel is how many nested tags are followed.
	maxPeel = 10
)

// Hints returns texts that may name the issue of a commit: the message of the annotated tag (object is the tag object or the commit
// itself), the branches whose head it is, its own message, and the pull requests that contain it.
func (c *Client) Hints(ctx context.Context, installation int64, repo v1alpha1.Repository, object, sha string) (v1alpha1.CommitHints, error) {
	var h v1alpha1.CommitHints
	s := scope{installation: installation, repo: repo, grant: readHistory}
	g, ctx := errgroup.WithContext(ctx)
	if object != "" && object != sha {
		g.Go(func() error {
			tag, err := c.tag(ctx, s, object)
			h.TagMessage = truncate(tag.GetMessage(), maxMessage, "")
			return err
		})
	}
	g.Go(func() error {
		heads, err := c.headOf(ctx, s, sha)
		for _, b := range heads {
			h.Branches = append(h.Branches, b.GetName())
			h.Protected = h.Protected || b.GetProtected()
		}
		return err
	})
	g.Go(func() error {
		commit, err := c.commit(ctx, s, sha)
		h.Message = truncate(commit.GetMessage(), maxMessage, "")
		return err
	})
	g.Go(func() error {
		var err error
		h.PullRequests, err = c.pullRequestsOf(ctx, s, sha)
		return err
	})
	if err := g.Wait(); err != nil {
		return v1alpha1.CommitHints{}, err
	}
	sort.Strings(h.Branches)
	return h, nil
}

// Protected reports whether a commit is the head of a protected branch.
func (c *Client) Protected(ctx context.Context, installation int64, repo v1alpha1.Repository, sha string) (bool, error) {
	heads, err := c.headOf(ctx, scope{installation: installation, repo: repo, grant: readContents, conditional: true}, sha)
	for _, b := range heads {
		if b.GetProtected() {
			return true, err
		}
	}
	return false, err
}

// Commit returns the commit that an object refers to. The object may be an annotated tag.
func (c *Client) Commit(ctx context.Context, installation int64, repo v1alpha1.Repository, object string) (string, error) {
	s := scope{installation: installation, repo: repo, grant: readContents}
	for range maxPeel {
		tag, err := c.tag(ctx, s, object)
		if err != nil {
			return "", err
		}
		if tag == nil {
			commit, err := c.commit(ctx, s, object)
			return commit.GetSHA(), err
		}
		object = tag.GetObject().GetSHA()
	}
	return "", failure.Terminalf(v1alpha1.ReasonRefused, nil, "Could not find the commit of the tag on %s: more than %d nested tags", repo.FullName(), maxPeel)
}

// Tags returns the tags whose short name begins with prefix, as a map from the full ref to the object. It is called often, so it
// requests only changes from GitHub.
func (c *Client) Tags(ctx context.Context, installation int64, repo v1alpha1.Repository, prefix string) (map[string]string, error) {
	s := scope{installation: installation, repo: repo, grant: readContents, what: "list the tags", conditional: true}
	tags := map[string]string{}
	err := c.pagesFrom(ctx, s, github.ListOptions{}, func(ctx context.Context, gh *github.Client, page github.ListOptions) (*github.Response, error) {
		refs, resp, err := gh.Git.ListMatchingRefs(ctx, repo.Owner, repo.Name, &github.ReferenceListOptions{Ref: "tags/" + prefix, ListOptions: page})
		for _, r := range refs {
			tags[r.GetRef()] = r.GetObject().GetSHA()
		}
		return resp, err
	})
	return tags, err
}

// Head returns what a comment on an issue or pull request should run: the pull request's head, or that of the default branch.
func (c *Client) Head(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int) (v1alpha1.Head, error) {
	s := scope{installation: installation, repo: repo, grant: readHistory, what: fmt.Sprintf("read the pull request #%d", issue), conditional: true}
	var pr *github.PullRequest
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		pr, resp, err = gh.PullRequests.Get(ctx, repo.Owner, repo.Name, issue)
		return resp, err
	})
	if status(err) == http.StatusNotFound {
		return c.defaultHead(ctx, installation, repo)
	}
	if err != nil {
		return v1alpha1.Head{}, err
	}
	h := v1alpha1.Head{Ref: "refs/heads/" + pr.GetHead().GetRef(), SHA: pr.GetHead().GetSHA()}
	// The repository of a deleted fork is nil.
	if from := pr.GetHead().GetRepo(); from == nil || from.GetID() != pr.GetBase().GetRepo().GetID() {
		h.Fork, h.Ref = true, fmt.Sprintf("refs/pull/%d/head", issue)
	}
	return h, nil
}

// PullCommits returns the commits of a pull request, oldest first. GitHub lists at most the first 250
// (https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request).
func (c *Client) PullCommits(ctx context.Context, installation int64, repo v1alpha1.Repository, pull int) ([]string, error) {
	s := scope{installation: installation, repo: repo, grant: readHistory, what: fmt.Sprintf("list the commits of #%d", pull)}
	var shas []string
	err := c.pages(ctx, s, func(ctx context.Context, gh *github.Client, page github.ListOptions) (*github.Response, error) {
		list, resp, err := gh.PullRequests.ListCommits(ctx, repo.Owner, repo.Name, pull, &page)
		for _, commit := range list {
			shas = append(shas, commit.GetSHA())
		}
		return resp, err
	})
	return shas, err
}

func (c *Client) defaultHead(ctx context.Context, installation int64, repo v1alpha1.Repository) (v1alpha1.Head, error) {
	branch := repo.DefaultBranch
	if branch == "" {
		s := scope{installation: installation, repo: repo, grant: readMetadata, what: "read the repository", conditional: true}
		_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
			r, resp, err := gh.Repositories.Get(ctx, repo.Owner, repo.Name)
			branch = r.GetDefaultBranch()
			return resp, err
		})
		if err != nil {
			return v1alpha1.Head{}, err
		}
	}
	h := v1alpha1.Head{Ref: "refs/heads/" + branch}
	s := scope{installation: installation, repo: repo, grant: readContents, what: "read the branch " + branch, conditional: true}
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		ref, resp, err := gh.Git.GetRef(ctx, repo.Owner, repo.Name, "heads/"+branch)
		h.SHA = ref.GetObject().GetSHA()
		return resp, err
	})
	return h, err
}

// tag returns an annotated tag, or nil if the object is something else.
func (c *Client) tag(ctx context.Context, s scope, object string) (*github.Tag, error) {
	s.what = "read the tag " + object
	var tag *github.Tag
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		tag, resp, err = gh.Git.GetTag(ctx, s.repo.Owner, s.repo.Name, object)
		return resp, err
	})
	if status(err) == http.StatusNotFound {
		return nil, nil
	}
	return tag, err
}

func (c *Client) commit(ctx context.Context, s scope, sha string) (*github.Commit, error) {
	s.what = "read the commit " + sha
	var commit *github.Commit
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		commit, resp, err = gh.Git.GetCommit(ctx, s.repo.Owner, s.repo.Name, sha)
		return resp, err
	})
	return commit, err
}

func (c *Client) headOf(ctx context.Context, s scope, sha string) ([]*github.BranchCommit, error) {
	s.what = "list the branches of the commit " + sha
	var heads []*github.BranchCommit
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		var resp *github.Response
		var err error
		heads, resp, err = gh.Repositories.ListBranchesHeadCommit(ctx, s.repo.Owner, s.repo.Name, sha)
		return resp, err
	})
	return heads, err
}

// pullRequestsOf returns the numbers of the pull requests that contain a commit, open ones first.
func (c *Client) pullRequestsOf(ctx context.Context, s scope, sha string) ([]int, error) {
	s.what = "list the pull requests of the commit " + sha
	var open, closed []int
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		list, resp, err := gh.PullRequests.ListPullRequestsWithCommit(ctx, s.repo.Owner, s.repo.Name, sha, nil)
		open, closed = nil, nil
		for _, pr := range list {
			if pr.GetState() == "open" {
				open = append(open, pr.GetNumber())
			} else {
				closed = append(closed, pr.GetNumber())
			}
		}
		return resp, err
	})
	return append(open, closed...), err
}
