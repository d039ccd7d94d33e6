package githubtest

import "time"

// user is a simple-user.
func (s *Server) user(a *account) object {
	if a == nil {
		return nil
	}
	api := s.api("/users/%s", a.login)
	return object{
		"login": a.login, "id": a.id, "node_id": nodeID("User", a.id), "type": a.kind, "site_admin": false,
		"avatar_url": s.web("/avatars/%d", a.id), "gravatar_id": "", "url": api, "html_url": s.web("/%s", a.login),
		"followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}",
		"subscriptions_url": api + "/subscriptions", "organizations_url": api + "/orgs", "repos_url": api + "/repos",
		"events_url": api + "/events{/privacy}", "received_events_url": api + "/received_events",
	}
}

// userOrNull is a nullable simple-user: an untyped nil when there is none.
func (s *Server) userOrNull(a *account) any {
	if a == nil {
		return nil
	}
	return s.user(a)
}

// profile is a public-user.
func (s *Server) profile(a *account) object {
	o := s.user(a)
	for key, value := range map[string]any{
		"name": nullable(a.name), "email": nullable(a.email), "bio": nil, "blog": "", "company": nil, "location": nil,
		"hireable": nil, "followers": 0, "following": 0, "public_gists": 0, "public_repos": 0,
		"created_at": stamp(a.created), "updated_at": stamp(a.created),
	} {
		o[key] = value
	}
	return o
}

// organization is an organization-simple.
func (s *Server) organization(a *account) object {
	api := s.api("/orgs/%s", a.login)
	return object{
		"login": a.login, "id": a.id, "node_id": nodeID("Organization", a.id), "url": api,
		"repos_url": api + "/repos", "events_url": api + "/events", "hooks_url": api + "/hooks",
		"issues_url": api + "/issues", "members_url": api + "/members{/member}",
		"public_members_url": api + "/public_members{/member}",
		"avatar_url":         s.web("/avatars/%d", a.id), "description": "",
	}
}

func (s *Server) team(t *team) object {
	api := s.api("/organizations/%d/team/%d", t.org.id, t.id)
	return object{
		"id": t.id, "node_id": nodeID("Team", t.id), "url": api, "members_url": api + "/members{/member}",
		"repositories_url": api + "/repos", "html_url": s.web("/orgs/%s/teams/%s", t.org.login, t.slug),
		"name": t.name, "slug": t.slug, "description": "", "permission": "pull", "privacy": "closed",
		"parent": nil, "type": "organization", "organization_id": t.org.id,
	}
}

// integration is an App as it appears on what it made.
func (s *Server) integration(a *app) object {
	return object{
		"id": a.id, "client_id": a.clientID, "slug": a.slug, "node_id": nodeID("Integration", a.id),
		"owner": s.user(a.owner), "name": a.name, "description": "", "external_url": s.URL,
		"html_url": s.web("/apps/%s", a.slug), "created_at": stamp(a.created), "updated_at": stamp(a.created),
		"permissions": a.permissions, "events": list(a.events),
	}
}

func (s *Server) integrationOrNull(a *app) any {
	if a == nil {
		return nil
	}
	return s.integration(a)
}

func (s *Server) installation(i *installation) object {
	api := s.api("/app/installations/%d", i.id)
	selection := "selected"
	if i.all {
		selection = "all"
	}
	return object{
		"id": i.id, "account": s.user(i.account), "app_id": i.app.id, "app_slug": i.app.slug, "client_id": i.app.clientID,
		"target_id": i.account.id, "target_type": i.account.kind, "repository_selection": selection,
		"access_tokens_url": api + "/access_tokens", "repositories_url": s.api("/installation/repositories"),
		"html_url": s.web("/settings/installations/%d", i.id), "permissions": i.permissions, "events": list(i.events),
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "single_file_name": nil,
		"has_multiple_single_files": false, "single_file_paths": []any{},
		"suspended_by": s.userOrNull(i.suspendedBy), "suspended_at": stamp(i.suspended),
	}
}

// association is an author's relation to the repository.
func (s *Server) association(r *repository, a *account) string {
	switch {
	case a == nil || a.kind == "Bot":
		return "NONE"
	case r.owner == a:
		return "OWNER"
	case r.owner.members[a.id] != "":
		return "MEMBER"
	case r.collaborators[a.id] != RoleNone:
		return "COLLABORATOR"
	}
	return "NONE"
}

// list makes an empty slice of a nil one, which JSON would show as null.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// each renders a list.
func each[T any](all []T, render func(T) object) []object {
	out := make([]object, 0, len(all))
	for _, one := range all {
		out = append(out, render(one))
	}
	return out
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
