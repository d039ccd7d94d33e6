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
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// maxEvent bounds a decoded event, in bytes of JSON.
	maxEvent = 128 << 10
	// maxMessage and maxComment bound the two long texts, in bytes.
	maxMessage = 16 << 10
	maxComment = 64 << 10
	// maxName bounds every other text, in bytes; GitHub's names and URLs are far shorter.
	maxName = 2 << 10
)

// payload has the fields of a delivery's body that are read; the rest is skipped.
type payload struct {
	Action       string     `json:"action"`
	Installation *withID    `json:"installation"`
	Repository   repository `json:"repository"`
	Sender       account    `json:"sender"`

	Ref        string  `json:"ref"`
	Before     string  `json:"before"`
	After      string  `json:"after"`
	Created    bool    `json:"created"`
	Deleted    bool    `json:"deleted"`
	Forced     bool    `json:"forced"`
	BaseRef    *string `json:"base_ref"`
	HeadCommit *struct {
		ID      string `json:"id"`
		Message string `json:"message"`
	} `json:"head_commit"`

	Issue *struct {
		Number      int             `json:"number"`
		PullRequest json.RawMessage `json:"pull_request"`
	} `json:"issue"`
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
	if name == "push" {
		e.Push, err = p.push()
	} else {
		e.Comment, err = p.comment()
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
	if p.BaseRef != nil {
		out.BaseRef = *p.BaseRef
	}
	if c := p.HeadCommit; c != nil {
		if !objectPattern.MatchString(c.ID) {
			return nil, errors.New("the push's head commit is not an object name")
		}
		out.HeadSHA, out.HeadMessage = c.ID, text.Head(c.Message, maxMessage)
	}
	return out, nil
}

func (p *payload) comment() (*v1alpha1.CommentEvent, error) {
	if p.Issue == nil || p.Issue.Number <= 0 || p.Comment == nil || p.Comment.ID <= 0 {
		return nil, errors.New("the delivery lacks a comment on an issue")
	}
	pr := string(p.Issue.PullRequest)
	return &v1alpha1.CommentEvent{
		ID: p.Comment.ID, Issue: p.Issue.Number, PullRequest: pr != "" && pr != "null", Body: wholeLines(p.Comment.Body, maxComment),
	}, nil
}

// wholeLines shortens a text to its first lines. Half a line could be another command than the whole one.
func wholeLines(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:max(0, strings.LastIndexAny(s[:limit], "\r\n"))]
}

// bound keeps an event below maxEvent. It rejects names that GitHub does not allow, and shortens the comment further if it has many
// characters that JSON writes as six bytes.
func bound(e *v1alpha1.Event) error {
	names := []string{
		e.Action, e.Repository.Owner, e.Repository.Name, e.Repository.DefaultBranch, e.Repository.CloneURL, e.Repository.HTMLURL,
		e.Sender.Login, e.Sender.Type,
	}
	if e.Push != nil {
		names = append(names, e.Push.Ref, e.Push.BaseRef)
	}
	for _, n := range names {
		if len(n) > maxName {
			return errors.New("the delivery has a name longer than 2 KiB")
		}
	}
	for {
		data, err := json.Marshal(e)
		if err != nil {
			return errors.New("the delivery cannot be stored")
		}
		if len(data) <= maxEvent {
			return nil
		}
		// All names are bounded, so only the comment can be too long.
		if e.Comment == nil || e.Comment.Body == "" {
			return errors.New("the delivery is too large to be stored")
		}
		e.Comment.Body = wholeLines(e.Comment.Body, len(e.Comment.Body)*3/4)
	}
}
