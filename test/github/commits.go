package githubtest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func commitRoutes() []*route {
	const repo = "/repos/{owner}/{repo}"
	read := on("contents:read")
	return []*route{
		{method: "GET", template: repo + "/commits", access: read, handle: listCommits},
		{method: "GET", template: repo + "/commits/{ref}", access: read, handle: getCommit},
		{method: "GET", template: repo + "/commits/{commit_sha}/branches-where-head", access: read, handle: listBranchesWhereHead},
		{method: "GET", template: repo + "/compare/{basehead}", access: read, handle: compare},
		{method: "GET", template: repo + "/branches", access: read, handle: listBranches},
		{method: "GET", template: repo + "/branches/{branch}", access: read, handle: getBranch},
		{method: "GET", template: repo + "/branches/{branch}/protection", access: on("administration:read"), handle: getProtection},
		{method: "GET", template: repo + "/tags", access: on("metadata:read"), handle: listTags},
	}
}

func parseInt(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // of a number that git or the contract has vouched for
	return n
}

func listCommits(c *call) answer {
	from := c.query.Get("sha")
	if from == "" {
		from = c.repo.defaultBranch
	}
	sha, found := c.repo.commitOf(from)
	if !found {
		return notFound()
	}
	args := []string{sha}
	if path := c.query.Get("path"); path != "" {
		args = append(args, "--", path)
	}
	all, err := c.repo.commits(args...)
	if err != nil {
		return notFound()
	}
	return paginate(c, all, func(k commit) object { return c.Server.commit(c.repo, k) })
}

func getCommit(c *call) answer {
	sha, found := c.repo.commitOf(c.params["ref"])
	if !found {
		return unprocessable("No commit found for SHA: " + c.params["ref"])
	}
	if c.accepts("sha") {
		a := ok(nil)
		a.raw = []byte(sha)
		a.header.Set("Content-Type", "application/vnd.github.raw; charset=utf-8")
		return a
	}
	k, _ := c.repo.commit(sha)
	o := c.Server.commit(c.repo, k)
	changes, err := c.repo.changes("", sha)
	if err != nil {
		return unprocessable(err.Error())
	}
	additions, deletions := 0, 0
	for _, f := range changes {
		additions, deletions = additions+f.additions, deletions+f.deletions
	}
	o["stats"] = object{"additions": additions, "deletions": deletions, "total": additions + deletions}
	o["files"] = each(changes, func(f change) object { return c.diffEntry(c.repo, sha, f) })
	return ok(o)
}

// commit is a commit as the REST API shows it.
func (s *Server) commit(r *repository, k commit) object {
	api := s.api("/repos/%s/commits/%s", r.fullName(), k.sha)
	person := func(p signature) object {
		return object{"name": p.name, "email": p.email, "date": stamp(p.when)}
	}
	return object{
		"sha": k.sha, "node_id": nodeID("Commit:"+k.sha, r.id), "url": api, "comments_url": api + "/comments",
		"html_url": s.web("/%s/commit/%s", r.fullName(), k.sha),
		"author":   s.userOrNull(s.accountByEmail(k.author.email)), "committer": s.userOrNull(s.accountByEmail(k.committer.email)),
		"commit": object{
			"url": s.api("/repos/%s/git/commits/%s", r.fullName(), k.sha), "message": k.message, "comment_count": 0,
			"author": person(k.author), "committer": person(k.committer), "verification": unverified(),
			"tree": object{"sha": k.tree, "url": s.api("/repos/%s/git/trees/%s", r.fullName(), k.tree)},
		},
		"parents": s.parents(r, k, "commits"),
	}
}

func (s *Server) parents(r *repository, k commit, kind string) []object {
	return each(k.parents, func(sha string) object {
		return object{
			"sha": sha, "url": s.api("/repos/%s/%s/%s", r.fullName(), kind, sha), "html_url": s.web("/%s/commit/%s", r.fullName(), sha),
		}
	})
}

// gitCommit is a commit as the git database shows it.
func (s *Server) gitCommit(r *repository, k commit) object {
	o := s.commit(r, k)["commit"].(object)
	delete(o, "comment_count")
	maps.Copy(o, object{
		"sha": k.sha, "node_id": nodeID("Commit:"+k.sha, r.id), "html_url": s.web("/%s/commit/%s", r.fullName(), k.sha),
		"parents": s.parents(r, k, "git/commits"),
	})
	return o
}

// compare answers what lies between two commits, named as base...head.
func compare(c *call) answer {
	baseName, headName, ok2 := strings.Cut(c.params["basehead"], "...")
	base, found := c.repo.commitOf(baseName)
	head, found2 := c.repo.commitOf(headName)
	if !ok2 || !found || !found2 {
		return notFound()
	}
	mergeBase, err := c.repo.git("merge-base", base, head)
	if err != nil {
		return notFound()
	}
	fork := strings.TrimSpace(mergeBase)
	ahead, err1 := c.repo.commits("--reverse", head, "^"+base)
	behind, err2 := c.repo.commits(base, "^"+head)
	files, err3 := c.repo.changes(fork, head)
	if err1 != nil || err2 != nil || err3 != nil {
		return notFound()
	}
	status := "diverged"
	switch {
	case base == head:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	baseCommit, _ := c.repo.commit(base)
	forkCommit, _ := c.repo.commit(fork)
	web := c.web("/%s/compare/%s", c.repo.fullName(), escape(c.params["basehead"]))
	a := paginate(c, ahead, func(k commit) object { return c.Server.commit(c.repo, k) })
	a.body = object{
		"url": c.api("/repos/%s/compare/%s", c.repo.fullName(), escape(c.params["basehead"])), "html_url": web, "permalink_url": web,
		"diff_url": web + ".diff", "patch_url": web + ".patch", "status": status,
		"base_commit": c.Server.commit(c.repo, baseCommit), "merge_base_commit": c.Server.commit(c.repo, forkCommit),
		"ahead_by": len(ahead), "behind_by": len(behind), "total_commits": len(ahead), "commits": a.body,
		"files": each(files, func(f change) object { return c.diffEntry(c.repo, head, f) }),
	}
	return a
}

// branchNames are the short names of branches in order, of those that match.
func (r *repository) branchNames(match func(name, sha string) bool) []string {
	var names []string
	for _, ref := range slices.Sorted(maps.Keys(r.refs)) {
		if name, isBranch := strings.CutPrefix(ref, "refs/heads/"); isBranch && match(name, r.refs[ref]) {
			names = append(names, name)
		}
	}
	return names
}

func (r *repository) protected(branch string) bool { _, found := r.protections[branch]; return found }

func listBranches(c *call) answer {
	names := c.repo.branchNames(func(name, _ string) bool {
		return c.query.Get("protected") == "" || (c.query.Get("protected") == "true") == c.repo.protected(name)
	})
	return paginate(c, names, func(name string) object {
		o := c.shortBranch(name)
		o["protection_url"] = c.api("/repos/%s/branches/%s/protection", c.repo.fullName(), escape(name))
		return o
	})
}

func (c *call) shortBranch(name string) object {
	sha := c.repo.refs["refs/heads/"+name]
	return object{
		"name": name, "protected": c.repo.protected(name),
		"commit": object{"sha": sha, "url": c.api("/repos/%s/commits/%s", c.repo.fullName(), sha)},
	}
}

func listBranchesWhereHead(c *call) answer {
	sha := c.params["commit_sha"]
	if !c.repo.hasCommit(sha) {
		return unprocessable("No commit found for SHA: " + sha)
	}
	names := c.repo.branchNames(func(_, head string) bool { return head == sha })
	return ok(each(names, c.shortBranch))
}

func getBranch(c *call) answer {
	name := c.params["branch"]
	sha := c.repo.refs["refs/heads/"+name]
	if sha == "" {
		return failure(404, "Branch not found")
	}
	k, _ := c.repo.commit(sha)
	o := c.shortBranch(name)
	api := c.api("/repos/%s/branches/%s", c.repo.fullName(), escape(name))
	maps.Copy(o, object{
		"commit": c.Server.commit(c.repo, k), "protection_url": api + "/protection",
		"_links":     object{"self": api, "html": c.web("/%s/tree/%s", c.repo.fullName(), escape(name))},
		"protection": object{"enabled": c.repo.protected(name), "required_status_checks": object{"enforcement_level": "off", "contexts": []any{}, "checks": []any{}}},
	})
	return ok(o)
}

// Protection is a branch's protection: no force push and no deletion, and what else is set.
type Protection struct {
	// RequirePullRequest refuses direct pushes.
	RequirePullRequest bool `json:"requirePullRequest"`
	// EnforceAdmins binds administrators too.
	EnforceAdmins bool `json:"enforceAdmins"`
}

func getProtection(c *call) answer {
	name := c.params["branch"]
	if c.repo.refs["refs/heads/"+name] == "" {
		return failure(404, "Branch not found")
	}
	p, found := c.repo.protections[name]
	if !found {
		return failure(404, "Branch not protected")
	}
	api := c.api("/repos/%s/branches/%s/protection", c.repo.fullName(), escape(name))
	o := object{
		"url": api, "enforce_admins": object{"url": api + "/enforce_admins", "enabled": p.EnforceAdmins},
		"allow_force_pushes": object{"enabled": false}, "allow_deletions": object{"enabled": false},
	}
	if p.RequirePullRequest {
		o["required_pull_request_reviews"] = object{
			"url": api + "/required_pull_request_reviews", "dismiss_stale_reviews": false, "require_code_owner_reviews": false,
			"required_approving_review_count": 1,
		}
	}
	return ok(o)
}

func listTags(c *call) answer {
	var names []string
	for _, ref := range slices.Sorted(maps.Keys(c.repo.refs)) {
		if strings.HasPrefix(ref, "refs/tags/") {
			names = append(names, ref)
		}
	}
	return paginate(c, names, func(ref string) object {
		sha, _ := c.repo.commitOf(c.repo.refs[ref])
		short := strings.TrimPrefix(ref, "refs/tags/")
		return object{
			"name": short, "node_id": nodeID("Ref:"+ref, c.repo.id),
			"commit":      object{"sha": sha, "url": c.api("/repos/%s/commits/%s", c.repo.fullName(), sha)},
			"tarball_url": c.api("/repos/%s/tarball/%s", c.repo.fullName(), escape(ref)),
			"zipball_url": c.api("/repos/%s/zipball/%s", c.repo.fullName(), escape(ref)),
		}
	})
}

// commitTree makes a commit of a tree with parents, by an account, at the server's time.
func (s *Server) commitTree(r *repository, tree, message string, by *account, parents ...string) (string, error) {
	person := gitPerson(by, s.now())
	var b strings.Builder
	b.WriteString("tree " + tree + "\n")
	for _, p := range parents {
		b.WriteString("parent " + p + "\n")
	}
	b.WriteString("author " + person + "\ncommitter " + person + "\n\n" + message)
	sha, err := r.gitInput(strings.NewReader(b.String()), "hash-object", "-t", "commit", "-w", "--stdin")
	return strings.TrimSpace(sha), err
}

// gitPerson is "Name <email> seconds zone".
func gitPerson(a *account, at time.Time) string {
	name := a.name
	if name == "" {
		name = a.login
	}
	return name + " <" + a.email + "> " + itoa(at.Unix()) + " +0000"
}

// makeTag writes an annotated tag's object.
func (s *Server) makeTag(r *repository, name, target, kind, message string, by *account) (string, error) {
	text := "object " + target + "\ntype " + kind + "\ntag " + name + "\ntagger " + gitPerson(by, s.now()) + "\n\n" + message + "\n"
	sha, err := r.gitInput(strings.NewReader(text), "hash-object", "-t", "tag", "-w", "--stdin")
	return strings.TrimSpace(sha), err
}
