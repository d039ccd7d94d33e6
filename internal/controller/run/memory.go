package run

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/result"
)

const (
	// defaultResults is the memory for test results in bytes, unless the settings have another.
	defaultResults = 64 << 20
	// readers is how many agents and records are read for results at a time: what is being read of each is not in the budget, and is a
	// few mebibytes.
	readers = 4
)

// results keeps what the suites of Runs showed until it is reported and recorded. A status has no room for it, and what is not here
// is asked of the stack's agent or read from the record again. All results of the process share one budget of memory: where it ends,
// those that a record holds make room first. A suite that finds none loses texts, then cases, and has that among its problems.
type results struct {
	*sessions
	// limit is the budget in bytes, used what is taken of it.
	limit, used int64
	reader      chan struct{}
	// comparing has a place for the one history that is in memory at a time.
	comparing chan struct{}
}

// runResults are those of one Run.
type runResults struct {
	suites map[string]result.Kept
	// again means that they can be read again.
	again bool
}

// newResults has a budget of bytes; 0 is defaultResults.
func newResults(l *sessions, limit int64) *results {
	return &results{sessions: l, limit: cmp.Or(limit, defaultResults), reader: make(chan struct{}, readers), comparing: make(chan struct{}, 1)}
}

// share is memory for the results that are read in one go: at most half of all, so that no suite takes that of the others.
func (c *results) share() result.Grow {
	most := c.limit / 2
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
	for uid, s := range c.runs {
		if bytes <= 0 || c.used+bytes <= c.limit {
			break
		}
		if s.results != nil && s.results.again {
			c.clear(uid)
		}
	}
	if bytes > 0 && c.used+bytes > c.limit {
		return false
	}
	c.used += bytes
	return true
}

// clear drops a Run's results. The lock is held.
func (c *results) clear(run types.UID) {
	c.drop(run, func(s *session) {
		if s.results == nil {
			return
		}
		for _, kept := range s.results.suites {
			c.used -= kept.Size
		}
		s.results = nil
	})
}

// put keeps a result whose memory was asked for. again means that it can be read again.
func (c *results) put(run types.UID, s result.Kept, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(run)
	if of.results == nil {
		of.results = &runResults{suites: map[string]result.Kept{}}
	}
	have := of.results
	c.used -= have.suites[s.Suite.Name].Size
	have.suites[s.Suite.Name] = s
	have.again = again
}

func (c *results) get(run types.UID, suite string) (evidence.Suite, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.find(run).results; have != nil {
		s, ok := have.suites[suite]
		return s.Suite, ok
	}
	return evidence.Suite{}, false
}

// recorded notes that a record holds a Run's results.
func (c *results) recorded(run types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.find(run).results; have != nil {
		have.again = true
	}
}

// forget drops a Run's results.
func (c *results) forget(run types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear(run)
}

// read waits until results may be read. The function that it gives ends that.
func (c *results) read(ctx context.Context) (func(), error) {
	select {
	case c.reader <- struct{}{}:
		return func() { <-c.reader }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait until other results are read: %w", ctx.Err())
	}
}
