//go:build apiserver

package gauntlet

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// pauseAnswer is how long GitHub holds the answer that a paused leader waits for: less than the new leader needs to take over.
const pauseAnswer = 500 * time.Millisecond

// TestPausedLeader stops the leader for longer than its lease while it waits for an answer, after which it would write. When it continues,
// another one has done the work: its write must not reach GitHub or the API server.
func TestPausedLeader(t *testing.T) {
	aside(t)
	for name, tc := range map[string]struct {
		kind int
		// path is of the read before the write.
		path string
		// deletes removes the Run meanwhile, so that a late creation would make another one.
		deletes bool
	}{
		"before a reply":         {kindNamed("help"), "/repos/*/*/issues/*/comments", false},
		"before the check run":   {kindNamed("tag"), "/repos/*/*/commits/*/check-runs", false},
		"before the Run is made": {kindNamed("test"), "/repos/*/*/commits/*/branches-where-head", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.start()
			leader := w.leader()
			reading := make(chan struct{})
			w.onRequest("GET", tc.path, func() { close(reading) })
			w.github.Inject(githubtest.Fault{Method: "GET", Path: tc.path, Times: 1, Delay: pauseAnswer})
			all := []sent{w.send(kinds[tc.kind], w.orgs[0], 1)}
			<-reading
			leader.signal(syscall.SIGSTOP)
			t.Cleanup(func() { leader.signal(syscall.SIGCONT) })
			w.within("the other replica does the work", time.Minute, func() bool { return len(w.read(all).missing(all)) == 0 })
			if tc.deletes {
				w.deleteRuns()
			}
			time.Sleep(lease)
			leader.signal(syscall.SIGCONT)
			w.within("the old leader ends", time.Minute, func() bool { return leader.exits() > 0 })
			w.settle(all, time.Minute)
			if lines := leader.logged("not the leader any more"); len(lines) == 0 {
				t.Error("the old leader tried no write: this test shows nothing")
			} else {
				t.Log(lines[0])
			}
			if tc.deletes && len(w.runs()) > 0 {
				t.Error("a deleted Run was made again")
			}
		})
	}
}

func kindNamed(name string) int {
	for i, k := range kinds {
		if k.name == name {
			return i
		}
	}
	panic(name)
}

// onRequest calls a function once, before GitHub serves the first request that matches. It has to come before faults of the same path.
func (w *world) onRequest(method, glob string, do func()) {
	var once sync.Once
	w.github.Inject(githubtest.Fault{Method: method, Path: glob, Match: func(*http.Request) bool { once.Do(do); return false }})
}

func (w *world) runs() []v1alpha1.Run {
	w.t.Helper()
	var list v1alpha1.RunList
	w.must(admin.List(w.t.Context(), &list, client.InNamespace(w.space)))
	return list.Items
}

// deleteRuns deletes all Runs and waits until they are gone.
func (w *world) deleteRuns() {
	w.t.Helper()
	for _, r := range w.runs() {
		w.must(client.IgnoreNotFound(admin.Delete(w.t.Context(), &r)))
	}
	w.within("the Runs are gone", time.Minute, func() bool { return len(w.runs()) == 0 })
}
