package run

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
)

// session is what this process holds of one Run: what it has read, what it watches and what it is doing. All of it can be made again.
// Each field belongs to the part of the package that is named after it; release ends them all.
type session struct {
	plan    *runPlan
	step    *step
	reading *step
	pods    *podWatch
	agent   *agentWatch
	images  *runLookups
	results *runResults
	// namespaceMade means that this process has made the stack's namespace and the role bindings in it.
	namespaceMade bool
	// written is the Run as this process wrote it last, until the cache has caught up. A reconcile of an older state does everything again
	// and then fails with a conflict.
	written *v1alpha1.Run
	// reportedAt is when the Run was last reported, to pace the reports.
	reportedAt time.Time
	// posted are the digests of the check runs that GitHub has, until all of a report is posted. A retry would otherwise write them again
	// each time.
	posted map[string][sha256.Size]byte
}

func (s *session) isEmpty() bool {
	return s.plan == nil && s.step == nil && s.reading == nil && s.pods == nil && s.agent == nil && s.images == nil && s.results == nil &&
		!s.namespaceMade && s.written == nil && s.reportedAt.IsZero() && s.posted == nil
}

// sessions are those of all Runs, under one lock that is never held over I/O. The parts of the package that have a share in each session
// hold the same sessions, and in them the lock.
type sessions struct {
	mu   sync.Mutex
	runs map[types.UID]*session
}

// find is the session of a Run; an empty one that is not kept where there is none. The lock is held.
func (l *sessions) find(uid types.UID) *session {
	if s := l.runs[uid]; s != nil {
		return s
	}
	return &session{}
}

// of is the session of a Run, which is made where there is none. The lock is held.
func (l *sessions) of(uid types.UID) *session {
	s := l.runs[uid]
	if s == nil {
		s = &session{}
		if l.runs == nil {
			l.runs = map[types.UID]*session{}
		}
		l.runs[uid] = s
	}
	return s
}

// drop changes the session of a Run, if there is one, and forgets it once it is empty. The lock is held.
func (l *sessions) drop(uid types.UID, change func(*session)) {
	if s := l.runs[uid]; s != nil {
		if change(s); s.isEmpty() {
			delete(l.runs, uid)
		}
	}
}

// keepWritten remembers a Run as a write has left it.
func (l *sessions) keepWritten(run *v1alpha1.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.of(run.UID); s.written == nil || !isOlder(run, s.written) {
		s.written = run.DeepCopy()
	}
}

// newest is the Run as the cache has it, or as it was written if that is newer.
func (l *sessions) newest(cached *v1alpha1.Run) *v1alpha1.Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.find(cached.UID).written; have != nil && isOlder(cached, have) {
		return have.DeepCopy()
	}
	l.drop(cached.UID, func(s *session) { s.written = nil })
	return cached
}

// isOlder reports whether a is an older state than b; false where that cannot be known.
func isOlder(a, b *v1alpha1.Run) bool {
	n, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && n < 0
}

// reportPauseLeft is how long the next report of a Run has to wait.
func (l *sessions) reportPauseLeft(uid types.UID, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.find(uid).reportedAt
	if at.IsZero() {
		return 0
	}
	return diagnose.TimeLeft(at, reportPause, now)
}

// noteReport notes that a Run was reported; the last report is not followed by another.
func (l *sessions) noteReport(uid types.UID, now time.Time, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last {
		l.drop(uid, func(s *session) { s.reportedAt = time.Time{} })
		return
	}
	l.of(uid).reportedAt = now
}

// isPosted reports whether GitHub has a check run as it is.
func (l *sessions) isPosted(uid types.UID, check v1alpha1.CheckRun) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(uid).posted[check.ExternalID] == digestOf(check)
}

// notePosted notes that GitHub has a check run.
func (l *sessions) notePosted(uid types.UID, check v1alpha1.CheckRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of(uid)
	if s.posted == nil {
		s.posted = map[string][sha256.Size]byte{}
	}
	s.posted[check.ExternalID] = digestOf(check)
}

func digestOf(check v1alpha1.CheckRun) [sha256.Size]byte {
	content, _ := json.Marshal(check) // It has only texts, numbers and times.
	return sha256.Sum256(content)
}

// forgetPosted ends a report.
func (l *sessions) forgetPosted(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(uid, func(s *session) { s.posted = nil })
}

// madeNamespace reports whether this process has made the namespace of a Run's stack.
func (l *sessions) madeNamespace(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(uid).namespaceMade
}

func (l *sessions) noteNamespace(uid types.UID, made bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !made {
		l.drop(uid, func(s *session) { s.namespaceMade = false })
		return
	}
	l.of(uid).namespaceMade = true
}

// open gives the parts of the Reconciler their share in the sessions. Setup calls it.
func (r *Reconciler) open() {
	r.sessions = &sessions{}
	r.stacks = newStackPods(r.sessions, r.Kube)
	r.plans = newPlanning(r.sessions, r.Planner, r.Dir, r.Settings.Planning.AtOnce, r.stacks.wakeUp)
	r.steps = newSteps(r.sessions, r.stacks.wakeUp)
	r.agents = &stackAgents{sessions: r.sessions, agents: r.Agents, wake: r.stacks.wakeUp}
	r.lookups = newImageLookups(r.sessions, r.Registry, r.stacks.wakeUp, r.now)
	r.results = newResults(r.sessions, r.Settings.Memory.ResultBytes())
	r.checkouts.size = r.Settings.Checkouts.Bytes()
	if r.guard == nil {
		r.guard = &guard{unclean: r.Unclean, list: r.listRuns}
	}
}

// release ends what a Run needs only while it is in progress. What its suites showed is held until it is reported.
func (r *Reconciler) release(run *v1alpha1.Run) {
	r.steps.forget(run.UID, func() { r.plans.forget(run.UID) })
	r.stacks.forget(run.UID)
	r.agents.forget(run.UID)
	r.lookups.forget(run.UID)
	r.large.forget(run.UID)
	r.guard.forget(run.UID)
	r.sessions.noteNamespace(run.UID, false)
	if isReported(run) || run.DeletionTimestamp != nil {
		r.results.forget(run.UID)
	}
	if run.DeletionTimestamp != nil {
		r.sessions.noteReport(run.UID, r.now(), true)
	}
}

// close ends the watches and the steps of all Runs.
func (r *Reconciler) close() {
	r.steps.close()
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	for uid := range r.sessions.runs {
		r.sessions.drop(uid, func(s *session) {
			if s.pods != nil {
				close(s.pods.stop)
			}
			if s.agent != nil {
				s.agent.stop()
			}
			if s.images != nil {
				s.images.stop()
			}
			s.pods, s.agent, s.images = nil, nil, nil
		})
	}
}
