package githubapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const (
	// maxCheckText is the most characters of a check run's summary or text
	// (https://docs.github.com/en/rest/checks/runs), and what Conductor puts into a comment.
	maxCheckText = 65535
	cutNote      = "\n\n*Cut here: GitHub takes no more than 65,535 characters.*"
)

// checkRun is the body of both writes of a check run. go-github's own lacks started_at in an update.
type checkRun struct {
	Name        string       `json:"name"`
	HeadSHA     string       `json:"head_sha,omitempty"`
	ExternalID  string       `json:"external_id,omitempty"`
	DetailsURL  string       `json:"details_url,omitempty"`
	Status      string       `json:"status"`
	Conclusion  string       `json:"conclusion,omitempty"`
	StartedAt   *time.Time   `json:"started_at,omitempty"`
	CompletedAt *time.Time   `json:"completed_at,omitempty"`
	Output      *checkOutput `json:"output,omitempty"`
}

type checkOutput struct {
	Title   string `json:"title"`
	Summary string `json:"summary"`
	Text    string `json:"text,omitempty"`
}

// newCheckRun is c in GitHub's form. A conclusion belongs to a completed check run and to no other: given with
// another status, GitHub would complete it.
func newCheckRun(c v1alpha1.CheckRun) (checkRun, error) {
	out := checkRun{
		Name: c.Name, ExternalID: c.ExternalID, DetailsURL: c.DetailsURL, Status: c.Status, StartedAt: instant(c.StartedAt),
	}
	if c.Status == "completed" {
		if c.Conclusion == "" {
			return out, errors.New("a completed check run needs a conclusion")
		}
		out.Conclusion, out.CompletedAt = c.Conclusion, instant(c.CompletedAt)
	}
	if c.Title != "" || c.Summary != "" || c.Text != "" {
		out.Output = &checkOutput{c.Title, cut(c.Summary, maxCheckText, cutNote), cut(c.Text, maxCheckText, cutNote)}
	}
	return out, nil
}

// instant is a time for GitHub, which wants whole seconds; nil when unknown.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// UpsertCheckRun brings a check run to what check says and returns its id. With id 0, or when that one is gone, it
// looks for check.ExternalID among this App's check runs of the commit before it creates one.
func (c *Client) UpsertCheckRun(ctx context.Context, installation int64, repo v1alpha1.Repository, id int64, check v1alpha1.CheckRun) (int64, error) {
	body, err := newCheckRun(check)
	if err != nil {
		return 0, err
	}
	s := scope{installation: installation, repo: repo, grant: writeChecks, what: "write the check run"}
	path := fmt.Sprintf("repos/%s/check-runs", escaped(repo))
	update := func(id int64) error {
		return c.request(ctx, s, http.MethodPatch, fmt.Sprintf("%s/%d", path, id), body, nil)
	}
	if id != 0 {
		if err := update(id); status(err) != http.StatusNotFound {
			return id, err
		}
	}
	found, err := c.findCheckRun(ctx, s, check)
	if err != nil {
		return 0, err
	}
	if found != 0 && found != id {
		return found, update(found)
	}
	body.HeadSHA = check.HeadSHA
	s.once = true
	var made struct{ ID int64 }
	err = c.request(ctx, s, http.MethodPost, path, body, &made)
	return made.ID, err
}

// findCheckRun is the newest check run of ours with the external id, or 0.
func (c *Client) findCheckRun(ctx context.Context, s scope, check v1alpha1.CheckRun) (int64, error) {
	if check.ExternalID == "" {
		return 0, nil
	}
	s.what = "list the check runs"
	found := int64(0)
	all := "all"
	err := c.pages(ctx, s, func(ctx context.Context, gh *github.Client, page github.ListOptions) (*github.Response, error) {
		list, resp, err := gh.Checks.ListCheckRunsForRef(ctx, s.repo.Owner, s.repo.Name, check.HeadSHA,
			&github.ListCheckRunsOptions{CheckName: &check.Name, AppID: &c.appID, Filter: &all, ListOptions: page})
		if err != nil {
			return resp, err
		}
		for _, r := range list.CheckRuns {
			// The filters are asked for and checked: what another App made is not ours to change.
			if r.GetApp().GetID() == c.appID && r.GetExternalID() == check.ExternalID {
				found = max(found, r.GetID())
			}
		}
		return resp, nil
	})
	return found, err
}

// request sends a body of this package's own and decodes the answer into out.
func (c *Client) request(ctx context.Context, s scope, method, path string, body, out any) error {
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		req, err := gh.NewRequest(method, path, body)
		if err != nil {
			return nil, err
		}
		return gh.Do(ctx, req, out)
	})
	return err
}
