//go:build apiserver

package apiserver

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// outage sits between processes and the API server: while it is on, no request gets through and no watch delivers events.
type outage struct {
	mu   sync.Mutex
	down bool
	// lost counts the requests that did not get through.
	lost int
	open map[io.Closer]bool
}

// newOutage adds an outage, which is off at first, to the connections of processes that start later.
func newOutage(t *testing.T) *outage {
	o := &outage{open: map[io.Closer]bool{}}
	real := config
	config = rest.CopyConfig(real)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) { return o.carry(next, req) })
	})
	t.Cleanup(func() { config = real })
	return o
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (o *outage) carry(next http.RoundTripper, req *http.Request) (*http.Response, error) {
	if o.loses() {
		return nil, errDown
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		_ = resp.Body.Close()
		return nil, errDown
	}
	resp.Body = &body{ReadCloser: resp.Body, of: o}
	o.open[resp.Body] = true
	return resp, nil
}

func (o *outage) loses() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		o.lost++
	}
	return o.down
}

// begin starts the outage; it also aborts every response that is still being read.
func (o *outage) begin() {
	o.mu.Lock()
	o.down, o.lost = true, 0
	open := o.open
	o.open = map[io.Closer]bool{}
	o.mu.Unlock()
	for b := range open {
		_ = b.Close()
	}
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = false
}

func (o *outage) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}

// body is a response body that an outage can abort.
type body struct {
	io.ReadCloser
	of *outage
}

func (b *body) Close() error {
	b.of.mu.Lock()
	delete(b.of.open, b)
	b.of.mu.Unlock()
	return b.ReadCloser.Close()
}

// The API server is down for a minute during a stage. Changes in the meantime are noticed afterwards.
func TestAMinuteWithoutAPIServer(t *testing.T) {
	for _, h := range halts {
		t.Run(h.name, func(t *testing.T) {
			w, o := newWorld(t), newOutage(t)
			h.hold(w)
			w.process()
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			o.begin()
			h.release(w)
			w.clock.advance(time.Minute)
			w.eventually("the process misses the API server", func() bool { return o.count() > 5 })
			o.end()
			w.once(w.until(run, "the run passes", kept))
		})
	}
}

// The registry is down for a minute: before the builds, during the tests, and when the record is pushed.
func TestAMinuteWithoutRegistry(t *testing.T) {
	for _, tc := range []struct {
		name string
		ops  []string
	}{
		{"builds", []string{"Ping"}},
		{"results", []string{"History"}},
		{"record", []string{"PushRecord"}},
		{"links", []string{"LinkImages"}},
		{"history", []string{"UpdateHistory"}},
		{"everything", []string{"Ping", "ImageConfig", "History", "PushRecord", "LinkImages", "UpdateHistory"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := split(t)
			for _, op := range tc.ops {
				w.github.failAlways(op, failure.Transientf(v1alpha1.ReasonUnavailable, errDown, "The registry did not answer"))
			}
			w.process()
			run := w.start()
			w.eventually("the registry is asked again", func() bool { return w.github.count(tc.ops[0]) > 0 })
			w.later(time.Minute, run)
			for _, op := range tc.ops {
				w.github.mend(op)
			}
			w.poke(run)
			w.onceSplit(w.until(run, "the run passes", kept), 0)
			if run = w.get(run); !is(run, v1alpha1.ConditionRecorded, metav1.ConditionTrue) {
				t.Errorf("Recorded: %s", reason(run, v1alpha1.ConditionRecorded))
			}
		})
	}
}

// GitHub returns 502 for five minutes, from the start and during the tests.
func TestFiveMinutesWithoutGitHub(t *testing.T) {
	bad := failure.Transientf(v1alpha1.ReasonUnavailable, errDown, "GitHub answered 502 Bad Gateway")
	ops := []string{"Archive", "CloneToken", "Hints", "UpsertCheckRun", "UpsertComment"}
	for _, h := range []halt{halts[1], halts[3], {"the start", func(*world) {}, func(*v1alpha1.Run) bool { return true }, func(*world) {}}} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h.hold(w)
			if h.name != "the start" {
				w.process()
			}
			run := w.until(w.start(), "the run gets to "+h.name, h.reached)
			for _, op := range ops {
				w.github.failAlways(op, bad)
			}
			if h.name == "the start" {
				w.process()
			}
			h.release(w)
			before := w.github.count("UpsertCheckRun")
			for range 5 {
				w.later(time.Minute, run)
				w.eventually("GitHub is asked", func() bool { return w.github.count("UpsertCheckRun") > before })
				before = w.github.count("UpsertCheckRun")
			}
			for _, op := range ops {
				w.github.mend(op)
			}
			w.later(time.Minute, run) // More than the longest pause between two attempts.
			w.once(w.until(run, "the run passes", kept))
		})
	}
}

// A clock that is corrected by an hour, forward or back, does not end a Run that is still within its limits.
func TestAClockThatJumps(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		for _, h := range append(halts[:len(halts):len(halts)], reporting) {
			t.Run(h.name+" "+by.String(), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				h.hold(w)
				w.process()
				run := w.until(w.start(), "the run gets to "+h.name, h.reached)
				w.later(by, run)
				h.release(w)
				run = w.until(run, "the run ends", func(r *v1alpha1.Run) bool { return kept(r) || over(r) })
				w.endedByTheClock(run, by)
			})
		}
	}
}

// endedByTheClock checks that a Run passed or, if an hour exceeds its limits, reports a timeout.
func (w *world) endedByTheClock(run *v1alpha1.Run, by time.Duration) {
	w.t.Helper()
	if run.Status.Outcome == v1alpha1.OutcomePassed {
		if is(run, v1alpha1.ConditionStackKept, metav1.ConditionTrue) {
			w.once(run)
		}
		return
	}
	w.t.Logf("%s: %s", run.Status.Outcome, run.Status.Message)
	if by < 0 || run.Status.Outcome != v1alpha1.OutcomeError || !strings.Contains(run.Status.Message, "timeout") && !strings.Contains(run.Status.Message, "gave up after") {
		w.t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
	if n := len(w.github.commentsOn(issueNumber)); n != 1 {
		w.t.Errorf("%d comments", n)
	}
}

// fill turns a process's directory into a tiny full disk; the returned function frees space.
func (w *world) fill(p *process) (makeRoom func()) {
	w.t.Helper()
	dir := p.runner.Dir
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		w.t.Skipf("a tiny disk cannot be mounted: %v", err)
	}
	w.t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err == nil {
		w.t.Fatal("the disk is not full")
	}
	return func() { w.must(os.Remove(filler)) }
}

func TestAFullDiskThatGetsRoomAgain(t *testing.T) {
	w := newWorld(t)
	halts[0].hold(w)
	p := w.process()
	run := w.until(w.start(), "the run gets to "+halts[0].name, halts[0].reached)
	makeRoom := w.fill(p)
	halts[0].release(w)
	w.logged("will be tried again", "no space left on device")
	w.later(time.Minute, run)
	makeRoom()
	w.poke(run)
	w.once(w.until(run, "the run passes", kept))
}

func TestAFullDiskThatStaysFull(t *testing.T) {
	w := newWorld(t)
	halts[0].hold(w)
	p := w.process()
	run := w.until(w.start(), "the run gets to "+halts[0].name, halts[0].reached)
	w.fill(p)
	halts[0].release(w)
	w.until(run, "the first failure is noted", func(r *v1alpha1.Run) bool {
		return len(r.Status.Stages) > 0 && r.Status.Stages[0].FailingSince != nil
	})
	w.later(11*time.Minute, run)
	run = w.until(run, "the run ends", over)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionCheckedOut, v1alpha1.ReasonTimeout, "no room", "10m0s")
	w.nothingLeft(run)
}

// A record needs no space on Conductor's disk: with a full disk it has the logs, and only the plan, which was on disk, is missing.
func TestARecordNeedsNoDisk(t *testing.T) {
	w := newWorld(t)
	halts[3].hold(w)
	p := w.process()
	run := w.until(w.start(), "the run gets to "+halts[3].name, halts[3].reached)
	w.fill(p)
	halts[3].release(w)
	run = w.until(run, "the run passes", kept)
	w.once(run)
	layers := strings.Join(w.shelf.layers(run), " ")
	if !strings.Contains(layers, "result.json") || !strings.Contains(layers, "logs/test-") || strings.Contains(layers, "plan.yaml") || !is(run, v1alpha1.ConditionRecorded, metav1.ConditionTrue) {
		t.Errorf("the record has %s; Recorded: %s", layers, reason(run, v1alpha1.ConditionRecorded))
	}
}

// The stack's agent does not respond for a while, but the tests continue.
func TestAnAgentThatIsSilentForAWhile(t *testing.T) {
	w := newWorld(t)
	halts[3].hold(w)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.agents.hush(true)
	w.later(20*time.Second, run)
	w.agents.hush(false)
	halts[3].release(w)
	w.once(w.until(run, "the run passes", kept))
}

// It does not respond when the tests end, but soon after.
func TestAnAgentThatIsSilentWhenTheTestsEnd(t *testing.T) {
	w := newWorld(t)
	halts[3].hold(w)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.agents.hush(true)
	halts[3].release(w)
	w.eventually("the pod ends", func() bool { return w.testsEnded(run) })
	w.later(3*time.Second, run)
	w.later(3*time.Second, run)
	w.agents.hush(false)
	w.once(w.until(run, "the run passes", kept))
}

func (w *world) testsEnded(run *v1alpha1.Run) bool {
	w.t.Helper()
	var pods corev1.PodList
	w.must(admin.List(w.t.Context(), &pods, client.InNamespace(jobs.StackName(run)), client.MatchingLabels{v1alpha1.LabelStage: jobs.StageTest}))
	return len(pods.Items) == 1 && ended(&pods.Items[0]) != nil
}

// It never responds again: the outcome is that of the test's process, or the Run reports what is missing.
func TestAnAgentThatIsSilentToTheEnd(t *testing.T) {
	for name, code := range map[string]int32{"passed": 0, "failed": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			halts[3].hold(w)
			w.process()
			run := w.until(w.start(), "the tests run", halts[3].reached)
			w.agents.hush(true)
			w.node.set("test", exits(code, ""))
			w.eventually("the run has an outcome", func() bool { w.later(30*time.Second, run); return w.get(run).Status.Outcome != "" })
			w.later(11*time.Minute, run)
			run = w.until(run, "the run ends", kept)
			if run.Status.Outcome != v1alpha1.Outcome(name) && !strings.Contains(run.Status.Message, "agent") {
				t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
			}
			if n := len(w.github.commentsOn(issueNumber)); n != 1 {
				t.Errorf("%d comments", n)
			}
		})
	}
}
