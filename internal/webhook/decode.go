package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// maxEvent bounds a decoded event, in bytes of JSON. With its metadata, a Delivery has less than 4 KiB.
const maxEvent = 3 << 10

// The limits of names, in bytes. Those of the Delivery's schema are the same.
const (
	maxName   = 100
	maxBranch = 256
	maxURL    = 512
	maxRef    = 512
)

// payload has the fields of a delivery's body that are read; the rest is skipped.
type payload struct {
	Action       string     `json:"action"`
	Installation *withID    `json:"installation"`
	Repository   repository `json:"repository"`
	Sender       account    `json:"sender"`

	Ref        string `json:"ref"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Created    bool   `json:"created"`
	Deleted    bool   `json:"deleted"`
	Forced     bool   `json:"forced"`
	HeadCommit *struct {
		ID string `json:"id"`
	} `json:"head_commit"`

	Issue *struct {
		Number      int             `json:"number"`
		PullRequest json.RawMessage `json:"pull_request"`
	} `json:"issue"`
	PullRequest *struct {
		Number int  `json:"number"`
		Merged bool `json:"merged"`
	} `json:"pull_request"`
	Comment *struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
	} `json:"comment"`
}

type withID struct {
	ID int64 `json:"id"`
}

type account struct {
	Login string `json:"login"`
	Name  string `json:"name"`
	ID    int64  `json:"id"`
	Type  string `json:"type"`
}

type repository struct {
	ID            int64   `json:"id"`
	Name          string  `json:"name"`
	Owner         account `json:"owner"`
	DefaultBranch string  `json:"default_branch"`
	Private       bool    `json:"private"`
	CloneURL      string  `json:"clone_url"`
	HTMLURL       string  `json:"html_url"`
	PushedAt      instant `json:"pushed_at"`
}

// instant is a Unix time in seconds. GitHub writes pushed_at as a number in a push and as RFC 3339 elsewhere.
type instant int64

// UnmarshalJSON implements json.Unmarshaler.
func (t *instant) UnmarshalJSON(data []byte) error {
	value := strings.Trim(string(data), `"`)
	if value == "null" || value == "" {
		return nil
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		*t = instant(n)
		return nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return errors.New("pushed_at is neither seconds nor a date")
	}
	*t = instant(at.Unix())
	return nil
}

// decode reads the event in a body. Its errors are sentences for the answer and never quote the body.
func decode(name string, body []byte) (v1alpha1.Event, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return v1alpha1.Event{}, explain(err)
	}
	e := v1alpha1.Event{
		Name: name, Action: p.Action,
		Repository: v1alpha1.Repository{
			ID: p.Repository.ID, Owner: p.Repository.Owner.Login, Name: p.Repository.Name, Private: p.Repository.Private,
			DefaultBranch: p.Repository.DefaultBranch, CloneURL: p.Repository.CloneURL, HTMLURL: p.Repository.HTMLURL,
		},
		Sender: v1alpha1.Actor{Login: p.Sender.Login, ID: p.Sender.ID, Type: p.Sender.Type},
	}
	if e.Repository.Owner == "" {
		// Older servers send only the name of a push's owner.
		e.Repository.Owner = p.Repository.Owner.Name
	}
	if p.Installation == nil || p.Installation.ID <= 0 {
		return e, errors.New("the delivery lacks an installation: it was not sent for a GitHub App")
	}
	e.InstallationID = p.Installation.ID
	if e.Repository.ID <= 0 || e.Repository.Owner == "" || e.Repository.Name == "" {
		return e, errors.New("the delivery lacks a repository")
	}
	var err error
	switch {
	case name == "push":
		e.Push, err = p.push()
	case name == "issue_comment":
		e.Comment, err = p.comment()
	case p.Action == "closed":
		e.Closed, err = p.closed()
	}
	if err != nil {
		return e, err
	}
	return e, bound(&e)
}

// explain describes what is wrong with a body without quoting it.
func explain(err error) error {
	var field *json.UnmarshalTypeError
	if errors.As(err, &field) {
		return fmt.Errorf("%s has an unexpected type", field.Field)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the body is not JSON (at byte %d)", syntax.Offset)
	}
	return errors.New("the body is not what GitHub sends")
}

var objectPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func (p *payload) push() (*v1alpha1.PushEvent, error) {
	if !strings.HasPrefix(p.Ref, "refs/") {
		return nil, errors.New("the push lacks a ref")
	}
	if !objectPattern.MatchString(p.Before) || !objectPattern.MatchString(p.After) {
		return nil, errors.New("the push's before and after are not object names")
	}
	out := &v1alpha1.PushEvent{
		Ref: p.Ref, Before: p.Before, After: p.After, Created: p.Created, Deleted: p.Deleted, Forced: p.Forced,
		PushedAt: int64(p.Repository.PushedAt),
	}
	if c := p.HeadCommit; c != nil {
		if !objectPattern.MatchString(c.ID) {
			return nil, errors.New("the push's head commit is not an object name")
		}
		out.HeadSHA = c.ID
	}
	return out, nil
}

func (p *payload) comment() (*v1alpha1.CommentEvent, error) {
	if p.Issue == nil || p.Issue.Number <= 0 || p.Comment == nil || p.Comment.ID <= 0 {
		return nil, errors.New("the delivery lacks a comment on an issue")
	}
	pr := string(p.Issue.PullRequest)
	out := &v1alpha1.CommentEvent{ID: p.Comment.ID, Issue: p.Issue.Number, PullRequest: pr != "" && pr != "null"}
	out.Commands, out.More = trigger.Parse(p.Comment.Body)
	return out, nil
}

func (p *payload) closed() (*v1alpha1.ClosedEvent, error) {
	switch {
	case p.PullRequest != nil && p.PullRequest.Number > 0:
		return &v1alpha1.ClosedEvent{Issue: p.PullRequest.Number, Merged: p.PullRequest.Merged}, nil
	case p.Issue != nil && p.Issue.Number > 0:
		return &v1alpha1.ClosedEvent{Issue: p.Issue.Number}, nil
	}
	return nil, errors.New("the delivery lacks an issue or a pull request")
}

// bound keeps an event below maxEvent. It rejects names that GitHub does not allow. Commands that do not fit become a problem, the
// longest first.
func bound(e *v1alpha1.Event) error {
	type name struct {
		value string
		limit int
	}
	names := []name{
		{e.Action, maxName}, {e.Repository.Owner, maxName}, {e.Repository.Name, maxName}, {e.Repository.DefaultBranch, maxBranch},
		{e.Repository.CloneURL, maxURL}, {e.Repository.HTMLURL, maxURL}, {e.Sender.Login, maxName}, {e.Sender.Type, 32},
	}
	if e.Push != nil {
		names = append(names, name{e.Push.Ref, maxRef})
	}
	for _, n := range names {
		if len(n.value) > n.limit {
			return fmt.Errorf("the delivery has a name of %d bytes where GitHub allows at most %d", len(n.value), n.limit)
		}
	}
	for size(e) > maxEvent {
		longest := longestCommand(e.Comment)
		if longest == nil {
			return errors.New("the delivery is too large to be stored")
		}
		*longest = trigger.TooLong(*longest)
	}
	return nil
}

// longestCommand returns the valid command that takes the most bytes; nil if there is none.
func longestCommand(c *v1alpha1.CommentEvent) *v1alpha1.Command {
	if c == nil {
		return nil
	}
	var longest *v1alpha1.Command
	for i := range c.Commands {
		if one := &c.Commands[i]; one.Problem == "" && (longest == nil || size(one) > size(longest)) {
			longest = one
		}
	}
	return longest
}

// size returns the length of a value in JSON.
func size(v any) int {
	data, err := json.Marshal(v)
	if err != nil {
		return maxEvent + 1
	}
	return len(data)
}
