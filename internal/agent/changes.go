package agent

import (
	"context"
	"sync"
	"time"
)

// changes counts what changed and wakes those who wait for it.
type changes struct {
	mu      sync.Mutex
	version int64
	next    chan struct{}
}

// newChanges counts from the time of day, so that a restarted agent has versions of its own.
func newChanges() *changes {
	return &changes{version: time.Now().UnixMicro(), next: make(chan struct{})}
}

// bump says that something changed.
func (c *changes) bump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	close(c.next)
	c.next = make(chan struct{})
}

// now is the version and a channel that is closed with the next change.
func (c *changes) now() (int64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version, c.next
}

// until waits until done says so, looking after each change, or until the wait is over or the context ends. It returns what done
// said last.
func (c *changes) until(ctx context.Context, wait time.Duration, done func(version int64) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		version, next := c.now()
		if done(version) {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}
