package githubapp

import (
	"slices"
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// GitHub's limits for one installation (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api, "About secondary rate
// limits") are "no more than 80 content-generating requests per minute and no more than 500 content-generating requests per hour", and 900 points
// a minute, of which a write costs five and a read one. GitHub does not list the requests that generate content. It calls these limits "content
// creation limits", so a request that creates something counts here: a comment, a reaction, a check run. An update of a comment or a check run
// creates nothing and sends no notification; it costs points only.
//
// The margins are for what this process cannot count: the reactions of another replica (see HasRoom), and reads.
const (
	createsPerMinute = 80 - earlyPerMinute
	createsPerHour   = 500 - earlyPerHour
	writesPerMinute  = 160

	earlyPerMinute = 10
	earlyPerHour   = 50
)

const (
	// firstBlock is the least wait after a secondary limit without Retry-After; it doubles each time (the same page, "Exceeding the rate limit").
	firstBlock = time.Minute
	// maxPause limits the wait that a server may request; the primary rate limit resets every hour.
	maxPause = time.Hour
	// ticketGrace is how long a write that waited keeps its place once its time has come.
	ticketGrace = 30 * time.Second
	// maxTickets limits the places of one installation. A write without one waits as well, but later writes may overtake it.
	maxTickets = 1024
	// maxInstallations limits the installations whose limits are known. The one that was not used for longest is evicted.
	maxInstallations = 1024
)

// shares are the percentages of each limit that writes may use, by priority, so that what matters more always has room.
var shares = map[v1alpha1.WritePriority]int{
	v1alpha1.WriteConclusion: 100, v1alpha1.WriteResult: 100, v1alpha1.WriteProgress: 75, v1alpha1.WriteReaction: 50,
}

// rate is a number of uses in any interval.
type rate struct {
	most int
	per  time.Duration
}

// uses are the times of the latest uses, oldest first.
type uses []time.Time

// add appends a use and drops those that no rate needs any more.
func (u uses) add(now time.Time, most int) uses {
	return append(u[max(0, len(u)-most+1):], now)
}

// since returns the number of uses in the interval that ends now.
func (u uses) since(now time.Time, per time.Duration) int {
	for i, at := range u {
		if now.Sub(at) < per {
			return len(u) - i
		}
	}
	return 0
}

// next returns when the rate allows another use, after those that wait; zero if it does now.
func (u uses) next(r rate, waiting []time.Time) time.Time {
	switch i := len(u) + len(waiting) - r.most; {
	case i < 0:
		return time.Time{}
	case i < len(u):
		return u[i].Add(r.per)
	default:
		return waiting[i-len(u)].Add(r.per)
	}
}

// write is a request that changes something.
type write struct {
	// key identifies what is written, so that it has one place however often it is tried.
	key      string
	priority v1alpha1.WritePriority
	creates  bool
}

// ticket is the place of a write that has to wait.
type ticket struct {
	write
	at time.Time
}

// limits is what one installation has used, and what GitHub has returned about it. The App itself has one, too.
type limits struct {
	// writing is held during a write. GitHub recommends that requests are made serially
	// (https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api); the second of two writes also learns from the
	// first that a limit is reached.
	writing chan struct{}

	mu      sync.Mutex
	writes  uses
	creates uses
	// early are the latest reactions; see HasRoom.
	early uses
	// waiting are ordered by their times.
	waiting []ticket
	// blocked is until when no request is sent; strikes counts the secondary limits without a time since a request was last accepted.
	blocked time.Time
	strikes int
	// requests, left and resets are GitHub's primary limit; zero if unknown.
	requests, left int
	resets         time.Time
	used           time.Time
}

func newLimits() *limits { return &limits{writing: make(chan struct{}, 1)} }

// blockedUntil returns until when no request may be sent, or zero.
func (l *limits) blockedUntil(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked.After(now) {
		return l.blocked
	}
	return time.Time{}
}

// admit counts a write and returns zero, or returns when to try it again.
func (l *limits) admit(now time.Time, w write) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.turn(now, w); !at.IsZero() {
		return at
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(t ticket) bool { return t.key == w.key })
	l.writes = l.writes.add(now, writesPerMinute)
	if w.creates {
		l.creates = l.creates.add(now, createsPerHour)
	}
	if w.priority == v1alpha1.WriteReaction {
		l.early = l.early.add(now, earlyPerHour)
	}
	return time.Time{}
}

// waitingUntil returns when to try a write, or zero if it has its turn now. It does not count the write.
func (l *limits) waitingUntil(now time.Time, w write) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turn(now, w)
}

// turn returns zero if a write has its turn, or gives it a place and returns the time. The lock is held.
func (l *limits) turn(now time.Time, w write) time.Time {
	l.waiting = slices.DeleteFunc(l.waiting, func(t ticket) bool { return now.Sub(t.at) > ticketGrace })
	ahead := len(l.waiting)
	if i := slices.IndexFunc(l.waiting, func(t ticket) bool { return t.key == w.key }); i >= 0 {
		if at := l.waiting[i].at; at.After(now) && l.waiting[i].priority <= w.priority {
			return at
		}
		ahead = i
	}
	at := l.next(now, w, l.waiting[:ahead])
	if !at.After(now) {
		return time.Time{}
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(t ticket) bool { return t.key == w.key })
	if len(l.waiting) < maxTickets {
		i, _ := slices.BinarySearchFunc(l.waiting, at, func(t ticket, at time.Time) int { return cmpAfter(t.at, at) })
		l.waiting = slices.Insert(l.waiting, i, ticket{w, at})
	}
	return at
}

// cmpAfter orders a ticket before the place of a new one with the same time, so that the new one comes last.
func cmpAfter(a, b time.Time) int {
	if a.After(b) {
		return 1
	}
	return -1
}

// next returns the earliest time for a write: after the block, within its share of each rate, and after those of the writes ahead that have the
// same or a higher priority. The lock is held.
func (l *limits) next(now time.Time, w write, ahead []ticket) time.Time {
	at := l.blocked
	later := func(t time.Time) {
		if t.After(at) {
			at = t
		}
	}
	if w.priority >= v1alpha1.WriteProgress && l.isLow(now) {
		later(l.resets)
	}
	var all, creating []time.Time
	for _, t := range ahead {
		if t.priority > w.priority {
			continue
		}
		all = append(all, t.at)
		if t.creates {
			creating = append(creating, t.at)
		}
	}
	share := func(most int, per time.Duration) rate { return rate{most * shares[w.priority] / 100, per} }
	later(l.writes.next(share(writesPerMinute, time.Minute), all))
	if w.creates {
		later(l.creates.next(share(createsPerMinute, time.Minute), creating))
		later(l.creates.next(share(createsPerHour, time.Hour), creating))
	}
	return at
}

// isLow reports whether less than a tenth of the primary limit is left; the rest is for results. The lock is held.
func (l *limits) isLow(now time.Time) bool {
	return l.requests > 0 && l.left < l.requests/10 && l.resets.After(now)
}

// block stops all requests until a time, at most maxPause from now.
func (l *limits) block(now, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blockLocked(now, until)
}

func (l *limits) blockLocked(now, until time.Time) {
	if latest := now.Add(maxPause); until.After(latest) {
		until = latest
	}
	if earliest := now.Add(time.Second); until.Before(earliest) {
		until = earliest
	}
	if until.After(l.blocked) {
		l.blocked = until
	}
}

// strike blocks after a secondary limit that has no time. Responses to requests that were under way count as one.
func (l *limits) strike(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked.After(now) {
		return
	}
	pause := min(firstBlock<<min(l.strikes, 10), maxPause)
	l.strikes++
	l.blockLocked(now, now.Add(pause))
}

// accepted notes that GitHub accepted a request.
func (l *limits) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strikes = 0
}

// note keeps GitHub's figures of the primary limit, and blocks if nothing is left of it.
func (l *limits) note(now time.Time, requests, left int, resets time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests, l.left, l.resets = requests, left, resets
	if left == 0 && resets.After(now) {
		l.blockLocked(now, resets)
	}
}

// Limits is what is left of the limits of one installation.
type Limits struct {
	// Installation is 0 for the App itself.
	Installation int64
	// Requests is GitHub's primary limit per hour, RequestsLeft what is left of it until Resets. They are zero until GitHub has returned them.
	Requests, RequestsLeft int
	Resets                 time.Time
	// CreatesLeft is how much content may be created in this minute and in this hour.
	CreatesLeftMinute, CreatesLeftHour int
	// Waiting is the number of writes that wait.
	Waiting int
	// Blocked is how long no request is sent.
	Blocked time.Duration
}

func (l *limits) snapshot(now time.Time) Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Limits{
		Requests: l.requests, RequestsLeft: l.left, Resets: l.resets, Waiting: len(l.waiting), Blocked: max(0, l.blocked.Sub(now)),
		CreatesLeftMinute: createsPerMinute - l.creates.since(now, time.Minute),
		CreatesLeftHour:   createsPerHour - l.creates.since(now, time.Hour),
	}
}

// hasRoom reports whether more than half of the limits is left.
func (l *limits) hasRoom(now time.Time) bool {
	s := l.snapshot(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.Blocked == 0 && !l.isLow(now) && s.CreatesLeftMinute > createsPerMinute/2 && s.CreatesLeftHour > createsPerHour/2 &&
		l.early.since(now, time.Minute) < earlyPerMinute && l.early.since(now, time.Hour) < earlyPerHour
}

// limitsOf returns the limits of an installation.
func (c *Client) limitsOf(installation int64) *limits {
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.limits[installation]
	if l == nil {
		l = newLimits()
		c.evict()
		c.limits[installation] = l
	}
	l.mu.Lock()
	l.used = now
	l.mu.Unlock()
	return l
}

// evict makes room for the limits of another installation. The lock is held.
func (c *Client) evict() {
	if len(c.limits) < maxInstallations {
		return
	}
	var oldest int64
	var since time.Time
	for id, l := range c.limits {
		l.mu.Lock()
		if since.IsZero() || l.used.Before(since) {
			oldest, since = id, l.used
		}
		l.mu.Unlock()
	}
	delete(c.limits, oldest)
}

// HasRoom reports whether more than half of what an installation may create is left, as far as this process knows. A replica that is not
// the leader may react to a comment only then. It has no more than ten reactions a minute, the margin that the leader leaves.
func (c *Client) HasRoom(installation int64) bool {
	return c.limitsOf(installation).hasRoom(c.clock.Now())
}

// Limits returns what is left of the limits of the installations that were used lately.
func (c *Client) Limits() []Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Limits, 0, len(c.limits))
	for id, l := range c.limits {
		s := l.snapshot(c.clock.Now())
		s.Installation = id
		all = append(all, s)
	}
	return all
}
