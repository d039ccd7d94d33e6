package webhook

import (
	"sync"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// The limits on the comments of one sender about one repository: senderBurst at once, then one more each senderEvery. GitHub lets an
// account write 500 comments an hour.
const (
	senderBurst = 200
	senderEvery = time.Minute
	// maxBuckets and maxCharged bound the memory of the limiter.
	maxBuckets = 10_000
	maxCharged = 4096
)

// limiter has a token bucket for each sender and repository. A delivery is charged once, however often it is delivered.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[bucketKey]bucket
	// charged are the deliveries that were charged last; ring has them in their order.
	charged map[string]bool
	ring    []string
	next    int
}

type bucketKey struct{ repository, sender int64 }

// bucket has its tokens as of a time. A bucket that is full is not stored.
type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, buckets: map[bucketKey]bucket{}, charged: map[string]bool{}, ring: make([]string, maxCharged)}
}

// allow charges a delivery to its sender, and reports whether the sender had a token left.
func (l *limiter) allow(e v1alpha1.Event, guid string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.charged[guid] {
		return true
	}
	key := bucketKey{e.Repository.ID, e.Sender.ID}
	b := l.current(key)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	if _, isKnown := l.buckets[key]; !isKnown && len(l.buckets) >= maxBuckets {
		l.evict()
	}
	l.buckets[key] = b
	delete(l.charged, l.ring[l.next])
	l.ring[l.next], l.charged[guid] = guid, true
	l.next = (l.next + 1) % maxCharged
	return true
}

// refund returns the token of a delivery that was not stored.
func (l *limiter) refund(e v1alpha1.Event, guid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.charged[guid] {
		return
	}
	delete(l.charged, guid)
	key := bucketKey{e.Repository.ID, e.Sender.ID}
	b := l.current(key)
	b.tokens = min(b.tokens+1, senderBurst)
	l.buckets[key] = b
}

// current returns a bucket with the tokens that it has now.
func (l *limiter) current(key bucketKey) bucket {
	now := l.now()
	b, isKnown := l.buckets[key]
	if !isKnown {
		return bucket{senderBurst, now}
	}
	b.tokens = min(senderBurst, b.tokens+float64(max(0, now.Sub(b.at)))/float64(senderEvery))
	b.at = now
	return b
}

// evict removes the buckets that are full again, or else any one of them.
func (l *limiter) evict() {
	for key := range l.buckets {
		if l.current(key).tokens >= senderBurst {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) < maxBuckets {
			break
		}
		delete(l.buckets, key)
	}
}
