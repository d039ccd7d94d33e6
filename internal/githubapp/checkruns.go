package githubapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// maxCheckText is the maximum length of a check run's summary or text, in characters (https://docs.github.com/en/rest/checks/runs).
	// Conductor also applies it to comments.
	maxCheckText  = 65535
	truncatedNote = "\n\n*Truncated: GitHub accepts at most 65,535 characters.*"
	// maxAnnotations is the most annotations per request. Each update adds its annotations to the existing ones
	// (https://docs.github.com/en/rest/checks/runs).
	maxAnnotations = 50
)

// checkRun is the body of both writes of a check run. go-github's type does not have started_at for updates.
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
	Title       string       `json:"title"`
	Summary     string       `json:"summary"`
	Text        string       `json:"text,omitempty"`
	Annotations []annotation `json:"annotations,omitempty"`
}

type annotation struct {
	Path       string `json:"path"`
	StartLine  int    `json:"start_line"`
	EndLine    int    `json:"end_line"`
	Level      string `json:"annotation_level"`
	Message    string `json:"message"`
	Title      string `json:"title,omitempty"`
	RawDetails string `json:"raw_details,omitempty"`
}

// checkRunResponse is GitHub's response to a write of a check run.
type checkRunResponse struct {
	ID     int64 `json:"id"`
	Output struct {
		AnnotationsCount int `json:"annotations_count"`
	} `json:"output"`
}

// newCheckRun converts c to GitHub's form. It sets the conclusion only with status completed: with any other status, a conclusion would
// complete the check run.
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
		out.Output = &checkOutput{Title: c.Title, Summary: truncate(c.Summary, maxCheckText, truncatedNote), Text: truncate(c.Text, maxCheckText, truncatedNote)}
	}
	return out, nil
}

// instant truncates a time to whole seconds, as GitHub requires; nil if it is zero.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// UpsertCheckRun updates or creates a check run and returns its id. If id is 0 or that check run is gone, it first looks for
// check.ExternalID among this App's check runs of the commit. It adds the annotations once the check run is completed; the returned id
// is valid even if that fails.
func (c *Client) UpsertCheckRun(ctx context.Context, installation int64, repo v1alpha1.Repository, id int64, check v1alpha1.CheckRun) (int64, error) {
	body, err := newCheckRun(check)
	if err != nil {
		return 0, err
	}
	s := scope{installation: installation, repo: repo, grant: writeChecks, what: "write the check run", item: check.ExternalID, priority: v1alpha1.WriteProgress}
	if check.Status == "completed" {
		s.priority = v1alpha1.WriteConclusion
	}
	if id != 0 {
		if err := c.updateCheckRun(ctx, s, id, body, check.Annotations); status(err) != http.StatusNotFound {
			return id, err
		}
	}
	if err := c.awaitTurn(s); err != nil {
		return 0, err
	}
	found, err := c.findCheckRun(ctx, s, check)
	if err != nil {
		return 0, err
	}
	if found != 0 && found != id {
		return found, c.updateCheckRun(ctx, s, found, body, check.Annotations)
	}
	body.HeadSHA = check.HeadSHA
	s.once = true
	var made checkRunResponse
	if err = c.request(ctx, s, http.MethodPost, checkRunsPath(repo), body, &made); err != nil {
		return 0, err
	}
	body.HeadSHA = ""
	return made.ID, c.annotate(ctx, s, made, body, check.Annotations)
}

func checkRunsPath(repo v1alpha1.Repository) string {
	return fmt.Sprintf("repos/%s/check-runs", escaped(repo))
}

func (c *Client) updateCheckRun(ctx context.Context, s scope, id int64, body checkRun, annotations []v1alpha1.Annotation) error {
	var now checkRunResponse
	if err := c.request(ctx, s, http.MethodPatch, fmt.Sprintf("%s/%d", checkRunsPath(s.repo), id), body, &now); err != nil {
		return err
	}
	now.ID = id
	return c.annotate(ctx, s, now, body, annotations)
}

// annotate adds the missing annotations to a completed check run. GitHub only appends annotations, so it continues after the number in
// GitHub's response. A batch is never retried within the call, since a lost response may mean that it was added; the next update gets
// the count.
func (c *Client) annotate(ctx context.Context, s scope, have checkRunResponse, body checkRun, annotations []v1alpha1.Annotation) error {
	if body.Status != "completed" || body.Output == nil {
		return nil
	}
	s.once, s.what = true, "annotate the check run"
	output := *body.Output
	body.Output = &output
	for {
		n := have.Output.AnnotationsCount
		if n >= len(annotations) {
			return nil
		}
		output.Annotations = batch(annotations[n:])
		if err := c.request(ctx, s, http.MethodPatch, fmt.Sprintf("%s/%d", checkRunsPath(s.repo), have.ID), body, &have); err != nil {
			return err
		}
		if have.Output.AnnotationsCount <= n {
			return failure.Transientf(v1alpha1.ReasonUnavailable, nil, "GitHub did not store the annotations of a check run of %s", s.repo.FullName())
		}
	}
}

// batch returns the first annotations, up to the limit of one request.
func batch(all []v1alpha1.Annotation) []annotation {
	all = all[:min(len(all), maxAnnotations)]
	list := make([]annotation, 0, len(all))
	for _, a := range all {
		list = append(list, annotation{
			Path: a.Path, StartLine: a.StartLine, EndLine: a.EndLine, Level: a.Level, Message: a.Message, Title: a.Title, RawDetails: a.RawDetails,
		})
	}
	return list
}

// findCheckRun returns the newest check run of this App with the external id, or 0.
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
			// Do not rely on the filters alone: another App's check run must not be changed.
			if r.GetApp().GetID() == c.appID && r.GetExternalID() == check.ExternalID {
				found = max(found, r.GetID())
			}
		}
		return resp, nil
	})
	return found, err
}

// request sends a body of this package's types and decodes the response into out.
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
