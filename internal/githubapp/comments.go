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

// comment is an issue comment as far as this package reads it. go-github's own lacks the App.
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

// UpsertComment brings a comment of ours on an issue or pull request to body and returns its id. With id 0, or when
// that one was deleted, it looks for a comment of ours with mark on its first line before it creates one. What follows may
// quote what a test printed, another comment's mark included, and is not searched; nor is what other people wrote.
func (c *Client) UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error) {
	s := scope{installation: installation, repo: repo, grant: converse, what: fmt.Sprintf("comment on #%d", issue)}
	in := map[string]string{"body": fit(body, mark)}
	if id != 0 {
		err := c.updateComment(ctx, s, id, in)
		if status(err) != http.StatusNotFound && status(err) != http.StatusGone {
			return id, err
		}
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

// fit cuts a comment to what GitHub takes. The mark is on its first line, or the comment would not be found again.
func fit(body, mark string) string {
	short := cut(body, maxCheckText, cutNote)
	if !marked(short, mark) {
		short = mark + "\n" + cut(body, maxCheckText-len([]rune(mark))-1, cutNote)
	}
	return short
}

// marked reports whether the first line of a comment, which is never quoted text, holds a mark.
func marked(body, mark string) bool {
	first, _, _ := strings.Cut(body, "\n")
	return strings.Contains(first, mark)
}

// findComment looks for the mark on the first lines of our comments on an issue. GitHub lists them oldest first, so after the first
// page, which tells how many there are, the newest pages are looked at first.
func (c *Client) findComment(ctx context.Context, s scope, issue int, mark string) (*comment, error) {
	if mark == "" {
		return nil, nil
	}
	slug, err := c.appSlug(ctx)
	if err != nil {
		return nil, err
	}
	s.what = fmt.Sprintf("list the comments on #%d", issue)
	look := func(page int) (*comment, int, error) {
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
			if c.ours(list[i], slug) && marked(list[i].Body, mark) {
				return &list[i], resp.LastPage, nil
			}
		}
		return nil, resp.LastPage, nil
	}
	found, last, err := look(1)
	for page := min(last, maxPages); page > 1 && found == nil && err == nil; page-- {
		found, _, err = look(page)
	}
	return found, err
}

// ours reports whether this App wrote a comment. Older GitHub Enterprise Servers do not name the App; its bot's login is
// reserved for it.
func (c *Client) ours(m comment, slug string) bool {
	if m.App != nil {
		return m.App.ID == c.appID
	}
	return m.User.Type == "Bot" && strings.EqualFold(m.User.Login, slug+"[bot]")
}

// React puts a reaction on an issue comment; GitHub answers a second one of the same kind with the first.
func (c *Client) React(ctx context.Context, installation int64, repo v1alpha1.Repository, comment int64, content string) error {
	s := scope{installation: installation, repo: repo, grant: converse, what: "react to the comment"}
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		_, resp, err := gh.Reactions.CreateIssueCommentReaction(ctx, repo.Owner, repo.Name, comment, content)
		return resp, err
	})
	return err
}

// escaped is owner/name as part of a path.
func escaped(r v1alpha1.Repository) string {
	return url.PathEscape(r.Owner) + "/" + url.PathEscape(r.Name)
}
