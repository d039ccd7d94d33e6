package githubtest

import "slices"

// routes are all operations that the simulator serves. The permissions are GitHub's documented ones:
// https://docs.github.com/rest/authentication/permissions-required-for-github-apps
func routes() []*route {
	return slices.Concat(
		appRoutes(), deliveryRoutes(), peopleRoutes(), contentRoutes(), gitRoutes(), commitRoutes(),
		issueRoutes(), checkRoutes(), pullRoutes(), actionRoutes(),
	)
}
