package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// longestBody is how many characters the body of an issue or comment may have.
const longestBody = 65536

func issueRoutes() []*route {
	const base = "/repos/{owner}/{repo}/issues"
	read, write := on("issues:read"), on("issues:write")
	readComments, writeComments := on("issues:read|pull_requests:read"), on("issues:write|pull_requests:write")
	return []*route{
		{method: "GET", template: base, access: read, handle: listIssues},
		{method: "POST", template: base, access: write, handle: createIssue},
		{method: "GET", template: base + "/{issue_number}", access: read, handle: withIssue(getIssue)},
		{method: "PATCH", template: base + "/{issue_number}", access: writeComments, handle: withIssue(updateIssue)},
		{method: "GET", template: base + "/{issue_number}/comments", access: readComments, handle: withIssue(listComments)},
		{method: "POST", template: base + "/{issue_number}/comments", access: writeComments, handle: withIssue(createComment)},
		{method: "GET", template: base + "/comments", access: readComments, handle: listAllComments},
		{method: "GET", template: base + "/comments/{comment_id}", access: readComments, handle: withComment(getComment)},
		{method: "PATCH", template: base + "/comments/{comment_id}", access: writeComments, handle: withComment(updateComment)},
		{method: "DELETE", template: base + "/comments/{comment_id}", access: writeComments, handle: withComment(deleteComment)},
		{method: "GET", template: base + "/{issue_number}/reactions", access: read, handle: withIssue(listIssueReactions)},
		{method: "POST", template: base + "/{issue_number}/reactions", access: write, handle: withIssue(reactToIssue)},
		{method: "DELETE", template: base + "/{issue_number}/reactions/{reaction_id}", access: write, handle: withIssue(unreactToIssue)},
		{method: "GET", template: base + "/comments/{comment_id}/reactions", access: read, handle: withComment(listCommentReactions)},
		{method: "POST", template: base + "/comments/{comment_id}/reactions", access: write, handle: withComment(reactToComment)},
		{method: "DELETE", template: base + "/comments/{comment_id}/reactions/{reaction_id}", access: write, handle: withComment(unreactToComment)},
	}
}

func withIssue(handle func(*call, *issue) answer) func(*call) answer {
	return func(c *call) answer {
		if i := c.repo.issue(int(c.number("issue_number"))); i != nil {
			return handle(c, i)
		}
		return notFound()
	}
}

func withComment(handle func(*call, *issue, *comment) answer) func(*call) answer {
	return func(c *call) answer {
		if i, k := c.repo.comment(c.number("comment_id")); k != nil {
			return handle(c, i, k)
		}
		return notFound()
	}
}

// listIssues lists issues and pull requests, newest first.
func listIssues(c *call) answer {
	var all []*issue
	state := c.query.Get("state")
	for _, i := range slices.Backward(c.repo.issues) {
		open := i.closed.IsZero()
		if state == "all" || state == "closed" && !open || (state == "" || state == "open") && open {
			all = append(all, i)
		}
	}
	return paginate(c, all, func(i *issue) object { return c.issue(c.repo, i) })
}

func createIssue(c *call) answer {
	var ask struct {
		Title  any    `json:"title"`
		Body   string `json:"body"`
		Labels []any  `json:"labels"`
	}
	if err := c.decode(&ask); err != nil {
		return unprocessable(err.Error())
	}
	title, _ := ask.Title.(string)
	if title == "" {
		return invalid("Issue", "title", "missing_field", "")
	}
	if utf8.RuneCountInString(ask.Body) > longestBody {
		return bodyTooLong("Issue")
	}
	var labels []string
	for _, l := range ask.Labels {
		if name, ok := l.(string); ok {
			labels = append(labels, name)
		}
	}
	i := c.newIssue(c.repo, c.principal.actor(), c.principal.app, title, ask.Body, labels)
	return created(c.issue(c.repo, i))
}

func bodyTooLong(resource string) answer {
	return invalid(resource, "body", "custom", "body is too long (maximum is 65536 characters)")
}

func (s *Server) newIssue(r *repository, user *account, by *app, title, body string, labels []string) *issue {
	r.nextNumber++
	i := &issue{
		id: s.id(), number: r.nextNumber, title: title, body: body, user: user, app: by, labels: labels,
		created: s.now(), updated: s.now(),
	}
	r.issues = append(r.issues, i)
	s.emitIssue(r, i, "opened", user)
	return i
}

func (s *Server) emitIssue(r *repository, i *issue, action string, actor *account) {
	s.emit(r, "issues", action, actor, object{"issue": s.webhookIssue(r, i)})
}

func getIssue(c *call, i *issue) answer { return ok(c.issue(c.repo, i)) }

func updateIssue(c *call, i *issue) answer {
	var ask struct {
		Title  any     `json:"title"`
		Body   *string `json:"body"`
		State  string  `json:"state"`
		Labels []any   `json:"labels"`
	}
	if err := c.decode(&ask); err != nil {
		return unprocessable(err.Error())
	}
	if title, ok := ask.Title.(string); ok {
		i.title = title
	}
	if ask.Body != nil && utf8.RuneCountInString(*ask.Body) > longestBody {
		return bodyTooLong("Issue")
	}
	set(&i.body, ask.Body)
	i.updated = c.now
	if ask.State != "" {
		c.setIssueState(c.repo, i, ask.State == "open", c.principal.actor())
	}
	return ok(c.issue(c.repo, i))
}

func (s *Server) setIssueState(r *repository, i *issue, open bool, actor *account) {
	switch {
	case open && !i.closed.IsZero():
		i.closed = time.Time{}
		s.emitIssueOrPull(r, i, "reopened", actor)
	case !open && i.closed.IsZero():
		i.closed = s.now()
		s.emitIssueOrPull(r, i, "closed", actor)
	}
}

func (s *Server) emitIssueOrPull(r *repository, i *issue, action string, actor *account) {
	if i.pull != nil {
		if action == "closed" {
			s.emit(r, "pull_request", action, actor, object{"number": i.number, "pull_request": s.webhookPull(r, i)})
		}
		return
	}
	s.emitIssue(r, i, action, actor)
}

func listComments(c *call, i *issue) answer {
	var all []*comment
	since, err := time.Parse(time.RFC3339, c.query.Get("since"))
	for _, k := range i.comments {
		if err != nil || !k.updated.Before(since) {
			all = append(all, k)
		}
	}
	return paginate(c, all, func(k *comment) object { return c.comment(c.repo, i, k) })
}

func listAllComments(c *call) answer {
	type pair struct {
		i *issue
		k *comment
	}
	var all []pair
	for _, i := range c.repo.issues {
		for _, k := range i.comments {
			all = append(all, pair{i, k})
		}
	}
	slices.SortFunc(all, func(a, b pair) int { return int(a.k.id - b.k.id) })
	if c.query.Get("direction") == "desc" {
		slices.Reverse(all)
	}
	return paginate(c, all, func(p pair) object { return c.comment(c.repo, p.i, p.k) })
}

func (c *call) commentBody() (string, *answer) {
	var ask struct {
		Body string `json:"body"`
	}
	if err := c.decode(&ask); err != nil {
		a := unprocessable(err.Error())
		return "", &a
	}
	if strings.TrimSpace(ask.Body) == "" {
		a := invalid("IssueComment", "body", "missing_field", "")
		return "", &a
	}
	if utf8.RuneCountInString(ask.Body) > longestBody {
		a := bodyTooLong("IssueComment")
		return "", &a
	}
	return ask.Body, nil
}

func createComment(c *call, i *issue) answer {
	body, refusal := c.commentBody()
	if refusal != nil {
		return *refusal
	}
	return created(c.comment(c.repo, i, c.newComment(c.repo, i, c.principal.actor(), c.principal.app, body)))
}

func (s *Server) newComment(r *repository, i *issue, user *account, by *app, body string) *comment {
	k := &comment{id: s.id(), body: body, user: user, app: by, created: s.now(), updated: s.now()}
	i.comments = append(i.comments, k)
	i.updated = s.now()
	s.emitComment(r, i, k, "created", user, nil)
	return k
}

func (s *Server) emitComment(r *repository, i *issue, k *comment, action string, actor *account, extra object) {
	payload := object{"issue": s.webhookIssue(r, i), "comment": s.comment(r, i, k)}
	for key, value := range extra {
		payload[key] = value
	}
	s.emit(r, "issue_comment", action, actor, payload)
}

func getComment(c *call, i *issue, k *comment) answer { return ok(c.comment(c.repo, i, k)) }

// mayEdit reports whether the caller may change a comment: its author, or who may write.
func (c *call) mayEdit(k *comment) bool {
	return c.principal.user == nil || c.principal.user == k.user || c.role(c.repo, c.principal.user).atLeast(RoleWrite)
}

func updateComment(c *call, i *issue, k *comment) answer {
	if !c.mayEdit(k) {
		return failure(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	body, refusal := c.commentBody()
	if refusal != nil {
		return *refusal
	}
	c.editComment(c.repo, i, k, c.principal.actor(), body)
	return ok(c.comment(c.repo, i, k))
}

func (s *Server) editComment(r *repository, i *issue, k *comment, actor *account, body string) {
	old := k.body
	k.body, k.updated = body, s.now()
	s.emitComment(r, i, k, "edited", actor, object{"changes": object{"body": object{"from": old}}})
}

func deleteComment(c *call, i *issue, k *comment) answer {
	if !c.mayEdit(k) {
		return failure(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	c.removeComment(c.repo, i, k, c.principal.actor())
	return noContent()
}

func (s *Server) removeComment(r *repository, i *issue, k *comment, actor *account) {
	i.comments = slices.DeleteFunc(i.comments, func(other *comment) bool { return other == k })
	s.emitComment(r, i, k, "deleted", actor, nil)
}
