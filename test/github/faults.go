package githubtest

import (
	"context"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Fault makes matching requests fail or wait, in place of their answer or around it.
type Fault struct {
	// Method to match; empty matches any.
	Method string `json:"method,omitempty"`
	// Path is a glob over the path below the API's base, such as /repos/*/*/check-runs; "*" does not match a slash.
	// Empty matches any.
	Path string `json:"path,omitempty"`
	// Match is asked as well when it is set. It sees the request without its body.
	Match func(*http.Request) bool `json:"-"`
	// Times is how many requests fail; zero means all until Heal.
	Times int `json:"times,omitempty"`
	// Delay passes before anything else happens.
	Delay time.Duration `json:"delay,omitempty"`
	// Status is answered, such as 502. Zero lets the request be served.
	Status int `json:"status,omitempty"`
	// Secondary makes a 403 the answer of a secondary rate limit.
	Secondary bool `json:"secondary,omitempty"`
	// RetryAfter is sent as a header, in whole seconds.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`
	// After serves the request first, so that its effect stays and only the answer is lost.
	After bool `json:"after,omitempty"`
}

type faults struct {
	mu  sync.Mutex
	all []*Fault
}

// Inject adds a fault. The first one that matches a request is used.
func (s *Server) Inject(f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.all = append(s.faults.all, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.all = nil
}

// take finds the fault of a request and uses it up.
func (f *faults) take(r *http.Request, at string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.all {
		if !fault.matches(r, at) {
			continue
		}
		taken := *fault
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.all = append(f.all[:i:i], f.all[i+1:]...)
			}
		}
		return &taken
	}
	return nil
}

func (f *Fault) matches(r *http.Request, at string) bool {
	if f.Method != "" && !strings.EqualFold(f.Method, r.Method) {
		return false
	}
	if ok, err := path.Match(f.Path, at); f.Path != "" && (err != nil || !ok) {
		return false
	}
	return f.Match == nil || f.Match(r)
}

// answers reports whether the fault replaces the answer.
func (f *Fault) answers() bool { return f.Status != 0 || f.Drop }

// wait passes the delay, or less when the client goes away.
func (f *Fault) wait(ctx context.Context) {
	if f.Delay <= 0 {
		return
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// answer is what the client gets in place of the real answer.
func (f *Fault) answer() answer {
	if f.Drop {
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	}
	a := failure(f.Status, http.StatusText(f.Status))
	if f.Secondary { // clients know it by the end of the link
		a = failure(f.Status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
		a.body.(object)["documentation_url"] = documentation + "/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	}
	if f.RetryAfter > 0 {
		a.header.Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	return a
}
