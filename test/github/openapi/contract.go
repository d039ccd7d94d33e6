// Package openapi holds the part of GitHub's OpenAPI description that the simulator serves, and checks requests,
// answers and webhook payloads against it.
//
// subset.json is made from the package that VERSION names; it keeps what a validator acts on and none of the prose.
package openapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

//go:generate go run ./internal/generate

//go:embed subset.json
var subset []byte

//go:embed operations.txt
var list string

// Contract is GitHub's description, ready to check against. It is safe for concurrent use.
type Contract struct {
	doc *openapi3.T
}

// Load returns the contract; it is parsed once per process.
func Load() (*Contract, error) { return load() }

var load = sync.OnceValues(func() (*Contract, error) {
	openapi3filter.RegisterBodyDecoder("application/vnd.github.object", openapi3filter.JSONBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(subset)
	if err != nil {
		return nil, fmt.Errorf("GitHub's description: %w", err)
	}
	return &Contract{doc: doc}, nil
})

// Operation is one method on one path of the description.
type Operation struct {
	route *routers.Route
}

// Operation finds a method and path template, such as GET and /repos/{owner}/{repo}.
func (c *Contract) Operation(method, template string) (*Operation, error) {
	item := c.doc.Paths.Value(template)
	if item == nil || item.GetOperation(method) == nil {
		return nil, fmt.Errorf("GitHub's description has no %s %s", method, template)
	}
	return &Operation{route: &routers.Route{
		Spec: c.doc, Path: template, PathItem: item, Method: method, Operation: item.GetOperation(method),
	}}, nil
}

// Operations are all operations as "METHOD /path/{template}", sorted.
func (c *Contract) Operations() []string {
	var all []string
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Webhooks are the events as "push" or "issue-comment-created", in the order of operations.txt.
func (c *Contract) Webhooks() []string {
	var all []string
	for line := range strings.Lines(list) {
		if event, ok := strings.CutPrefix(strings.TrimSpace(line), "WEBHOOK "); ok {
			all = append(all, event)
		}
	}
	return all
}

var options = &openapi3filter.Options{
	IncludeResponseStatus: true,
	MultiError:            true,
	AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
}

// Request checks path parameters, query, and JSON body. Wrong is what GitHub would refuse. Unknown are query
// parameters and top-level body fields that the description does not name, which GitHub would ignore in silence.
func (o *Operation) Request(r *http.Request, params map[string]string, body []byte) (wrong, unknown error) {
	probe := r.Clone(r.Context())
	probe.Body = io.NopCloser(bytes.NewReader(body))
	probe.ContentLength = int64(len(body))
	if len(body) > 0 && probe.Header.Get("Content-Type") == "" {
		probe.Header.Set("Content-Type", "application/json")
	}
	err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: probe, PathParams: params, QueryParams: r.URL.Query(), Route: o.route, Options: options,
	})
	return shorten(err), o.undeclared(r, body)
}

func (o *Operation) undeclared(r *http.Request, body []byte) error {
	var errs []error
	declared := map[string]bool{}
	for _, p := range slices.Concat(o.route.PathItem.Parameters, o.route.Operation.Parameters) {
		if p.Value.In == openapi3.ParameterInQuery {
			declared[p.Value.Name] = true
		}
	}
	for name := range r.URL.Query() {
		if !declared[name] {
			errs = append(errs, fmt.Errorf("query parameter %q is not in the description", name))
		}
	}
	var fields map[string]json.RawMessage
	if len(body) > 0 && json.Unmarshal(body, &fields) == nil {
		known, open := o.fields()
		for name := range fields {
			if !open && !known[name] {
				errs = append(errs, fmt.Errorf("body field %q is not in the description", name))
			}
		}
	}
	return errors.Join(errs...)
}

// fields are the names of the body's top-level properties; open when the description allows any.
func (o *Operation) fields() (known map[string]bool, open bool) {
	known = map[string]bool{}
	if o.route.Operation.RequestBody == nil {
		return known, false
	}
	media := o.route.Operation.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil {
		return known, true
	}
	var walk func(s *openapi3.Schema)
	walk = func(s *openapi3.Schema) {
		for name := range s.Properties {
			known[name] = true
		}
		for _, list := range []openapi3.SchemaRefs{s.AllOf, s.AnyOf, s.OneOf} {
			for _, ref := range list {
				walk(ref.Value)
			}
		}
	}
	walk(media.Schema.Value)
	return known, len(known) == 0
}

// Response checks the status, and a JSON body against the schema of that status. A status below 400 must be in the
// description. Errors that GitHub gives on any operation (rate limits, bad credentials) need not be.
func (o *Operation) Response(r *http.Request, status int, header http.Header, body []byte) error {
	if o.route.Operation.Responses.Status(status) == nil && status >= 400 {
		return nil
	}
	if status == http.StatusNotModified {
		return nil
	}
	err := openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: o.route, Options: options},
		Status:                 status,
		Header:                 header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                options,
	})
	return shorten(err)
}

// Webhook checks a payload. Action is empty for events that have none, such as push.
func (c *Contract) Webhook(event, action string, payload []byte) error {
	name := "webhook-" + strings.ReplaceAll(event, "_", "-")
	if action != "" {
		name += "-" + strings.ReplaceAll(action, "_", "-")
	}
	schema := c.doc.Components.Schemas[name]
	if schema == nil {
		return fmt.Errorf("GitHub's description has no %s", name)
	}
	var value any
	if err := json.Unmarshal(payload, &value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := schema.Value.VisitJSON(value, openapi3.MultiErrors()); err != nil {
		return fmt.Errorf("%s: %w", name, shorten(err))
	}
	return nil
}

// shorten keeps what is wrong and where, without the schema and the value that the library prints.
func shorten(err error) error {
	if err == nil {
		return nil
	}
	var lines []string
	var walk func(prefix string, err error)
	walk = func(prefix string, err error) {
		switch e := err.(type) {
		case openapi3.MultiError:
			for _, one := range e {
				walk(prefix, one)
			}
		case *openapi3filter.RequestError:
			if e.Parameter != nil {
				prefix += "parameter " + e.Parameter.Name + ": "
			}
			walkOr(walk, prefix, e.Err, e.Reason)
		case *openapi3filter.ResponseError:
			walkOr(walk, prefix, e.Err, e.Reason)
		case *openapi3.SchemaError:
			at := "/" + strings.Join(e.JSONPointer(), "/")
			reason, _, _ := strings.Cut(e.Reason, "\n")
			lines = append(lines, prefix+at+": "+reason)
			if e.Origin != nil {
				walk(prefix+at+": ", e.Origin)
			}
		default:
			reason, _, _ := strings.Cut(err.Error(), "\n")
			lines = append(lines, prefix+reason)
		}
	}
	walk("", err)
	return errors.New(strings.Join(lines, "; "))
}

func walkOr(walk func(string, error), prefix string, err error, reason string) {
	if err == nil {
		err = errors.New(reason)
	}
	walk(prefix, err)
}
