// Package hub gives the cluster's registry what a public hub has: accounts,
// tokens, public images that anybody may pull and private ones that need a
// login. The registry itself is Debian's docker-registry, with its `token`
// authentication (CNCF Distribution's token specification).
package hub

import (
	"slices"
	"strings"
)

// The accounts. Anonymous is who sends no credentials.
const (
	Anonymous = ""
	Pusher    = "conductor" // pushes, pulls and deletes below its own namespace
	Puller    = "puller"    // pulls there
)

// private is the namespace whose repositories need a login. Every other one
// holds mirrored public images, which anybody may pull and no one may push.
const private = "conductor/"

// Access is what a token allows: the `access` claim of the token specification.
type Access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// Grant answers which of the scopes that a client asks for the user gets. A
// scope is `type:name:action,action`; what may not be had is left out, as the
// specification wants, and the registry then refuses the request itself.
func Grant(user string, scopes []string) []Access {
	granted := []Access{}
	for _, scope := range scopes {
		asked, ok := parseScope(scope)
		if !ok {
			continue
		}
		allowed := allowed(user, asked.Type, asked.Name)
		asked.Actions = slices.DeleteFunc(asked.Actions, func(a string) bool { return !slices.Contains(allowed, a) })
		if len(asked.Actions) > 0 {
			granted = append(granted, asked)
		}
	}
	return granted
}

func allowed(user, kind, name string) []string {
	switch {
	case kind == "registry" && name == "catalog" && user == Pusher:
		return []string{"*"}
	case kind != "repository":
		return nil
	case !strings.HasPrefix(name, private):
		return []string{"pull"}
	case user == Pusher:
		return []string{"pull", "push", "delete"}
	case user == Puller:
		return []string{"pull"}
	}
	return nil
}

// parseScope reads one scope. The name may hold colons, as it may begin with
// a host and port.
func parseScope(scope string) (Access, bool) {
	kind, rest, ok := strings.Cut(scope, ":")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i <= 0 {
		return Access{}, false
	}
	kind, _, _ = strings.Cut(kind, "(") // a class, as in repository(plugin)
	return Access{Type: kind, Name: rest[:i], Actions: strings.Split(rest[i+1:], ",")}, true
}
