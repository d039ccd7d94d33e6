package main

// correct mends the few places where the description contradicts what GitHub sends. Each has its reason.
func correct(subset object) {
	// A comment that a person wrote has null here in the events created, edited and deleted; the description has nullable
	// only for created.
	if p, ok := child(subset, "components", "schemas", "webhooks_issue_comment", "properties"); ok {
		p["performed_via_github_app"] = object{"$ref": "#/components/schemas/nullable-integration"}
	}
	// The account of an installation is a user or an enterprise. The list of installations requires both at once, which is
	// impossible; the response for one installation has anyOf.
	p, ok := child(subset, "paths", "/app/installations", "get", "responses", "200", "content", "application/json", "schema", "items", "properties", "account")
	if ok {
		p["anyOf"] = p["allOf"]
		delete(p, "allOf")
	}
}
