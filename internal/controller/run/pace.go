package run

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/diagnose"
)

// lastTold remembers when each Run was last reported, to pace the reports.
type lastTold struct {
	mu sync.Mutex
	at map[types.UID]time.Time
}

// wait is how long a Run's next report has to wait.
func (l *lastTold) wait(uid types.UID, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[uid]
	if !ok {
		return 0
	}
	return diagnose.TimeLeft(at, reportPause, now)
}

// told notes a report; after the last one the Run is forgotten.
func (l *lastTold) told(uid types.UID, now time.Time, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over {
		delete(l.at, uid)
		return
	}
	if l.at == nil {
		l.at = map[types.UID]time.Time{}
	}
	l.at[uid] = now
}
