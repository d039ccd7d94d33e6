package githubtest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenLife is how long an installation token lives.
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
const tokenLife = time.Hour

func appRoutes() []*route {
	return []*route{
		{method: "GET", template: "/app", access: appOnly, handle: getApp},
		{method: "GET", template: "/apps/{app_slug}", access: anyone, handle: getAppBySlug},
		{method: "GET", template: "/app/installations", access: appOnly, handle: listInstallations},
		{method: "GET", template: "/app/installations/{installation_id}", access: appOnly, handle: getInstallation},
		{method: "POST", template: "/app/installations/{installation_id}/access_tokens", access: appOnly, handle: createInstallationToken},
		{method: "GET", template: "/repos/{owner}/{repo}/installation", access: appOnly, handle: getRepositoryInstallation},
		{method: "GET", template: "/orgs/{org}/installation", access: appOnly, handle: getAccountInstallation("org")},
		{method: "GET", template: "/users/{username}/installation", access: appOnly, handle: getAccountInstallation("username")},
		{method: "GET", template: "/installation/repositories", access: access{who: callInstallation}, handle: listInstallationRepositories},
		{method: "DELETE", template: "/installation/token", access: access{who: callInstallation}, handle: revokeInstallationToken},
	}
}

func getApp(c *call) answer {
	o := c.integration(c.principal.app)
	count := 0
	for _, i := range c.state.installations {
		if i.app == c.principal.app && !i.deleted {
			count++
		}
	}
	o["installations_count"] = count
	return ok(o)
}

func getAppBySlug(c *call) answer {
	for _, a := range c.state.apps {
		if a.slug == c.params["app_slug"] {
			return ok(c.integration(a))
		}
	}
	return notFound()
}

func listInstallations(c *call) answer {
	var mine []*installation
	for _, i := range c.state.installations {
		if i.app == c.principal.app && !i.deleted {
			mine = append(mine, i)
		}
	}
	return paginate(c, mine, c.Server.installation)
}

// appInstallation is the App's installation with an id.
func (c *call) appInstallation() *installation {
	for _, i := range c.state.installations {
		if i.id == c.number("installation_id") && i.app == c.principal.app && !i.deleted {
			return i
		}
	}
	return nil
}

func getInstallation(c *call) answer {
	if i := c.appInstallation(); i != nil {
		return ok(c.Server.installation(i))
	}
	return notFound()
}

func getRepositoryInstallation(c *call) answer {
	for _, i := range c.state.installations {
		if i.app == c.principal.app && i.covers(c.repo) {
			return ok(c.Server.installation(i))
		}
	}
	return notFound()
}

func getAccountInstallation(param string) func(*call) answer {
	return func(c *call) answer {
		for _, i := range c.state.installations {
			if i.app == c.principal.app && !i.deleted && strings.EqualFold(i.account.login, c.params[param]) {
				return ok(c.Server.installation(i))
			}
		}
		return notFound()
	}
}

func listInstallationRepositories(c *call) answer {
	t := c.principal.token
	var covered []*repository
	for _, r := range c.state.repositories {
		if t.installation.covers(r) && (t.repos == nil || t.repos[r.id]) {
			covered = append(covered, r)
		}
	}
	selection := "selected"
	if t.installation.all && t.repos == nil {
		selection = "all"
	}
	page := paginate(c, covered, c.fullRepository)
	page.body = object{"total_count": len(covered), "repository_selection": selection, "repositories": page.body}
	return page
}

func revokeInstallationToken(c *call) answer {
	delete(c.state.tokens, c.principal.token.value)
	return noContent()
}

// createInstallationToken makes a token of an installation, narrowed to the repositories and permissions asked for.
func createInstallationToken(c *call) answer {
	i := c.appInstallation()
	if i == nil {
		return notFound()
	}
	if !i.suspended.IsZero() {
		return failure(http.StatusForbidden, "This installation has been suspended")
	}
	var ask struct {
		Repositories  []string    `json:"repositories"`
		RepositoryIDs []int64     `json:"repository_ids"`
		Permissions   Permissions `json:"permissions"`
	}
	if len(c.body) > 0 {
		if err := c.decode(&ask); err != nil {
			return unprocessable(err.Error())
		}
	}
	t := &token{value: newSecret("ghs_"), installation: i, permissions: maps.Clone(i.permissions), expires: c.now.Add(tokenLife)}
	if len(ask.Permissions) > 0 {
		if !i.permissions.Include(ask.Permissions) {
			return unprocessable("The permissions requested are not granted to this installation.")
		}
		t.permissions = maps.Clone(ask.Permissions)
		t.permissions["metadata"] = "read" // always granted
	}
	repos, found := c.narrow(i, ask.Repositories, ask.RepositoryIDs)
	if !found {
		return unprocessable("There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	c.state.tokens[t.value] = t
	o := object{"token": t.value, "expires_at": stamp(t.expires), "permissions": t.permissions, "repository_selection": "all"}
	if !i.all || repos != nil {
		o["repository_selection"] = "selected"
	}
	if repos != nil {
		t.repos = map[int64]bool{}
		for _, r := range repos {
			t.repos[r.id] = true
		}
		o["repositories"] = each(repos, c.fullRepository)
	}
	return created(o)
}

// narrow finds the repositories asked for; nil when none was named. It fails when the installation lacks one.
func (c *call) narrow(i *installation, names []string, ids []int64) ([]*repository, bool) {
	var repos []*repository
	for _, name := range names {
		repos = append(repos, c.Server.repository(i.account.login+"/"+name))
	}
	for _, id := range ids {
		repos = append(repos, c.repositoryByID(id))
	}
	missing := func(r *repository) bool { return r == nil || !i.covers(r) }
	return repos, !slices.ContainsFunc(repos, missing)
}

// newSecret is a token in GitHub's form: a prefix for its kind and 36 letters and digits.
func newSecret(prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := make([]byte, 36)
	_, _ = rand.Read(random) // never fails
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)]
	}
	return prefix + string(random)
}
