package githubapp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// maxTurn is how long a write waits for the one before it. A worker must not wait longer: it serves other installations, too.
	maxTurn = 3 * time.Second
	// maxRefusal limits how much of a refusal is searched for GitHub's words.
	maxRefusal = 16 << 10
)

// gate keeps the requests of each installation within GitHub's limits. A request that has to wait is not sent: its error is a
// failure.Waiting with the time. So is that of a request that GitHub refused because of a limit.
type gate struct {
	base   *url.URL
	next   http.RoundTripper
	limits func(installation int64) *limits
	clock  clock.PassiveClock
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if !isWithin(req.URL, g.base) { // An archive is on another host, which has its own limits.
		resp, err := g.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		return g.learn(newLimits(), resp)
	}
	l := g.limits(callOf(req.Context()).scope.installation)
	release, err := g.enter(req, l)
	if err != nil {
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	defer release()
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return g.learn(l, resp)
}

// enter waits for a write's turn and checks the limits. The returned function ends the turn.
func (g *gate) enter(req *http.Request, l *limits) (func(), error) {
	s := callOf(req.Context()).scope
	if req.Method == http.MethodGet || s.installation == 0 {
		now := g.clock.Now()
		return func() {}, waiting(now, l.blockedUntil(now))
	}
	if err := takeTurn(req.Context(), l, maxTurn); err != nil {
		return nil, err
	}
	release := func() { <-l.writing }
	w := write{key: s.item, priority: s.priority, creates: req.Method == http.MethodPost}
	if w.key == "" {
		w.key = req.Method + req.URL.Path
	}
	now := g.clock.Now()
	if err := waiting(now, l.admit(now, w)); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func takeTurn(ctx context.Context, l *limits, most time.Duration) error {
	select {
	case l.writing <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case l.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return failure.Waitingf(v1alpha1.ReasonUnavailable, time.Second, "GitHub answers slowly; retrying soon")
	}
}

// awaitTurn fails if what a call would create has to wait, so that nothing is searched each time that it is tried.
func (c *Client) awaitTurn(s scope) error {
	now := c.clock.Now()
	return waiting(now, c.limitsOf(s.installation).waitingUntil(now, write{key: s.item, priority: s.priority, creates: true}))
}

// waiting returns the failure of a request that may be sent at a time; nil if that is zero.
func waiting(now, until time.Time) error {
	if until.IsZero() {
		return nil
	}
	return failure.Waitingf(v1alpha1.ReasonUnavailable, until.Sub(now), "GitHub rate limit reached; retrying at %s", until.UTC().Format("15:04 UTC"))
}

// learn takes from a response what it reveals about the limits. The wait is until Retry-After and the reset of an exhausted primary limit are
// both over; without either, it is a minute that doubles each time
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api, "Exceeding the rate limit").
func (g *gate) learn(l *limits, resp *http.Response) (*http.Response, error) {
	now := g.clock.Now()
	left, resets, known := primary(resp.Header)
	if known {
		requests, _ := strconv.Atoi(resp.Header.Get("X-RateLimit-Limit"))
		l.note(now, requests, left, resets)
	}
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		l.accepted()
		return resp, nil
	}
	seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After"))
	switch {
	case bad == nil:
		l.block(now, now.Add(time.Duration(min(max(seconds, 1), int(maxPause/time.Second)))*time.Second))
	case known && left == 0:
		l.block(now, resets)
	case resp.StatusCode == http.StatusTooManyRequests || namesLimit(resp):
		l.strike(now)
	default:
		return resp, nil
	}
	_ = resp.Body.Close()
	return nil, waiting(now, l.blockedUntil(now))
}

// primary returns what is left of the primary limit, and when it resets.
func primary(h http.Header) (left int, resets time.Time, known bool) {
	left, err := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	seconds, err2 := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	return left, time.Unix(seconds, 0), err == nil && err2 == nil
}

// namesLimit reports whether a refusal names a secondary limit, which only its text shows. The body remains to be read.
func namesLimit(resp *http.Response) bool {
	start, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body}
	text := strings.ToLower(string(start))
	return strings.Contains(text, "secondary rate limit") || strings.Contains(text, "secondary-rate-limit") || strings.Contains(text, "abuse detection")
}

// isWithin reports whether an address is below the API's.
func isWithin(u, base *url.URL) bool {
	return u.Scheme == base.Scheme && u.Host == base.Host && strings.HasPrefix(u.Path, base.Path)
}
