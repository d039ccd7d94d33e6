// Package githubtest is a GitHub for tests: a server with GitHub's REST API, git over HTTP and App webhooks.
//
// It keeps accounts, repositories, issues, check runs, workflow runs and webhook deliveries in memory and git
// repositories on disk, served by git http-backend. It enforces what GitHub enforces: App JWTs, expiring installation
// tokens with their repositories and permissions, size limits, pagination, conditional requests, rate limits. It
// breaks on request: lost deliveries, 502s, secondary limits, slowness.
//
// Every request and answer is checked against GitHub's own OpenAPI description and every webhook against its
// webhook-* schemas. What does not agree is a Violation; [Server.Check] fails a test that has any.
//
// The REST API is at URL/api/v3, as on GitHub Enterprise Server, and at URL/, as on api.github.com. Repositories
// are cloned from URL/owner/name.git.
package githubtest
