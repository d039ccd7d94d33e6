package githubtest

import (
	"net/http"
)

const (
	notAccessible = "Resource not accessible by integration"
	requiresAuth  = "Requires authentication"
)

// authorize decides whether the caller may do what it asks, and finds the repository in the path.
func (c *call) authorize() *answer {
	refuse := func(status int, message string) *answer {
		a := failure(status, message)
		if c.route.access.sets != nil {
			a.header.Set("X-Accepted-GitHub-Permissions", c.route.access.header())
		}
		return &a
	}
	p := c.principal
	switch c.route.access.who {
	case callApp:
		if p.app == nil || p.installation != nil {
			return refuse(http.StatusUnauthorized, errJWT.Error())
		}
	case callAuthenticated:
		if p.anonymous() {
			return refuse(http.StatusUnauthorized, requiresAuth)
		}
	case callInstallation:
		if p.installation == nil {
			return refuse(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
		}
	case callOrganization:
		return c.authorizeOrganization(refuse)
	}
	if c.params["owner"] != "" && c.params["repo"] != "" {
		return c.authorizeRepository(refuse)
	}
	return nil
}

func (c *call) authorizeRepository(refuse func(int, string) *answer) *answer {
	repo := c.Server.repository(c.params["owner"] + "/" + c.params["repo"])
	if repo == nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	c.repo = repo
	switch p := c.principal; {
	case c.route.access.who != callRepository:
		return nil
	case p.installation != nil:
		return c.authorizeInstallation(refuse)
	case p.app != nil:
		return refuse(http.StatusForbidden, notAccessible)
	case p.user != nil:
		return c.authorizeUser(refuse)
	case repo.private:
		return refuse(http.StatusNotFound, "Not Found")
	case c.route.access.writes():
		return refuse(http.StatusUnauthorized, requiresAuth)
	}
	return nil
}

// authorizeInstallation checks the token's repositories and permissions. What anybody may read of a public repository,
// an installation may read without a permission, as GitHub documents for each such operation.
func (c *call) authorizeInstallation(refuse func(int, string) *answer) *answer {
	t := c.principal.token
	covered := t.installation.covers(c.repo) && (t.repos == nil || t.repos[c.repo.id])
	public := !c.repo.private && !c.route.access.writes()
	switch {
	case covered && c.route.access.grantedBy(t.permissions):
		return nil
	case public && !c.administrative():
		return nil
	case !covered && c.repo.private:
		return refuse(http.StatusNotFound, "Not Found")
	}
	return refuse(http.StatusForbidden, notAccessible)
}

// administrative reports whether an operation shows what is not public even of a public repository.
func (c *call) administrative() bool {
	for _, set := range c.route.access.sets {
		if set["administration"] != "" {
			return true
		}
	}
	return false
}

func (c *call) authorizeUser(refuse func(int, string) *answer) *answer {
	role := c.role(c.repo, c.principal.user)
	if role == RoleNone {
		return refuse(http.StatusNotFound, "Not Found")
	}
	best := RoleAdmin
	for _, set := range c.route.access.sets {
		if set["checks"] == "write" {
			return refuse(http.StatusForbidden, "You must authenticate via a GitHub App.")
		}
		if need := roleFor(set); best.atLeast(need) {
			best = need
		}
	}
	if len(c.route.access.sets) > 0 && !role.atLeast(best) {
		return refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	return nil
}

func (c *call) authorizeOrganization(refuse func(int, string) *answer) *answer {
	org := c.Server.account(c.params["org"])
	if org == nil || org.kind != "Organization" {
		return refuse(http.StatusNotFound, "Not Found")
	}
	switch p := c.principal; {
	case p.installation != nil:
		if p.installation.account != org || !c.route.access.grantedBy(p.token.permissions) {
			return refuse(http.StatusForbidden, notAccessible)
		}
	case p.user != nil:
		if org.members[p.user.id] == "" {
			return refuse(http.StatusNotFound, "Not Found")
		}
	default:
		return refuse(http.StatusUnauthorized, requiresAuth)
	}
	return nil
}
