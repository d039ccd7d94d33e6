package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func pullRoutes() []*route {
	const base = "/repos/{owner}/{repo}/pulls"
	read := on("pull_requests:read")
	return []*route{
		{method: "GET", template: base, access: read, handle: listPulls},
		{method: "POST", template: base, access: on("pull_requests:write"), handle: createPull},
		{method: "GET", template: base + "/{pull_number}", access: read, handle: withPull(getPull)},
		{method: "GET", template: base + "/{pull_number}/files", access: read, handle: withPull(listPullFiles)},
		{method: "GET", template: base + "/{pull_number}/commits", access: read, handle: withPull(listPullCommits)},
		{method: "GET", template: "/repos/{owner}/{repo}/commits/{commit_sha}/pulls", access: read, handle: listPullsOfCommit},
	}
}

func withPull(handle func(*call, *issue) answer) func(*call) answer {
	return func(c *call) answer {
		if i := c.repo.issue(int(c.number("pull_number"))); i != nil && i.pull != nil {
			return handle(c, i)
		}
		return notFound()
	}
}

func listPulls(c *call) answer {
	var all []*issue
	state := c.query.Get("state")
	for _, i := range slices.Backward(c.repo.issues) {
		if i.pull == nil {
			continue
		}
		open := i.closed.IsZero()
		wanted := state == "all" || state == "closed" && !open || (state == "" || state == "open") && open
		if wanted && c.selects("base", i.pull.baseRef) && c.selects("head", i.pull.head.owner.login+":"+i.pull.headRef) {
			all = append(all, i)
		}
	}
	return paginate(c, all, func(i *issue) object { return c.simplePull(c.repo, i) })
}

func getPull(c *call, i *issue) answer { return ok(c.pull(c.repo, i)) }

func listPullFiles(c *call, i *issue) answer {
	return paginate(c, c.repo.pullChanges(i.pull), func(k change) object { return c.diffEntry(c.repo, i.pull.headSHA, k) })
}

func listPullCommits(c *call, i *issue) answer {
	return paginate(c, c.repo.pullCommits(i.pull), func(k commit) object { return c.Server.commit(c.repo, k) })
}

// listPullsOfCommit lists the pull requests that hold a commit: those whose head contains it and whose base did not
// when they were opened, and, for a commit of the default branch, merged ones.
func listPullsOfCommit(c *call) answer {
	sha, found := c.repo.commitOf(c.params["commit_sha"])
	if !found {
		return unprocessable("No commit found for SHA: " + c.params["commit_sha"])
	}
	var all []*issue
	for _, i := range c.repo.issues {
		if i.pull != nil && c.repo.isAncestor(sha, i.pull.headSHA) && !c.repo.isAncestor(sha, i.pull.baseSHA) {
			all = append(all, i)
		}
	}
	return paginate(c, all, func(i *issue) object { return c.simplePull(c.repo, i) })
}

func createPull(c *call) answer {
	var ask struct {
		Title string `json:"title"`
		Body  string `json:"body"`
		Head  string `json:"head"`
		Base  string `json:"base"`
		Draft bool   `json:"draft"`
	}
	if err := c.decode(&ask); err != nil {
		return unprocessable(err.Error())
	}
	if ask.Title == "" {
		return invalid("PullRequest", "title", "missing_field", "")
	}
	head, branch := c.repo, ask.Head
	if owner, ref, cross := strings.Cut(ask.Head, ":"); cross {
		head, branch = c.headRepository(owner), ref
	}
	i, err := c.openPull(c.repo, head, branch, ask.Base, ask.Title, ask.Body, ask.Draft, c.principal.actor())
	if err != nil {
		return invalid("PullRequest", "head", "invalid", err.Error())
	}
	a := created(c.pull(c.repo, i))
	a.header.Set("Location", c.api("/repos/%s/pulls/%d", c.repo.fullName(), i.number))
	return a
}

// headRepository is the repository itself or the fork that belongs to an owner.
func (c *call) headRepository(owner string) *repository {
	for _, r := range c.state.repositories {
		if strings.EqualFold(r.owner.login, owner) && (r == c.repo || r.parent == c.repo) {
			return r
		}
	}
	return nil
}

func (s *Server) openPull(r, head *repository, branch, base, title, body string, draft bool, user *account) (*issue, error) {
	if head == nil || head.refs["refs/heads/"+branch] == "" {
		return nil, fmt.Errorf("no branch %s", branch)
	}
	if r.refs["refs/heads/"+base] == "" {
		return nil, fmt.Errorf("no branch %s", base)
	}
	for _, i := range r.issues {
		if p := i.pull; p != nil && i.closed.IsZero() && p.head == head && p.headRef == branch && p.baseRef == base {
			return nil, fmt.Errorf("A pull request already exists for %s:%s.", head.owner.login, branch)
		}
	}
	p := &pull{
		id: s.id(), head: head, headRef: branch, headSHA: head.refs["refs/heads/"+branch],
		baseRef: base, baseSHA: r.refs["refs/heads/"+base], draft: draft,
	}
	r.nextNumber++
	i := &issue{id: s.id(), number: r.nextNumber, title: title, body: body, user: user, created: s.now(), updated: s.now(), pull: p}
	if err := r.fetchPull(i); err != nil {
		return nil, err
	}
	if len(r.pullCommits(p)) == 0 {
		return nil, fmt.Errorf("No commits between %s and %s", base, branch)
	}
	r.issues = append(r.issues, i)
	s.emit(r, "pull_request", "opened", user, object{"number": i.number, "pull_request": s.webhookPull(r, i)})
	return i, nil
}

// fetchPull brings a pull request's head into the base repository as refs/pull/<number>/head, as GitHub does.
func (r *repository) fetchPull(i *issue) error {
	ref := fmt.Sprintf("refs/pull/%d/head", i.number)
	if i.pull.head == r {
		_, err := r.git("update-ref", ref, i.pull.headSHA)
		return err
	}
	_, err := r.git("fetch", "--quiet", "--no-tags", i.pull.head.dir, "+refs/heads/"+i.pull.headRef+":"+ref)
	return err
}

// synchronizePulls moves the pull requests whose head or base is the branch.
func (s *Server) synchronizePulls(head *repository, c refChange, actor *account) {
	for _, r := range s.state.repositories {
		for _, i := range r.issues {
			p := i.pull
			if p == nil || !i.closed.IsZero() || p.head != head || p.headRef != c.short() {
				continue
			}
			before := p.headSHA
			p.headSHA, i.updated = c.after, s.now()
			if err := r.fetchPull(i); err != nil {
				s.violations.add("webhook", "pull_request", err.Error())
			}
			s.emit(r, "pull_request", "synchronize", actor, object{
				"number": i.number, "before": before, "after": c.after, "pull_request": s.webhookPull(r, i),
			})
		}
	}
}

func (r *repository) pullCommits(p *pull) []commit {
	all, err := r.commits("--reverse", p.headSHA, "^"+p.baseSHA)
	if err != nil {
		return nil
	}
	return all
}

// pullChanges compares the head with the point where it left the base.
func (r *repository) pullChanges(p *pull) []change {
	base, err := r.git("merge-base", p.baseSHA, p.headSHA)
	if err != nil {
		return nil
	}
	all, err := r.changes(strings.TrimSpace(base), p.headSHA)
	if err != nil {
		return nil
	}
	return all
}

func (s *Server) diffEntry(r *repository, sha string, k change) object {
	path := escape(k.path)
	o := object{
		"sha": k.sha, "filename": k.path, "status": k.status, "additions": k.additions, "deletions": k.deletions,
		"changes": k.additions + k.deletions, "blob_url": s.web("/%s/blob/%s/%s", r.fullName(), sha, path),
		"raw_url":      s.web("/%s/raw/%s/%s", r.fullName(), sha, path),
		"contents_url": s.api("/repos/%s/contents/%s?ref=%s", r.fullName(), path, sha),
	}
	if k.from != "" {
		o["previous_filename"] = k.from
	}
	return o
}

// mergePull merges by a merge commit, as the button on the page does.
func (s *Server) mergePull(r *repository, i *issue, actor *account) error {
	p := i.pull
	tree, err := r.git("merge-tree", "--write-tree", p.baseSHA, p.headSHA)
	if err != nil {
		return fmt.Errorf("%s: %w", http.StatusText(http.StatusConflict), err)
	}
	message := fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s\n", i.number, p.head.owner.login, p.headRef, i.title)
	base := r.refs["refs/heads/"+p.baseRef]
	sha, err := s.commitTree(r, strings.TrimSpace(tree), message, actor, base, p.headSHA)
	if err != nil {
		return err
	}
	if _, err := r.git("update-ref", "refs/heads/"+p.baseRef, sha, base); err != nil {
		return err
	}
	p.merged, i.closed, i.updated = s.now(), s.now(), s.now()
	s.announce(r, actor)
	s.emit(r, "pull_request", "closed", actor, object{"number": i.number, "pull_request": s.webhookPull(r, i)})
	return nil
}
