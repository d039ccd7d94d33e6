package githubtest

import (
	"fmt"
	"net/http"
	"time"
)

// quota counts one credential's requests. https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
type quota struct {
	used  int
	reset time.Time
	// content has the times of the requests of the last hour that created content, points one time for each point of the last minute.
	content, points []time.Time
	// throttled is the end of a secondary limit that a test imposed.
	throttled time.Time
}

// within returns the number of times in the interval that ends now.
func within(times []time.Time, now time.Time, interval time.Duration) int {
	n := 0
	for n < len(times) && now.Sub(times[len(times)-1-n]) < interval {
		n++
	}
	return n
}

// GitHub's secondary limits are "no more than 80 content-generating requests per minute and no more than 500 content-generating requests per
// hour", and 900 points a minute, of which a read costs one and a write five (the same page, "About secondary rate limits").
const (
	ContentPerMinute = 80
	ContentPerHour   = 500
	PointsPerMinute  = 900

	pointsOfRead, pointsOfWrite = 1, 5
)

const anonymousLimit = 60

func (c *call) limit() int {
	if c.principal.anonymous() {
		return anonymousLimit
	}
	if i := c.principal.installation; i != nil {
		return c.installationLimit(i)
	}
	return c.options.RateLimit
}

// An installation on more than twenty repositories has more requests for each further one, up to a most (the same page, "Primary rate limit
// for GitHub App installations").
const (
	baseRepositories = 20
	perRepository    = 50
	mostRequests     = 12_500
)

func (c *call) installationLimit(i *installation) int {
	repositories := 0
	for _, r := range c.state.repositories {
		if i.covers(r) {
			repositories++
		}
	}
	more := max(0, repositories-baseRepositories) * perRepository
	return max(c.options.RateLimit, min(c.options.RateLimit+more, mostRequests))
}

// quota is the caller's count in the running hour.
func (c *call) quota() *quota {
	key := c.principal.key()
	q := c.limits[key]
	if q == nil {
		q = &quota{}
		c.limits[key] = q
	}
	if !c.now.Before(q.reset) {
		q.used, q.reset = 0, c.now.Add(time.Hour)
	}
	return q
}

// Throttle imposes a secondary limit on an installation: all of its requests are refused for a time, which Retry-After names.
func (s *Server) Throttle(installation int64, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprintf("installation %d", installation)
	if s.limits[key] == nil {
		s.limits[key] = &quota{}
	}
	s.limits[key].throttled = s.now().Add(d)
}

// charge counts the request, or refuses it when a limit is reached. Asking for the limits is free.
func (c *call) charge() *answer {
	if c.route.template == "/rate_limit" {
		return nil
	}
	q := c.quota()
	if q.used >= c.limit() {
		a := failure(http.StatusForbidden, "API rate limit exceeded for "+c.principal.key()+".")
		return &a
	}
	q.used++
	if wait := c.chargeSecondary(q); wait > 0 {
		fault := Fault{Status: http.StatusForbidden, Secondary: true, RetryAfter: wait}
		a := fault.answer()
		return &a
	}
	return nil
}

// chargeSecondary applies the secondary limits and returns how long a request that exceeds one has to wait.
func (c *call) chargeSecondary(q *quota) time.Duration {
	if wait := q.throttled.Sub(c.now); wait > 0 {
		return wait
	}
	wait := func(times []time.Time, limit int, interval time.Duration) time.Duration {
		if limit == 0 || within(times, c.now, interval) < limit {
			return 0
		}
		return times[len(times)-limit].Add(interval).Sub(c.now)
	}
	if d := wait(q.points, c.options.PointLimit, time.Minute); d > 0 {
		return d
	}
	if c.createsContent() {
		d := max(wait(q.content, c.options.ContentLimit, time.Minute), wait(q.content, c.options.ContentHourLimit, time.Hour))
		if d > 0 {
			return d
		}
		q.content = append(q.content[len(q.content)-within(q.content, c.now, time.Hour):], c.now)
	}
	points := pointsOfRead
	if c.request.Method != http.MethodGet {
		points = pointsOfWrite
	}
	q.points = q.points[len(q.points)-within(q.points, c.now, time.Minute):]
	for range points {
		q.points = append(q.points, c.now)
	}
	return 0
}

// createsContent reports whether the request creates something that people see, such as a comment, a reaction or a check run.
func (c *call) createsContent() bool {
	return c.route != nil && c.request.Method == http.MethodPost && (c.principal.installation != nil || c.principal.user != nil)
}

// refund takes a request off the count: an answer of 304 costs nothing.
func (c *call) refund() { c.quota().used-- }

func (c *call) quotaHeaders(h http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.quota()
	h.Set("X-RateLimit-Limit", itoa(c.limit()))
	h.Set("X-RateLimit-Remaining", itoa(max(0, c.limit()-q.used)))
	h.Set("X-RateLimit-Used", itoa(q.used))
	h.Set("X-RateLimit-Reset", itoa(q.reset.Unix()))
	h.Set("X-RateLimit-Resource", "core")
}

func getRateLimit(c *call) answer {
	q := c.quota()
	core := object{"limit": c.limit(), "used": q.used, "remaining": max(0, c.limit()-q.used), "reset": q.reset.Unix()}
	search := object{"limit": 30, "used": 0, "remaining": 30, "reset": c.now.Add(time.Minute).Unix()}
	return ok(object{"resources": object{"core": core, "search": search}, "rate": core})
}
