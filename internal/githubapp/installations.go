package githubapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Permission returns a user's right on the repository; "none" if the user has none or does not exist.
func (c *Client) Permission(ctx context.Context, installation int64, repo v1alpha1.Repository, login string) (v1alpha1.Permission, error) {
	s := scope{installation: installation, repo: repo, grant: readMetadata, what: "read the rights of " + login, conditional: true}
	// go-github's type does not have role_name, and permission does not distinguish triage and maintain.
	var got struct {
		Permission string `json:"permission"`
		RoleName   string `json:"role_name"`
	}
	err := c.request(ctx, s, http.MethodGet, fmt.Sprintf("repos/%s/collaborators/%s/permission", escaped(repo), url.PathEscape(login)), nil, &got)
	if status(err) == http.StatusNotFound {
		return "none", nil
	}
	if err != nil {
		return "none", err
	}
	switch got.RoleName {
	case "read", "triage", "write", "maintain", "admin", "none":
		return v1alpha1.Permission(got.RoleName), nil
	}
	// A custom role of an organization; permission is the standard role that it is based on.
	switch got.Permission {
	case "read", "write", "admin":
		return v1alpha1.Permission(got.Permission), nil
	}
	return "none", nil
}

// Repositories calls each for every repository that the App is installed on and that accepts pushes. An installation that cannot be
// read does not prevent the others from being read. An error of each ends Repositories.
func (c *Client) Repositories(ctx context.Context, each func(installation int64, repo v1alpha1.Repository) error) error {
	var installations []int64
	err := c.pages(ctx, c.asApp("list the installations"), func(ctx context.Context, gh *github.Client, page github.ListOptions) (*github.Response, error) {
		list, resp, err := gh.Apps.ListInstallations(ctx, &page)
		for _, i := range list {
			if i.SuspendedAt == nil {
				installations = append(installations, i.GetID())
			}
		}
		return resp, err
	})
	if err != nil {
		return err
	}
	var unread []error
	for _, id := range installations {
		repos, err := c.repositoriesOf(ctx, id)
		if err != nil {
			unread = append(unread, err)
		}
		for _, r := range repos {
			if err := each(id, r); err != nil {
				return err
			}
		}
	}
	return errors.Join(unread...)
}

func (c *Client) repositoriesOf(ctx context.Context, installation int64) ([]v1alpha1.Repository, error) {
	var repos []v1alpha1.Repository
	s := scope{installation: installation, grant: readMetadata, what: "list the repositories of an installation", conditional: true}
	err := c.pages(ctx, s, func(ctx context.Context, gh *github.Client, page github.ListOptions) (*github.Response, error) {
		list, resp, err := gh.Apps.ListRepos(ctx, &page)
		if err != nil {
			return resp, err
		}
		for _, r := range list.Repositories {
			if r.GetArchived() || r.GetDisabled() {
				continue
			}
			repos = append(repos, v1alpha1.Repository{
				ID: r.GetID(), Owner: r.GetOwner().GetLogin(), Name: r.GetName(), DefaultBranch: r.GetDefaultBranch(),
				Private: r.GetPrivate(), CloneURL: r.GetCloneURL(), HTMLURL: r.GetHTMLURL(),
			})
		}
		return resp, nil
	})
	return repos, err
}
