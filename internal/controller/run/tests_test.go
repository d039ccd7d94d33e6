package run

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/result"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// Two suites of five shards each, and room for four test pods: the suite that runs goes first, and the next one gets what it leaves.
func TestFewTestPodsOfARunAreThereAtATime(t *testing.T) {
	run := testRun("r", "u")
	c := newCluster(t, interceptor.Funcs{}, run)
	c.Settings.Stacks.TestsAtOnce = 4
	files := checkout(t, map[string]string{
		".conductor.yaml":       "version: 1\ntests:\n  a: {image: busybox, command: x, shards: 5}\n  b: {image: busybox, command: x, shards: 5}\n",
		"docker-compose.qa.yml": "services:\n  web: {image: nginx}\n",
	})
	set := settings.Default()
	set.Image = "conductor"
	made, err := plan.Make(plan.Input{Dir: files, Run: run, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	s := &state{run: run, plan: &loaded{Plan: made}, now: noon, images: &stackImages{}}
	s.status().Namespace = jobs.StackName(run)
	first, second := suiteStatus(s.status(), "a"), suiteStatus(s.status(), "b")
	first = suiteStatus(s.status(), "a") // The list has grown.
	prepare := func() {
		t.Helper()
		if err := c.createFirstAttempts(t.Context(), s, s.plan.Suites[0], first); err != nil {
			t.Fatal(err)
		}
		if !isPrepared(first) {
			return
		}
		if err := c.createNextAttempts(t.Context(), s, 1); err != nil {
			t.Fatal(err)
		}
	}
	for ended, want := range []string{"4 and 0", "5 and 0", "5 and 1", "5 and 2"} {
		prepare()
		prepare() // Nothing more fits.
		if got := fmt.Sprintf("%d and %d", len(first.Attempts), len(second.Attempts)); got != want {
			t.Errorf("when %d have ended there are attempts %s, want %s", ended, got, want)
		}
		if open := openAttempts(s.status()); open > 4 {
			t.Errorf("%d test pods at a time", open)
		}
		first.Attempts[ended].Outcome = v1alpha1.OutcomePassed
	}
	var list batchv1.JobList
	if err := c.Client.List(t.Context(), &list, client.InNamespace(jobs.StackName(run))); err != nil || len(list.Items) != 7 {
		t.Errorf("%d Jobs, %v", len(list.Items), err)
	}
}

// newSuites is a Run whose stack is up since noon; its agent answers.
func newSuites(t *testing.T, config string, compose ...string) *rig {
	t.Helper()
	files := map[string]string{".conductor.yaml": config}
	if len(compose) > 0 {
		files["docker-compose.qa.yml"] = compose[0]
	}
	w := newRig(t, files)
	w.begin()
	w.setPods(w.agentUp())
	w.watched()
	return w
}

// attempts describes the attempts of a suite: SHARD-NUMBER, and OUTCOME once they have ended.
func attempts(st *v1alpha1.SuiteStatus) string {
	var out []string
	for _, a := range st.Attempts {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%d-%d %s", a.Shard, a.Number, a.Outcome), " "))
	}
	return strings.Join(out, ", ")
}

// released describes the attempts that the agent has released, and forgets them.
func (a *puppet) takeReleased() string {
	var out []string
	for _, key := range a.released {
		out = append(out, fmt.Sprintf("%s/%d-%d", key.Suite, key.Shard, key.Number))
	}
	a.released = nil
	return strings.Join(out, ", ")
}

// Suites share a stack: the pods of the next one are made while one runs, and run after it. What fails is retried, a shard by itself.
func TestSuitesRunOneAfterTheOther(t *testing.T) {
	w := newSuites(t, "version: 1\ntests:\n  a: {image: busybox, command: x, retry: 1}\n  b: {image: busybox, command: x, shards: 2}\n")
	for i, step := range []struct {
		up       bool // the stack
		seen     []evidence.AttemptState
		a, b     string // the attempts
		released string
		doing    string
		outcome  v1alpha1.Outcome
	}{
		{a: "0-1", b: "", doing: ""},
		{up: true, a: "0-1", b: "0-1, 1-1", released: "a/0-1", doing: "Running a"},
		{up: true, seen: []evidence.AttemptState{endedAt("a", 0, 1, 1, time.Second)}, a: "0-1 failed, 0-2", b: "0-1, 1-1", doing: "Running a"},
		{up: true, a: "0-1 failed, 0-2", b: "0-1, 1-1", released: "a/0-2", doing: "Running a"},
		{up: true, seen: []evidence.AttemptState{endedAt("a", 0, 1, 1, time.Second), endedAt("a", 0, 2, 0, time.Minute)},
			a: "0-1 failed, 0-2 passed", b: "0-1, 1-1", released: "b/0-1, b/1-1", doing: "Running b"},
		{up: true, seen: []evidence.AttemptState{endedAt("b", 0, 1, 0, time.Minute)}, a: "0-1 failed, 0-2 passed", b: "0-1 passed, 1-1",
			doing: "Running b"},
		{up: true, seen: []evidence.AttemptState{endedAt("b", 0, 1, 0, time.Minute), endedAt("b", 1, 1, 2, time.Minute)},
			a: "0-1 failed, 0-2 passed", b: "0-1 passed, 1-1 failed", doing: "Failed: b", outcome: v1alpha1.OutcomeFailed},
	} {
		if step.up && !w.state().isTrue(v1alpha1.ConditionStackReady) {
			w.ended(v1alpha1.ConditionStackReady, 0)
		}
		w.now = noon.Add(time.Duration(i) * time.Minute)
		w.agent.seen(step.seen...)
		w.watched()
		s, err := w.reconcile(w.reconcileTests)
		if err != nil {
			t.Fatalf("reconcile %d: %v", i, err)
		}
		a, b := attempts(suiteStatus(s.status(), "a")), attempts(suiteStatus(s.status(), "b"))
		if a != step.a || b != step.b {
			t.Errorf("reconcile %d: a has %q and b %q, want %q and %q", i, a, b, step.a, step.b)
		}
		if got := w.agent.takeReleased(); got != step.released {
			t.Errorf("reconcile %d released %q, want %q", i, got, step.released)
		}
		if c := condition(s, v1alpha1.ConditionTestsPassed); c.Message != step.doing || s.status().Outcome != step.outcome {
			t.Errorf("reconcile %d: %q, outcome %q", i, c.Message, s.status().Outcome)
		}
	}
	if st := suiteStatus(&w.run.Status, "b"); st.ExitCode == nil || *st.ExitCode != 2 || st.FinishedAt == nil {
		t.Errorf("the suite that failed: %+v", st)
	}
}

// A suite that ends has its test cases, the end of its log, and what is new in comparison with the branch.
func TestASuiteThatEndsHasItsResult(t *testing.T) {
	w := newSuites(t, rigConfig)
	w.ended(v1alpha1.ConditionStackReady, 0)
	w.run.Status.Branch = "main"
	failed := evidence.Case{Class: "shop", Name: "pays", Status: evidence.Failed, Message: "got 502"}
	passed := evidence.Case{Class: "shop", Name: "logs in", Status: evidence.Passed}
	before := evidence.Suite{Name: "e2e", Outcome: "passed", Cases: []evidence.Case{{Class: "shop", Name: "pays", Status: evidence.Passed}, passed}}
	w.shelf.history = map[string]*evidence.History{"main/e2e": new(result.Record(nil, "acme/shop", "main", "e2e", result.Entry("shop-0", "b", before)))}
	if _, err := w.reconcile(w.reconcileTests); err != nil {
		t.Fatal(err)
	}
	ended := endedAt("e2e", 0, 1, 1, time.Minute)
	w.agent.cases = map[evidence.AttemptKey][]evidence.Case{ended.Key: {failed, passed}}
	w.agent.seen(ended)
	w.watched()
	w.agent.tail = "1 of 2 tests failed\n"
	for _, step := range []struct {
		pod     podChange
		after   time.Duration
		open    bool
		requeue time.Duration
	}{
		{running, time.Minute + time.Second, true, 100 * time.Millisecond}, // The kubelet may not have the end of the log yet.
		{running, time.Minute + 2*time.Second, false, 0},
	} {
		w.now = noon.Add(step.after)
		w.setPods(w.agentUp(), w.testPod("e2e", 0, 1, step.pod))
		s, err := w.reconcile(w.reconcileTests)
		if err != nil || (suiteStatus(s.status(), "e2e").Outcome == "") != step.open || s.requeue != step.requeue {
			t.Fatalf("after %s: %v, %+v, requeue after %s", step.after, err, s.status().Suites, s.requeue)
		}
	}
	st := suiteStatus(&w.run.Status, "e2e")
	if st.Totals == nil || st.Totals.Tests != 2 || st.Totals.Failed != 1 || len(st.Failures) != 1 || st.Failures[0].Message != "got 502" {
		t.Errorf("totals %+v, failures %+v", st.Totals, st.Failures)
	}
	if st.NewlyFailing == nil || *st.NewlyFailing != 1 || st.NewlyFixed == nil || *st.NewlyFixed != 0 {
		t.Errorf("newly failing %v, newly fixed %v", st.NewlyFailing, st.NewlyFixed)
	}
	if wantText(t, st.Log, "1 of 2 tests failed"); st.Outcome != v1alpha1.OutcomeFailed || !st.FinishedAt.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("%s at %s: %q", st.Outcome, st.FinishedAt, st.Log)
	}
	if full, ok := w.results.get(w.run.UID, "e2e"); !ok || len(full.Cases) != 2 {
		t.Errorf("in memory: %+v", full)
	}
}

// A suite without the agent's answers has the outcome of its pods, and reports what is missing.
func TestASuiteEndsWithoutItsAgent(t *testing.T) {
	w := newSuites(t, rigConfig)
	w.ended(v1alpha1.ConditionStackReady, 0)
	if _, err := w.reconcile(w.reconcileTests); err != nil {
		t.Fatal(err)
	}
	w.agent.err = errors.New("connection refused")
	w.setPods(w.agentUp(), w.testPod("e2e", 0, 1, exited(1, "Error", time.Minute)))
	w.now = noon.Add(2 * time.Minute)
	s, err := w.reconcile(w.reconcileTests)
	if err != nil {
		t.Fatal(err)
	}
	st := suiteStatus(s.status(), "e2e")
	if st.Outcome != v1alpha1.OutcomeFailed || s.status().Outcome != v1alpha1.OutcomeFailed {
		t.Errorf("suite %s, run %s", st.Outcome, s.status().Outcome)
	}
	wantText(t, strings.Join(st.Problems, "\n"), "agent did not answer", "test reports could not be read: connection refused")
	wantText(t, st.Log, "fake logs") // The kubelet's.
}

func TestTestsWaitForWhatTheyNeed(t *testing.T) {
	for _, tc := range []struct {
		name     string
		set      func(*rig, *state)
		attempts string
		doing    string
	}{
		{"a plan", func(_ *rig, s *state) { s.plan = nil }, "", ""},
		{"a namespace", func(_ *rig, s *state) { s.status().Namespace = "" }, "", ""},
		{"an open stage", func(_ *rig, s *state) { s.fail(v1alpha1.ConditionTestsPassed, v1alpha1.ReasonSkipped, "skipped") }, "", "skipped"},
		{"a stack", func(*rig, *state) {}, "0-1", ""},
		{"an image that is built", func(w *rig, s *state) {
			w.plan.Suites[0].Build = "tests"
			w.ended(v1alpha1.ConditionStackReady, 0)
		}, "", ""},
		{"an image that is resolved", func(w *rig, _ *state) { w.plan.Suites[0].Pending = true }, "", ""},
		{"nothing", func(w *rig, _ *state) { w.ended(v1alpha1.ConditionStackReady, 0) }, "0-1", "Running e2e"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newSuites(t, rigConfig)
			s := w.state()
			tc.set(w, s)
			if err := w.reconcileTests(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := attempts(suiteStatus(s.status(), "e2e")); got != tc.attempts || condition(s, v1alpha1.ConditionTestsPassed).Message != tc.doing {
				t.Errorf("attempts %q, %q", got, condition(s, v1alpha1.ConditionTestsPassed).Message)
			}
		})
	}
}

// An attempt's Job has its image by digest where that was built here, and is adopted where a crash left it behind.
func TestTheJobOfAnAttemptIsMadeOnce(t *testing.T) {
	w := newSuites(t, "version: 1\ntests: {e2e: {command: run}}\n")
	if w.plan.Suites[0].Build == "" {
		t.Fatalf("the suite's image is not built: %+v", w.plan.Suites[0])
	}
	img := imageStatus(&w.run.Status, w.plan.Suites[0].Build)
	img.Repository, img.Digest = "registry.example/acme/shop/tests", someDigest
	for i := range 2 {
		if _, err := w.reconcile(w.reconcileTests); err != nil {
			t.Fatal(err)
		}
		var list batchv1.JobList
		if err := w.Client.List(t.Context(), &list); err != nil || len(list.Items) != 1 || list.Items[0].Spec.Template.Spec.Containers[0].Image != img.Reference() {
			t.Fatalf("after process %d: %+v, %v", i, list.Items, err)
		}
		if st := suiteStatus(&w.run.Status, "e2e"); attempts(st) != "0-1" {
			t.Errorf("after process %d: attempts %q", i, attempts(st))
		}
		w.run.Status.Suites = nil // The process ended before the status was stored.
	}
	w.refuses["create Job"] = errors.New("etcd is away")
	if _, err := w.reconcile(w.reconcileTests); err == nil || len(suiteStatus(&w.run.Status, "e2e").Attempts) > 0 {
		t.Errorf("a Job that is not made: %v, %+v", err, w.run.Status.Suites)
	}
}

func TestWhatASuiteRunsIsFoundInItsImage(t *testing.T) {
	const ref = "shop/tests@" + someDigest
	for _, tc := range []struct {
		name    string
		config  string
		known   bool
		server  error
		argv    string
		kind    failure.Kind
		because string
		want    string
	}{
		{name: "a command", config: rigConfig, argv: "run"},
		{name: "the image's own", config: "version: 1\ntests: {e2e: {service: sut}}\n", known: true, argv: "/entry pytest -q"},
		{name: "an image without a command", config: "version: 1\ntests: {e2e: {service: sut}}\n", kind: failure.Terminal,
			because: v1alpha1.ReasonInvalidConfig, want: "tests.e2e.command"},
		{name: "a registry that is away", config: "version: 1\ntests: {e2e: {service: sut}}\n", server: errors.New("no route"), kind: failure.Transient,
			because: v1alpha1.ReasonUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newSuites(t, tc.config, "services: {db: {image: 'postgres:17'}, sut: {image: 'shop/tests'}}\n")
			w.shelf.imageServer.err = tc.server
			s := w.state()
			if tc.known {
				s.images.Configs[ref] = compose.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"pytest", "-q"}}
			}
			argv, err := w.findArgv(t.Context(), s, w.plan.Suites[0], ref)
			wantFailure(t, err, tc.kind, tc.because, tc.want)
			if got := strings.Join(argv, " "); !strings.HasSuffix(got, tc.argv) || (got == "") != (tc.argv == "") {
				t.Errorf("argv %q, want %q", got, tc.argv)
			}
		})
	}
}

// A suite that cannot be run has that for its outcome, and so has the Run.
func TestASuiteThatCannotBeRunNamesTheCause(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pods   func(*rig) []*corev1.Pod
		after  time.Duration
		kind   failure.Kind
		reason string
		want   string
	}{
		{"its agent is on its way", func(*rig) []*corev1.Pod { return nil }, agentStart - time.Second, failure.Waiting, v1alpha1.ReasonPending, "agent"},
		{"its agent did not start", func(*rig) []*corev1.Pod { return nil }, agentStart, failure.Terminal, v1alpha1.ReasonTimeout, "within 3m0s"},
		{"its agent's image cannot be pulled yet", func(w *rig) []*corev1.Pod { return []*corev1.Pod{w.agentPod(waits("ErrImagePull", "i/o timeout"))} },
			agentStart, failure.Waiting, v1alpha1.ReasonPending, "agent cannot start yet"},
		{"its agent's image cannot be pulled", func(w *rig) []*corev1.Pod {
			return []*corev1.Pod{w.agentPod(waits("ErrImagePull", "manifest unknown"))}
		},
			time.Minute, failure.Terminal, v1alpha1.ReasonImageUnavailable, "agent cannot start"},
		{"its agent's image took too long", func(w *rig) []*corev1.Pod { return []*corev1.Pod{w.agentPod()} },
			agentStart + diagnose.PullGrace, failure.Terminal, v1alpha1.ReasonTimeout, "within 9m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newSuites(t, rigConfig)
			w.ended(v1alpha1.ConditionStackReady, 0)
			w.setPods(tc.pods(w)...)
			w.state().begin(v1alpha1.ConditionTestsPassed, "Running e2e")
			w.now = noon.Add(tc.after)
			s := w.state()
			wantFailure(t, w.reconcileTests(t.Context(), s), tc.kind, tc.reason, tc.want)
			st := suiteStatus(s.status(), "e2e")
			if broken := tc.kind == failure.Terminal; (st.Outcome == v1alpha1.OutcomeError) != broken || (st.FinishedAt != nil) != broken {
				t.Errorf("%s at %s", st.Outcome, st.FinishedAt)
			} else if broken {
				wantText(t, st.Message, tc.want)
			}
		})
	}
}

func TestTheOutcomeIsThatOfTheWorstSuite(t *testing.T) {
	suite := func(name string, outcome v1alpha1.Outcome, reason, message string) v1alpha1.SuiteStatus {
		return v1alpha1.SuiteStatus{Name: name, Outcome: outcome, Reason: reason, Message: message}
	}
	passed, failed := suite("a", v1alpha1.OutcomePassed, "", ""), suite("b", v1alpha1.OutcomeFailed, "", "exit code 1")
	for _, tc := range []struct {
		name    string
		suites  []v1alpha1.SuiteStatus
		outcome v1alpha1.Outcome
		status  metav1.ConditionStatus
		reason  string
		want    []string
	}{
		{"all passed", []v1alpha1.SuiteStatus{passed}, v1alpha1.OutcomePassed, metav1.ConditionTrue, v1alpha1.ReasonDone, []string{"1 suite passed"}},
		{"one failed", []v1alpha1.SuiteStatus{passed, failed}, v1alpha1.OutcomeFailed, metav1.ConditionFalse, v1alpha1.ReasonTestsFailed,
			[]string{"Failed: b"}},
		{"one was lost", []v1alpha1.SuiteStatus{failed, suite("c", v1alpha1.OutcomeError, v1alpha1.ReasonEvicted, "c was evicted")}, v1alpha1.OutcomeError,
			metav1.ConditionFalse,
			v1alpha1.ReasonEvicted, []string{"c was evicted", "failed: b"}},
		{"one could not be ended", []v1alpha1.SuiteStatus{suite("c", v1alpha1.OutcomeError, v1alpha1.ReasonStuck, "c is stuck")}, v1alpha1.OutcomeError,
			metav1.ConditionFalse,
			v1alpha1.ReasonTimeout, []string{"c is stuck"}},
		{"one broke without a reason", []v1alpha1.SuiteStatus{suite("c", v1alpha1.OutcomeError, "", "c broke")}, v1alpha1.OutcomeError,
			metav1.ConditionFalse,
			v1alpha1.ReasonTestsFailed, []string{"c broke"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newState()
			s.plan, s.status().Suites = &loaded{Plan: &plan.Plan{Suites: make([]plan.Suite, len(tc.suites))}}, tc.suites
			(&Reconciler{}).setOutcome(s)
			c := condition(s, v1alpha1.ConditionTestsPassed)
			if wantText(t, c.Message, tc.want...); s.status().Outcome != tc.outcome || c.Status != tc.status || c.Reason != tc.reason {
				t.Errorf("outcome %s, %+v", s.status().Outcome, c)
			}
		})
	}
}

// The last attempt of each shard counts, and the worst of those is the suite's; a test that could not be ended gives the reason.
func TestTheLastAttemptOfTheWorstShardCounts(t *testing.T) {
	at := func(shard, number int32, outcome v1alpha1.Outcome, reason string) v1alpha1.AttemptStatus {
		return v1alpha1.AttemptStatus{Shard: shard, Number: number, Outcome: outcome, Reason: reason}
	}
	for _, tc := range []struct {
		name     string
		attempts []v1alpha1.AttemptStatus
		worst    v1alpha1.Outcome
		shard    int32
		reason   string
	}{
		{"a retry that passed", []v1alpha1.AttemptStatus{at(0, 1, v1alpha1.OutcomeFailed, ""), at(1, 1, v1alpha1.OutcomePassed, ""),
			at(0, 2, v1alpha1.OutcomePassed, "")}, v1alpha1.OutcomePassed, 0, ""},
		{"a shard that failed", []v1alpha1.AttemptStatus{at(0, 1, v1alpha1.OutcomePassed, ""), at(1, 1, v1alpha1.OutcomeFailed, "")},
			v1alpha1.OutcomeFailed, 1, ""},
		{"a shard that was lost", []v1alpha1.AttemptStatus{at(0, 1, v1alpha1.OutcomeError, v1alpha1.ReasonEvicted), at(1, 1, v1alpha1.OutcomeFailed, "")},
			v1alpha1.OutcomeError, 0, v1alpha1.ReasonEvicted},
		{"one that is stuck", []v1alpha1.AttemptStatus{at(0, 1, v1alpha1.OutcomeError, v1alpha1.ReasonStuck),
			at(1, 1, v1alpha1.OutcomeError, v1alpha1.ReasonEvicted)},
			v1alpha1.OutcomeError, 0, v1alpha1.ReasonStuck},
	} {
		st := &v1alpha1.SuiteStatus{Shards: 2, Attempts: tc.attempts}
		if got := worstAttempt(st); got.Outcome != tc.worst || got.Shard != tc.shard {
			t.Errorf("%s: %+v", tc.name, got)
		}
		if got := brokenBy(st); got != tc.reason {
			t.Errorf("%s: reason %q", tc.name, got)
		}
	}
}
