package githubtest

import "maps"

func (s *Server) issue(r *repository, i *issue) object {
	api := s.api("/repos/%s/issues/%d", r.fullName(), i.number)
	kind, state := "issues", "open"
	if i.pull != nil {
		kind = "pull"
	}
	if !i.closed.IsZero() {
		state = "closed"
	}
	web := s.web("/%s/%s/%d", r.fullName(), kind, i.number)
	o := object{
		"id": i.id, "node_id": nodeID("Issue", i.id), "number": i.number, "title": i.title, "body": nullable(i.body),
		"url": api, "repository_url": s.api("/repos/%s", r.fullName()), "labels_url": api + "/labels{/name}",
		"comments_url": api + "/comments", "events_url": api + "/events", "timeline_url": api + "/timeline", "html_url": web,
		"user": s.userOrNull(i.user), "labels": s.labels(r, i), "state": state, "state_reason": nil, "locked": false,
		"active_lock_reason": nil, "assignee": nil, "assignees": []any{}, "milestone": nil, "comments": len(i.comments),
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "closed_at": stamp(i.closed), "closed_by": nil,
		"author_association": s.association(r, i.user), "performed_via_github_app": s.integrationOrNull(i.app),
		"reactions": rollup(api+"/reactions", i.reactions),
	}
	if i.pull != nil {
		o["draft"] = i.pull.draft
		o["pull_request"] = object{
			"url": s.api("/repos/%s/pulls/%d", r.fullName(), i.number), "html_url": web, "diff_url": web + ".diff",
			"patch_url": web + ".patch", "merged_at": stamp(i.pull.merged),
		}
	}
	return o
}

// webhookIssue is an issue as events show it.
func (s *Server) webhookIssue(r *repository, i *issue) object {
	o := s.issue(r, i)
	delete(o, "closed_by")
	return o
}

func (s *Server) labels(r *repository, i *issue) []object {
	labels := []object{}
	for n, name := range i.labels {
		labels = append(labels, object{
			"id": i.id*100 + int64(n), "node_id": nodeID("Label", i.id*100+int64(n)), "name": name, "color": "ededed",
			"default": false, "description": nil, "url": s.api("/repos/%s/labels/%s", r.fullName(), escape(name)),
		})
	}
	return labels
}

func (s *Server) comment(r *repository, i *issue, k *comment) object {
	api := s.api("/repos/%s/issues/comments/%d", r.fullName(), k.id)
	issue := s.issue(r, i)
	return object{
		"id": k.id, "node_id": nodeID("IssueComment", k.id), "url": api, "body": k.body,
		"html_url": issue["html_url"].(string) + "#issuecomment-" + itoa(k.id), "issue_url": issue["url"],
		"user": s.userOrNull(k.user), "created_at": stamp(k.created), "updated_at": stamp(k.updated),
		"author_association": s.association(r, k.user), "performed_via_github_app": s.integrationOrNull(k.app),
		"reactions": rollup(api+"/reactions", k.reactions),
	}
}

// pullBranch is the head or base of a pull request.
func (s *Server) pullBranch(r *repository, ref, sha string) object {
	return object{
		"label": r.owner.login + ":" + ref, "ref": ref, "sha": sha, "user": s.user(r.owner), "repo": s.webhookRepository(r),
	}
}

// simplePull is a pull request as lists show it.
func (s *Server) simplePull(r *repository, i *issue) object {
	api, issueAPI := s.api("/repos/%s/pulls/%d", r.fullName(), i.number), s.api("/repos/%s/issues/%d", r.fullName(), i.number)
	o := s.issue(r, i)
	web, p := o["html_url"].(string), i.pull
	for _, name := range []string{
		"pull_request", "repository_url", "labels_url", "events_url", "timeline_url", "comments", "reactions",
		"performed_via_github_app", "closed_by", "state_reason",
	} {
		delete(o, name)
	}
	statuses := s.api("/repos/%s/statuses/%s", r.fullName(), p.headSHA)
	href := func(url string) object { return object{"href": url} }
	maps.Copy(o, object{
		"id": p.id, "node_id": nodeID("PullRequest", p.id), "url": api, "issue_url": issueAPI,
		"diff_url": web + ".diff", "patch_url": web + ".patch", "commits_url": api + "/commits",
		"comments_url": issueAPI + "/comments", "review_comments_url": api + "/comments",
		"review_comment_url": s.api("/repos/%s/pulls/comments{/number}", r.fullName()), "statuses_url": statuses,
		"head": s.pullBranch(p.head, p.headRef, p.headSHA), "base": s.pullBranch(r, p.baseRef, p.baseSHA),
		"draft": p.draft, "merged_at": stamp(p.merged), "merge_commit_sha": nil, "auto_merge": nil,
		"requested_reviewers": []any{}, "requested_teams": []any{},
		"_links": object{
			"self": href(api), "html": href(web), "issue": href(issueAPI), "comments": href(issueAPI + "/comments"),
			"review_comments": href(api + "/comments"), "review_comment": href(s.api("/repos/%s/pulls/comments{/number}", r.fullName())),
			"commits": href(api + "/commits"), "statuses": href(statuses),
		},
	})
	return o
}

// pull is a pull request in full.
func (s *Server) pull(r *repository, i *issue) object {
	o, p := s.simplePull(r, i), i.pull
	additions, deletions := 0, 0
	changes := r.pullChanges(p)
	for _, c := range changes {
		additions, deletions = additions+c.additions, deletions+c.deletions
	}
	maps.Copy(o, object{
		"merged": !p.merged.IsZero(), "mergeable": nil, "rebaseable": nil, "mergeable_state": "unknown", "merged_by": nil,
		"comments": len(i.comments), "review_comments": 0, "maintainer_can_modify": false, "commits": len(r.pullCommits(p)),
		"additions": additions, "deletions": deletions, "changed_files": len(changes),
	})
	return o
}

func (s *Server) webhookPull(r *repository, i *issue) object { return s.pull(r, i) }

// minimalPull is a pull request as checks and runs refer to it.
func (s *Server) minimalPull(r *repository, i *issue) object {
	end := func(repo *repository, ref, sha string) object {
		return object{"ref": ref, "sha": sha, "repo": object{"id": repo.id, "name": repo.name, "url": s.api("/repos/%s", repo.fullName())}}
	}
	p := i.pull
	return object{
		"id": p.id, "number": i.number, "url": s.api("/repos/%s/pulls/%d", r.fullName(), i.number),
		"head": end(p.head, p.headRef, p.headSHA), "base": end(r, p.baseRef, p.baseSHA),
	}
}

// pullsAt are the open pull requests with this head, from the repository itself: GitHub leaves those from forks out.
func (s *Server) pullsAt(r *repository, sha string) []object {
	pulls := []object{}
	for _, i := range r.issues {
		if i.pull != nil && i.closed.IsZero() && i.pull.headSHA == sha && i.pull.head == r {
			pulls = append(pulls, s.minimalPull(r, i))
		}
	}
	return pulls
}
