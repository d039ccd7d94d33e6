package run

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/result"
)

const (
	// defaultResults is the memory for test results where no setting says otherwise, in bytes.
	defaultResults = 64 << 20
	// readers is how many agents and records are read for results at a time: what is being read of each is not in the budget, and is a
	// few mebibytes.
	readers = 4
)

// results keeps what the suites of Runs showed until it is reported and recorded. A status has no room for it, and what is not here
// is asked of the stack's agent or read from the record again. All results of the process share one budget of memory: where it ends,
// those that a record holds make room first. A suite that finds none loses texts, then cases, and says so in its problems.
type results struct {
	// limit is the budget in bytes; 0 is defaultResults.
	limit int64

	mu     sync.Mutex
	used   int64
	runs   map[types.UID]*runResults
	reader chan struct{}
	// comparing is held while a history is in memory.
	comparing sync.Mutex
}

// runResults are those of one Run.
type runResults struct {
	suites map[string]result.Kept
	// again says that they can be read once more.
	again bool
}

func (c *results) budget() int64 {
	if c.limit > 0 {
		return c.limit
	}
	return defaultResults
}

// share is memory for the results that are read in one go: at most half of all, so that no suite takes that of the others.
func (c *results) share() result.Grow {
	most := c.budget() / 2
	return func(bytes int64) bool {
		if bytes > most || !c.grow(bytes) {
			return false
		}
		most -= bytes
		return true
	}
}

// grow asks for memory; a negative number gives it back.
func (c *results) grow(bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid, run := range c.runs {
		if bytes <= 0 || c.used+bytes <= c.budget() {
			break
		}
		if run.again {
			c.forget(uid)
		}
	}
	if bytes > 0 && c.used+bytes > c.budget() {
		return false
	}
	c.used += bytes
	return true
}

// forget drops a Run's results. The lock is held.
func (c *results) forget(run types.UID) {
	if have := c.runs[run]; have != nil {
		for _, s := range have.suites {
			c.used -= s.Size
		}
		delete(c.runs, run)
	}
}

// put keeps a result whose memory was asked for. again says that it can be read once more.
func (c *results) put(run types.UID, s result.Kept, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = map[types.UID]*runResults{}
	}
	have := c.runs[run]
	if have == nil {
		have = &runResults{suites: map[string]result.Kept{}}
		c.runs[run] = have
	}
	c.used -= have.suites[s.Suite.Name].Size
	have.suites[s.Suite.Name] = s
	have.again = again
}

func (c *results) get(run types.UID, suite string) (evidence.Suite, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.runs[run]; have != nil {
		s, ok := have.suites[suite]
		return s.Suite, ok
	}
	return evidence.Suite{}, false
}

// recorded notes that a record holds a Run's results.
func (c *results) recorded(run types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.runs[run]; have != nil {
		have.again = true
	}
}

func (c *results) drop(run types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(run)
}

// read waits until results may be read. The function that it gives ends that.
func (c *results) read(ctx context.Context) (func(), error) {
	c.mu.Lock()
	if c.reader == nil {
		c.reader = make(chan struct{}, readers)
	}
	slots := c.reader
	c.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait until other results are read: %w", ctx.Err())
	}
}
