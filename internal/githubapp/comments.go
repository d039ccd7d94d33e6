package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// comment holds the needed fields of an issue comment. go-github's type does not have the App.
type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"`
	App *struct {
		ID int64 `json:"id"`
	} `json:"performed_via_github_app"`
}

// UpsertComment updates or creates a comment of this App on an issue or pull request and returns its id. If id is 0 or that comment was
// deleted, it first looks for a comment of this App with mark on its first line. It searches neither the other lines, which may quote
// test output with another mark, nor comments of other authors.
func (c *Client) UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error) {
	s := scope{installation: installation, repo: repo, grant: converse, what: fmt.Sprintf("comment on #%d", issue), item: mark, priority: v1alpha1.WriteResult}
	if v1alpha1.IsProgress(ctx) {
		s.priority = v1alpha1.WriteProgress
	}
	in := map[string]string{"body": fit(body, mark)}
	if id != 0 {
		err := c.updateComment(ctx, s, id, in)
		if status(err) != http.StatusNotFound && status(err) != http.StatusGone {
			return id, err
		}
	}
	if err := c.awaitTurn(s); err != nil {
		return 0, err
	}
	found, err := c.findComment(ctx, s, issue, mark)
	if err != nil {
		return 0, err
	}
	if found != nil && found.ID != id {
		if found.Body == in["body"] {
			return found.ID, nil
		}
		return found.ID, c.updateComment(ctx, s, found.ID, in)
	}
	s.once = true
	var made comment
	err = c.request(ctx, s, http.MethodPost, fmt.Sprintf("repos/%s/issues/%d/comments", escaped(repo), issue), in, &made)
	return made.ID, err
}

func (c *Client) updateComment(ctx context.Context, s scope, id int64, in map[string]string) error {
	return c.request(ctx, s, http.MethodPatch, fmt.Sprintf("repos/%s/issues/comments/%d", escaped(s.repo), id), in, nil)
}

// fit truncates a comment to GitHub's limit. It ensures that the mark is on the first line, so that the comment can be found again.
func fit(body, mark string) string {
	short := truncate(body, maxCheckText, truncatedNote)
	if !isMarked(short, mark) {
		short = mark + "\n" + truncate(body, maxCheckText-len([]rune(mark))-1, truncatedNote)
	}
	return short
}

// isMarked reports whether the first line of a comment, which never contains quoted text, contains the mark.
func isMarked(body, mark string) bool {
	first, _, _ := strings.Cut(body, "\n")
	return strings.Contains(first, mark)
}

// findComment finds the App's comment with the mark on an issue. GitHub lists comments oldest first. findComment reads the first page,
// which includes the number of pages, and then continues from the newest page.
func (c *Client) findComment(ctx context.Context, s scope, issue int, mark string) (*comment, error) {
	if mark == "" {
		return nil, nil
	}
	slug, err := c.appSlug(ctx)
	if err != nil {
		return nil, err
	}
	s.what = fmt.Sprintf("list the comments on #%d", issue)
	search := func(page int) (*comment, int, error) {
		var list []comment
		resp, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
			list = nil
			req, err := gh.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/issues/%d/comments?per_page=%d&page=%d", escaped(s.repo), issue, perPage, page), nil)
			if err != nil {
				return nil, err
			}
			return gh.Do(ctx, req, &list)
		})
		if err != nil {
			return nil, 0, err
		}
		for i := range list {
			if c.isOurs(list[i], slug) && isMarked(list[i].Body, mark) {
				return &list[i], resp.LastPage, nil
			}
		}
		return nil, resp.LastPage, nil
	}
	found, last, err := search(1)
	for page := min(last, maxPages); page > 1 && found == nil && err == nil; page-- {
		found, _, err = search(page)
	}
	return found, err
}

// isOurs reports whether this App wrote a comment. Older GitHub Enterprise Servers do not name the App; the login of its bot is
// reserved for it.
func (c *Client) isOurs(m comment, slug string) bool {
	if m.App != nil {
		return m.App.ID == c.appID
	}
	return m.User.Type == "Bot" && strings.EqualFold(m.User.Login, slug+"[bot]")
}

// eyes is the reaction that only shows that a comment was read.
const eyes = "eyes"

// React adds a reaction to an issue comment. It is idempotent: GitHub returns an existing reaction.
func (c *Client) React(ctx context.Context, installation int64, repo v1alpha1.Repository, comment int64, content string) error {
	s := scope{installation: installation, repo: repo, grant: converse, what: "react to the comment", priority: v1alpha1.WriteReaction}
	if content != eyes { // A result.
		s.priority = v1alpha1.WriteProgress
	}
	s.item = fmt.Sprintf("%s %d", content, comment)
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		_, resp, err := gh.Reactions.CreateIssueCommentReaction(ctx, repo.Owner, repo.Name, comment, content)
		return resp, err
	})
	return err
}

// escaped returns owner/name for use in a URL path.
func escaped(r v1alpha1.Repository) string {
	return url.PathEscape(r.Owner) + "/" + url.PathEscape(r.Name)
}
