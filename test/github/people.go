package githubtest

import (
	"net/http"
	"slices"
	"strings"
)

func peopleRoutes() []*route {
	const repo, org = "/repos/{owner}/{repo}", "/orgs/{org}"
	metadata, members := on("metadata:read"), inOrg("members:read")
	return []*route{
		{method: "GET", template: "/meta", access: anyone, handle: getMeta},
		{method: "GET", template: "/rate_limit", access: anyone, handle: getRateLimit},
		{method: "GET", template: "/user", access: authenticated, handle: getAuthenticatedUser},
		{method: "GET", template: "/user/repos", access: authenticated, handle: listUserRepositories},
		{method: "GET", template: "/users/{username}", access: anyone, handle: getUser},
		{method: "GET", template: org, access: anyone, handle: getOrganization},
		{method: "GET", template: org + "/repos", access: inOrg("metadata:read"), handle: listOrganizationRepositories},
		{method: "GET", template: org + "/members/{username}", access: members, handle: checkMember},
		{method: "GET", template: org + "/memberships/{username}", access: members, handle: getMembership},
		{method: "GET", template: org + "/teams", access: members, handle: listTeams},
		{method: "GET", template: org + "/teams/{team_slug}", access: members, handle: withTeam(getTeam)},
		{method: "GET", template: org + "/teams/{team_slug}/members", access: members, handle: withTeam(listTeamMembers)},
		{method: "GET", template: org + "/teams/{team_slug}/memberships/{username}", access: members, handle: withTeam(getTeamMembership)},
		{method: "GET", template: repo, access: metadata, handle: getRepository},
		{method: "GET", template: repo + "/collaborators", access: metadata, handle: listCollaborators},
		{method: "GET", template: repo + "/collaborators/{username}", access: metadata, handle: checkCollaborator},
		{method: "GET", template: repo + "/collaborators/{username}/permission", access: metadata, handle: getPermission},
	}
}

func getMeta(c *call) answer {
	return ok(object{"verifiable_password_authentication": false, "hooks": []string{"127.0.0.0/8"}})
}

func getAuthenticatedUser(c *call) answer {
	if c.principal.user == nil {
		return failure(http.StatusForbidden, notAccessible)
	}
	return ok(c.profile(c.principal.user))
}

func getUser(c *call) answer {
	if a := c.account(c.params["username"]); a != nil {
		return ok(c.profile(a))
	}
	return notFound()
}

func getOrganization(c *call) answer {
	a := c.account(c.params["org"])
	if a == nil || a.kind != "Organization" {
		return notFound()
	}
	o := c.organization(a)
	for key, value := range map[string]any{
		"type": "Organization", "html_url": c.web("/%s", a.login), "created_at": stamp(a.created), "updated_at": stamp(a.created),
		"archived_at": nil, "has_organization_projects": false, "has_repository_projects": false, "public_repos": 0,
		"public_gists": 0, "followers": 0, "following": 0,
	} {
		o[key] = value
	}
	return ok(o)
}

func getRepository(c *call) answer {
	o := c.fullRepository(c.repo)
	if c.principal.user != nil {
		o["permissions"] = permissionFlags(c.role(c.repo, c.principal.user))
	}
	return ok(o)
}

func listUserRepositories(c *call) answer {
	if c.principal.user == nil {
		return failure(http.StatusForbidden, notAccessible)
	}
	var mine []*repository
	for _, r := range c.state.repositories {
		if r.owner == c.principal.user || r.collaborators[c.principal.user.id] != RoleNone || r.owner.members[c.principal.user.id] != "" {
			mine = append(mine, r)
		}
	}
	return paginate(c, mine, c.fullRepository)
}

func listOrganizationRepositories(c *call) answer {
	var all []*repository
	for _, r := range c.state.repositories {
		if !strings.EqualFold(r.owner.login, c.params["org"]) {
			continue
		}
		if i := c.principal.installation; i != nil && !i.covers(r) && r.private {
			continue
		}
		all = append(all, r)
	}
	return paginate(c, all, c.minimalRepository)
}

// membership finds the account in the path and its role in the organization.
func (c *call) membership() (org, user *account, role string) {
	org, user = c.account(c.params["org"]), c.account(c.params["username"])
	if user != nil {
		role = org.members[user.id]
	}
	return org, user, role
}

func checkMember(c *call) answer {
	if _, _, role := c.membership(); role == "" {
		return notFound()
	}
	return noContent()
}

func getMembership(c *call) answer {
	org, user, role := c.membership()
	if role == "" {
		return notFound()
	}
	api := c.api("/orgs/%s", org.login)
	return ok(object{
		"url": api + "/memberships/" + user.login, "state": "active", "role": role, "organization_url": api,
		"organization": c.organization(org), "user": c.user(user),
	})
}

func listTeams(c *call) answer {
	return paginate(c, c.account(c.params["org"]).teams, c.team)
}

func withTeam(handle func(*call, *team) answer) func(*call) answer {
	return func(c *call) answer {
		for _, t := range c.account(c.params["org"]).teams {
			if t.slug == c.params["team_slug"] {
				return handle(c, t)
			}
		}
		return notFound()
	}
}

func getTeam(c *call, t *team) answer {
	o := c.team(t)
	org := c.organization(t.org)
	for key, value := range map[string]any{
		"type": "Organization", "html_url": c.web("/%s", t.org.login), "created_at": stamp(t.org.created),
		"updated_at": stamp(t.org.created), "archived_at": nil, "has_organization_projects": false, "has_repository_projects": false,
		"public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
	} {
		org[key] = value
	}
	for key, value := range map[string]any{
		"created_at": stamp(t.org.created), "updated_at": stamp(t.org.created), "members_count": len(t.members),
		"repos_count": len(t.repos), "organization": org,
	} {
		o[key] = value
	}
	return ok(o)
}

func listTeamMembers(c *call, t *team) answer {
	var members []*account
	for id := range t.members {
		members = append(members, c.accountByID(id))
	}
	slices.SortFunc(members, func(a, b *account) int { return int(a.id - b.id) })
	return paginate(c, members, c.user)
}

func getTeamMembership(c *call, t *team) answer {
	user := c.account(c.params["username"])
	if user == nil || t.members[user.id] == "" {
		return notFound()
	}
	return ok(object{
		"url": c.api("/organizations/%d/team/%d/memberships/%s", t.org.id, t.id, user.login), "role": t.members[user.id], "state": "active",
	})
}

// collaborators are the accounts with a right on the repository that is not merely its being public.
func (c *call) collaborators() []*account {
	var all []*account
	for _, a := range c.state.accounts {
		if a.kind == "User" && c.isCollaborator(a) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *account) int { return int(a.id - b.id) })
	return all
}

func (c *call) isCollaborator(a *account) bool { return c.granted(c.repo, a) != RoleNone }

// mayListCollaborators reports whether the caller sees who has which right: people need to be able to push.
func (c *call) mayListCollaborators() bool {
	return c.principal.user == nil || c.role(c.repo, c.principal.user).atLeast(RoleWrite)
}

func listCollaborators(c *call) answer {
	if !c.mayListCollaborators() {
		return failure(http.StatusForbidden, "Must have push access to view repository collaborators.")
	}
	return paginate(c, c.collaborators(), func(a *account) object {
		role := c.role(c.repo, a)
		o := c.user(a)
		o["permissions"], o["role_name"] = permissionFlags(role), string(role)
		return o
	})
}

func checkCollaborator(c *call) answer {
	if a := c.account(c.params["username"]); a != nil && c.isCollaborator(a) {
		return noContent()
	}
	return notFound()
}

// getPermission answers the legacy permission and the role. Anyone has read on a public repository.
func getPermission(c *call) answer {
	if !c.mayListCollaborators() {
		return failure(http.StatusForbidden, "Must have push access to view collaborator permission.")
	}
	a := c.account(c.params["username"])
	if a == nil || a.kind == "Organization" {
		return failure(http.StatusNotFound, c.params["username"]+" is not a user")
	}
	role := c.role(c.repo, a)
	name := string(role)
	if role == RoleNone {
		name = "none"
	}
	user := c.user(a)
	user["permissions"], user["role_name"] = permissionFlags(role), name
	return ok(object{"permission": role.legacy(), "role_name": name, "user": user})
}
