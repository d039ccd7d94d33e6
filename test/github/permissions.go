package githubtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Permissions are an App's, an installation's or a token's permissions: name to read, write or admin.
type Permissions map[string]string

var levelRank = map[string]int{"": 0, "read": 1, "write": 2, "admin": 3}

// Include reports whether p grants all that other asks for.
func (p Permissions) Include(other Permissions) bool {
	for name, level := range other {
		if levelRank[p[name]] < levelRank[level] {
			return false
		}
	}
	return true
}

// String lists the permissions as GitHub's X-Accepted-GitHub-Permissions header does.
func (p Permissions) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, name+"="+p[name])
	}
	return strings.Join(parts, ",")
}

// access is who may call an operation. The permissions of each are those of GitHub's documentation:
// https://docs.github.com/rest/authentication/permissions-required-for-github-apps
type access struct {
	who  caller
	sets []Permissions // alternatives; a token needs one of them
}

type caller int

const (
	callAnyone        caller = iota // no credentials needed
	callApp                         // an App's JWT
	callAuthenticated               // any token
	callInstallation                // an installation token
	callRepository                  // a token with permissions on the repository in the path
	callOrganization                // a token with permissions on the organization in the path
)

var (
	anyone        = access{who: callAnyone}
	appOnly       = access{who: callApp}
	authenticated = access{who: callAuthenticated}
)

// on is access to the repository in the path; alternatives are separated by "|", as in "issues:write|pull_requests:write".
func on(spec string) access { return access{who: callRepository, sets: parseSets(spec)} }

// inOrg is access to the organization in the path.
func inOrg(spec string) access { return access{who: callOrganization, sets: parseSets(spec)} }

func parseSets(spec string) []Permissions {
	var sets []Permissions
	for _, alternative := range strings.Split(spec, "|") {
		set := Permissions{}
		for _, part := range strings.Split(alternative, ",") {
			name, level, ok := strings.Cut(part, ":")
			if !ok {
				panic(fmt.Sprintf("permission %q", part))
			}
			set[name] = level
		}
		sets = append(sets, set)
	}
	return sets
}

// header is the value of X-Accepted-GitHub-Permissions.
func (a access) header() string {
	var alternatives []string
	for _, set := range a.sets {
		alternatives = append(alternatives, set.String())
	}
	return strings.Join(alternatives, "; ")
}

// grantedBy reports whether one of the alternatives is granted.
func (a access) grantedBy(p Permissions) bool {
	return len(a.sets) == 0 || slices.ContainsFunc(a.sets, p.Include)
}

// writes reports whether every alternative changes something.
func (a access) writes() bool {
	return !slices.ContainsFunc(a.sets, func(p Permissions) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(p)), func(level string) bool { return level != "read" })
	})
}

// roleFor is the role that a person needs to do what a permission lets an App do. Anyone who can read may open an
// issue or a pull request and comment.
func roleFor(p Permissions) Role {
	need := RoleRead
	for name, level := range p {
		role := RoleRead
		switch {
		case name == "administration":
			role = RoleAdmin
		case level == "write" && (name == "contents" || name == "actions" || name == "checks"):
			role = RoleWrite
		}
		if role.atLeast(need) {
			need = role
		}
	}
	return need
}

// eventPermissions names the permission, one of which an App needs to subscribe to an event.
// https://docs.github.com/webhooks/webhook-events-and-payloads
var eventPermissions = map[string][]string{
	"push":          {"contents"},
	"create":        {"contents"},
	"delete":        {"contents"},
	"issues":        {"issues"},
	"issue_comment": {"issues", "pull_requests"},
	"pull_request":  {"pull_requests"},
	"check_run":     {"checks"},
	"check_suite":   {"checks"},
	"workflow_run":  {"actions"},
}

// checkEvents refuses what GitHub refuses in an App's registration: an event that its permissions do not reach, and
// the installation events, which every App gets unasked.
func checkEvents(events []string, p Permissions) error {
	for _, event := range events {
		names, ok := eventPermissions[event]
		if !ok {
			return fmt.Errorf("Default events unsupported: %s", event)
		}
		if !slices.ContainsFunc(names, func(name string) bool { return p[name] != "" }) {
			return fmt.Errorf("Default events are not supported by permissions: %s", event)
		}
	}
	return nil
}
