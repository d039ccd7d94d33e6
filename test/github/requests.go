package githubtest

import (
	"slices"
	"sync"
	"time"
)

// Request is one logged call of the REST API or of git.
type Request struct {
	// Time is when it came, by the real clock.
	Time time.Time `json:"time"`
	// At is when it came, by the server's clock, which Advance moves; zero for git.
	At time.Time `json:"at"`
	// Content means that it counts as content-creating.
	Content bool `json:"content,omitempty"`
	// Method and Path are as sent; Path is below the API's base and without the query.
	Method string `json:"method"`
	Path   string `json:"path"`
	// Operation is "METHOD /path/{template}" of GitHub's description; empty when there is none, "git-upload-pack" or
	// "git-receive-pack" for git.
	Operation string `json:"operation"`
	// Status is the answer's.
	Status int `json:"status"`
	// Caller is anonymous, app, installation or user.
	Caller string `json:"caller"`
	// Installation is the id of the installation whose token was used.
	Installation int64 `json:"installation,omitempty"`
	// Granted are the permissions of the token that was used.
	Granted Permissions `json:"granted,omitempty"`
	// Repositories are the ids that the token is narrowed to; empty for all of the installation.
	Repositories []int64 `json:"repositories,omitempty"`
	// Needed are the permissions that GitHub documents for the operation; one of them suffices.
	Needed []Permissions `json:"needed,omitempty"`
	// Duration is how long the answer took.
	Duration time.Duration `json:"duration"`
}

type requestLog struct {
	mu  sync.Mutex
	all []Request
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
}

// Requests are all calls since the start or the last ResetRequests, in the order of their answers.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.all)
}

// Most returns the largest number of requests that match, in any interval of the server's clock. Refused requests count too.
func (s *Server) Most(interval time.Duration, matches func(Request) bool) int {
	var times []time.Time
	for _, r := range s.Requests() {
		if matches(r) {
			times = append(times, r.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	most := 0
	for i, at := range times {
		most = max(most, within(times[:i+1], at, interval))
	}
	return most
}

// ResetRequests empties the log.
func (s *Server) ResetRequests() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.all = nil
}

func (s *Server) logRequest(c *call, status int, started time.Time) {
	r := Request{
		Time: started, Method: c.request.Method, Path: c.path, Status: status,
		Caller: c.principal.kind(), Duration: time.Since(started), At: c.now, Content: c.createsContent(),
	}
	if c.route != nil {
		r.Operation, r.Needed = c.route.name(), c.route.access.sets
	}
	r.caller(c.principal)
	s.log.add(r)
}

func (r *Request) caller(p principal) {
	if p.installation == nil {
		return
	}
	r.Installation, r.Granted = p.installation.id, p.token.permissions
	for id := range p.token.repos {
		r.Repositories = append(r.Repositories, id)
	}
	slices.Sort(r.Repositories)
}
