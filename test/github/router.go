package githubtest

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/test/github/openapi"
)

// route is one operation that the simulator serves.
type route struct {
	method    string
	template  string // as in GitHub's description
	access    access
	handle    func(*call) answer
	operation *openapi.Operation
	segments  []string
}

// name is "METHOD /path/{template}".
func (r *route) name() string { return r.method + " " + r.template }

// router finds operations. It is not the validator's own router, because GitHub's paths hold parameters that contain
// slashes (a file's path, a ref), which the description does not express.
type router struct {
	routes []*route
}

// slashes are the parameters that may contain slashes.
var slashes = []string{"{path}", "{ref}", "{branch}", "{basehead}"}

// newRouter joins the routes with the description: each must be in it, and all of it must be served.
func newRouter(contract *openapi.Contract) (*router, error) {
	r := &router{}
	served := map[string]bool{}
	for _, route := range routes() {
		operation, err := contract.Operation(route.method, route.template)
		if err != nil {
			return nil, err
		}
		route.operation = operation
		route.segments = strings.Split(route.template, "/")
		served[route.name()] = true
		r.routes = append(r.routes, route)
	}
	for _, name := range contract.Operations() {
		if !served[name] {
			return nil, fmt.Errorf("%s is in the description's subset and is not served", name)
		}
	}
	// Literal segments win over parameters: /issues/comments before /issues/{issue_number}, and, since a ref may hold
	// slashes, /commits/{ref}/check-runs before /commits/{ref}.
	slices.SortStableFunc(r.routes, func(a, b *route) int {
		return cmp.Or(strings.Count(a.template, "{")-strings.Count(b.template, "{"), len(b.segments)-len(a.segments))
	})
	return r, nil
}

// find returns the route of an escaped path and its parameters; nil when there is none.
func (r *router) find(method, path string) (*route, map[string]string) {
	if strings.HasSuffix(path, "/contents") { // the root directory may be asked for without its slash
		path += "/"
	}
	segments := strings.Split(path, "/")
	for _, route := range r.routes {
		if route.method != method {
			continue
		}
		if params, ok := match(route.segments, segments); ok {
			return route, params
		}
	}
	return nil, nil
}

// match fits segments to a pattern, in which a parameter that may contain slashes takes one segment or more.
func match(pattern, segments []string) (map[string]string, bool) {
	if len(pattern) == 0 {
		return map[string]string{}, len(segments) == 0
	}
	if len(segments) == 0 {
		return nil, false
	}
	most := 1
	if slices.Contains(slashes, pattern[0]) {
		most = len(segments)
	}
	for n := 1; n <= most; n++ {
		params, ok := match(pattern[1:], segments[n:])
		if !ok {
			continue
		}
		value, err := url.PathUnescape(strings.Join(segments[:n], "/"))
		if err != nil {
			return nil, false
		}
		name, isParam := strings.CutPrefix(pattern[0], "{")
		if !isParam {
			return params, value == pattern[0]
		}
		// GitHub serves the root directory at an empty path and no other parameter empty.
		if value == "" && name != "path}" {
			return nil, false
		}
		params[strings.TrimSuffix(name, "}")] = value
		return params, true
	}
	return nil, false
}
