package githubtest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request to the REST API; 32 MiB is more than any operation here takes.
const maxBody = 32 << 20

// apiVersions are those that GitHub supports. https://docs.github.com/rest/about-the-rest-api/api-versions
var apiVersions = []string{"2022-11-28", "2026-03-10"}

// call is one request to the REST API on its way to a handler.
type call struct {
	*Server
	request   *http.Request
	path      string
	route     *route
	params    map[string]string
	query     url.Values
	body      []byte
	principal principal
	repo      *repository
	now       time.Time
}

// decode reads the JSON body. The contract was checked before, so that types fit.
func (c *call) decode(into any) error { return json.Unmarshal(c.body, into) }

func (c *call) number(param string) int64 {
	n, _ := strconv.ParseInt(c.params[param], 10, 64)
	return n
}

// accepts reports whether the client asks for a media type, such as raw or object.
func (c *call) accepts(kind string) bool {
	accept := c.request.Header.Get("Accept")
	return strings.Contains(accept, "."+kind) || strings.Contains(accept, "+"+kind)
}

func (c *call) subject() string { return c.request.Method + " " + c.path }

// serveAPI answers one REST request and writes it to the log.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, path string) {
	started := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	if string(bytes.TrimSpace(body)) == "null" { // what some clients send for no options; GitHub takes it as no body
		body = nil
	}
	c := &call{Server: s, request: r, path: path, body: body, query: r.URL.Query(), now: s.Now()}
	c.route, c.params = s.router.find(r.Method, path)
	fault := s.faults.take(r, path)
	var a answer
	if fault != nil {
		fault.wait(r.Context())
	}
	if fault != nil && fault.answers() && !fault.After {
		s.logRequest(c, fault.Status, started)
		a = fault.answer()
	} else {
		a = s.answerCall(c)
		s.logRequest(c, a.status, started)
		if fault != nil && fault.answers() {
			a = fault.answer()
		}
	}
	c.write(w, a)
}

// answerCall runs the checks in GitHub's order and then the handler, under the lock.
func (s *Server) answerCall(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.now()
	if refusal := c.preconditions(); refusal != nil {
		return *refusal
	}
	principal, refusal := s.authenticate(c.request, c.now)
	if refusal != nil {
		return *refusal
	}
	c.principal = principal
	if c.route == nil {
		s.violations.add("operation", c.subject(), "the simulator serves no such operation")
		return notFound()
	}
	if refusal := c.charge(); refusal != nil {
		return *refusal
	}
	if refusal := c.checkRequest(); refusal != nil {
		return *refusal
	}
	if refusal := c.authorize(); refusal != nil {
		return *refusal
	}
	a := c.route.handle(c)
	if c.route.access.sets != nil {
		a.header.Set("X-Accepted-GitHub-Permissions", c.route.access.header())
	}
	c.finish(&a)
	return a
}

// preconditions are what GitHub asks of any request.
func (c *call) preconditions() *answer {
	if c.request.UserAgent() == "" {
		a := failure(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
		return &a
	}
	if v := c.request.Header.Get("X-GitHub-Api-Version"); v != "" && !slices.Contains(apiVersions, v) {
		a := failure(http.StatusBadRequest, "This API version is not supported: "+v)
		return &a
	}
	return nil
}

// checkRequest holds the request against the description. What does not fit is a violation and is refused,
// except for fields that GitHub would ignore: those are a violation alone.
func (c *call) checkRequest() *answer {
	if len(c.body) > 0 {
		var any map[string]json.RawMessage
		if err := json.Unmarshal(c.body, &any); err != nil {
			message := "Problems parsing JSON"
			if json.Valid(c.body) {
				message = "Body should be a JSON object"
			}
			c.violations.add("request", c.subject(), message)
			a := failure(http.StatusBadRequest, message)
			return &a
		}
	}
	params := maps.Clone(c.params)
	if path, found := params["path"]; found && path == "" {
		params["path"] = "." // the root directory, for which the description has no name
	}
	wrong, unknown := c.route.operation.Request(c.request, params, c.body)
	for _, err := range []error{wrong, unknown} {
		if err != nil {
			c.violations.add("request", c.subject(), err.Error())
		}
	}
	if wrong == nil {
		return nil
	}
	a := unprocessable("Invalid request.\n\n" + wrong.Error())
	a.header.Set("X-Contract-Violation", "request")
	return &a
}

// finish renders the answer, checks it against the description and makes it conditional.
func (c *call) finish(a *answer) {
	if err := a.render(); err != nil {
		*a = failure(http.StatusInternalServerError, err.Error())
	}
	if err := c.route.operation.Response(c.request, a.status, a.header, a.raw); err != nil && !a.undescribed() {
		c.violations.add("response", c.subject(), err.Error())
	}
	if c.request.Method != http.MethodGet || a.status != http.StatusOK {
		return
	}
	tag := etag(credential(c.request), a.raw)
	a.header.Set("ETag", tag)
	a.header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	a.header.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With")
	if strings.TrimPrefix(c.request.Header.Get("If-None-Match"), "W/") == strings.TrimPrefix(tag, "W/") {
		c.refund()
		a.status, a.raw, a.body = http.StatusNotModified, nil, nil
		a.header.Del("Content-Type")
	}
}

// undescribed reports whether the answer is of a media type that the description leaves out: raw contents.
func (a *answer) undescribed() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "application/vnd.github.raw")
}

func (c *call) write(w http.ResponseWriter, a answer) {
	if err := a.render(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("X-GitHub-Request-Id", newGUID())
	w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	c.quotaHeaders(w.Header())
	w.WriteHeader(a.status)
	_, _ = io.Copy(w, bytes.NewReader(a.raw)) // a client that has gone needs no answer
}

func itoa[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
