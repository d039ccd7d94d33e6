package agent

import (
	"context"
	"sync"
	"time"
)

// changes counts changes and wakes the goroutines that wait for one.
type changes struct {
	mu      sync.Mutex
	version int64
	next    chan struct{}
}

// newChanges starts counting at the current time, so that a restarted agent does not repeat versions.
func newChanges() *changes {
	return &changes{version: time.Now().UnixMicro(), next: make(chan struct{})}
}

// bump records a change.
func (c *changes) bump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	close(c.next)
	c.next = make(chan struct{})
}

// now returns the version and a channel that is closed at the next change.
func (c *changes) now() (int64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version, c.next
}

// until waits until done returns true, the wait is over or the context ends. It calls done once at the start and after each change.
func (c *changes) until(ctx context.Context, wait time.Duration, done func(version int64) bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		version, next := c.now()
		if done(version) {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}
