package githubtest

import "maps"

// minimalRepository is what all forms of a repository share.
func (s *Server) minimalRepository(r *repository) object {
	api, web := s.api("/repos/%s", r.fullName()), s.web("/%s", r.fullName())
	o := object{
		"id": r.id, "node_id": nodeID("Repository", r.id), "name": r.name, "full_name": r.fullName(),
		"private": r.private, "owner": s.user(r.owner), "html_url": web, "description": nil, "fork": r.parent != nil,
		"url": api,
	}
	for name, path := range map[string]string{
		"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
		"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}",
		"comments_url": "/comments{/number}", "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}",
		"contents_url": "/contents/{+path}", "contributors_url": "/contributors", "deployments_url": "/deployments",
		"downloads_url": "/downloads", "events_url": "/events", "forks_url": "/forks",
		"git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
		"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
		"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}",
		"languages_url": "/languages", "merges_url": "/merges", "milestones_url": "/milestones{/number}",
		"notifications_url": "/notifications{?since,all,participating}", "pulls_url": "/pulls{/number}",
		"releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
		"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams",
		"trees_url": "/git/trees{/sha}",
	} {
		o[name] = api + path
	}
	return o
}

// fullRepository serves as repository, full-repository and, in webhooks, repository-webhooks.
func (s *Server) fullRepository(r *repository) object {
	o := s.minimalRepository(r)
	web, visibility := s.web("/%s", r.fullName()), "public"
	if r.private {
		visibility = "private"
	}
	open := 0
	for _, i := range r.issues {
		if i.closed.IsZero() {
			open++
		}
	}
	maps.Copy(o, object{
		"clone_url": web + ".git", "git_url": web + ".git", "ssh_url": web + ".git", "svn_url": web,
		"mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "size": 1, "topics": []any{},
		"default_branch": r.defaultBranch, "visibility": visibility, "archived": false, "disabled": false,
		"is_template": false, "web_commit_signoff_required": false, "allow_forking": true,
		"has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false, "has_discussions": false,
		"has_downloads": true, "forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0, "watchers_count": 0,
		"open_issues": open, "open_issues_count": open, "network_count": 0, "subscribers_count": 0,
		"created_at": stamp(r.created), "updated_at": stamp(r.pushed), "pushed_at": stamp(r.pushed),
	})
	if r.parent != nil {
		o["parent"], o["source"] = s.fullRepository(r.parent), s.fullRepository(r.parent)
	}
	return o
}

// pushRepository is the repository of a push event, in which two times are seconds since 1970.
func (s *Server) pushRepository(r *repository) object {
	o := s.fullRepository(r)
	delete(o, "parent")
	delete(o, "source")
	maps.Copy(o, object{
		"created_at": r.created.Unix(), "pushed_at": r.pushed.Unix(), "url": s.web("/%s", r.fullName()),
		"master_branch": r.defaultBranch, "stargazers": 0,
	})
	owner := s.user(r.owner)
	owner["name"], owner["email"] = r.owner.login, nullable(r.owner.email)
	o["owner"] = owner
	return o
}

func (s *Server) webhookRepository(r *repository) object {
	o := s.fullRepository(r)
	delete(o, "parent")
	delete(o, "source")
	return o
}

// permissionFlags are the rights of a role as GitHub lists them.
func permissionFlags(role Role) object {
	return object{
		"pull": role.atLeast(RoleRead), "triage": role.atLeast(RoleTriage), "push": role.atLeast(RoleWrite),
		"maintain": role.atLeast(RoleMaintain), "admin": role.atLeast(RoleAdmin),
	}
}
