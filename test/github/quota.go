package githubtest

import (
	"net/http"
	"strings"
	"time"
)

// quota counts one credential's requests. https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
type quota struct {
	used    int
	reset   time.Time
	content int
	minute  time.Time
}

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
	if q == nil || !c.now.Before(q.reset) {
		q = &quota{reset: c.now.Add(time.Hour)}
		c.limits[key] = q
	}
	return q
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
	return c.chargeContent(q)
}

// chargeContent applies the secondary limit on requests that create content, which notify people.
func (c *call) chargeContent(q *quota) *answer {
	creates := c.request.Method == http.MethodPost && !strings.HasSuffix(c.route.template, "/access_tokens")
	if c.options.ContentLimit == 0 || !creates {
		return nil
	}
	if c.now.Sub(q.minute) >= time.Minute {
		q.minute, q.content = c.now, 0
	}
	if q.content++; q.content <= c.options.ContentLimit {
		return nil
	}
	fault := Fault{Status: http.StatusForbidden, Secondary: true, RetryAfter: time.Minute - c.now.Sub(q.minute)}
	a := fault.answer()
	return &a
}

// refund takes a request off the count: an answer of 304 costs nothing.
func (c *call) refund() { c.quota().used-- }

func (c *call) quotaHeaders(h http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.IsZero() {
		c.now = c.Server.now()
	}
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
