package delivery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

func TestPrefixesAskForEachTagOnce(t *testing.T) {
	for _, tc := range []struct{ patterns, want []string }{
		{[]string{"run-integration-tests", "run-integration-tests/*"}, []string{"run-integration-tests"}},
		{[]string{"qa-?", "nightly"}, []string{"nightly", "qa-"}},
		{[]string{"*"}, []string{""}},
	} {
		if got := prefixes(tc.patterns); !slices.Equal(got, tc.want) {
			t.Errorf("prefixes(%q) = %q, want %q", tc.patterns, got, tc.want)
		}
	}
}

var (
	shop  = v1alpha1.Repository{ID: 7, Owner: "acme", Name: "shop"}
	start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
)

// gitHub has one repository whose tags point to objects; what it does not have panics.
type gitHub struct {
	GitHub
	tags map[string]string
	// commits are the errors of objects that lead to no commit, and asked counts the questions about each object.
	commits map[string]error
	asked   map[string]int
}

func (g *gitHub) Repositories(_ context.Context, each func(int64, v1alpha1.Repository) error) error {
	return each(1, shop)
}

func (g *gitHub) Tags(context.Context, int64, v1alpha1.Repository, string) (map[string]string, error) {
	return g.tags, nil
}

func (g *gitHub) Commit(_ context.Context, _ int64, _ v1alpha1.Repository, object string) (string, error) {
	g.asked[object]++
	return object, g.commits[object]
}

// starter counts the Runs that are started, by their refs.
type starter struct {
	Runs
	github  *gitHub
	started map[string]int
}

func (*starter) List(context.Context, int64) ([]v1alpha1.Run, error) { return nil, nil }

func (s *starter) Start(ctx context.Context, req runs.Request) (*v1alpha1.Run, error) {
	sha, err := s.github.Commit(ctx, req.InstallationID, req.Repository, req.Object)
	if err != nil {
		return nil, err
	}
	s.started[req.Ref]++
	run := &v1alpha1.Run{Spec: v1alpha1.RunSpec{Ref: req.Ref, SHA: sha}}
	run.Name = req.Name
	return run, nil
}

type polling struct {
	*Poller
	github *gitHub
	runs   *starter
	log    *bytes.Buffer
	now    time.Time
}

// newPolling has polled a repository without tags once.
func newPolling(t *testing.T) *polling {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	p := &polling{
		github: &gitHub{tags: map[string]string{}, commits: map[string]error{}, asked: map[string]int{}},
		log:    &bytes.Buffer{}, now: start,
	}
	p.runs = &starter{github: p.github, started: map[string]int{}}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	log := slog.New(slog.NewTextHandler(p.log, nil))
	r := &Reconciler{
		Client: c, GitHub: p.github, Runs: p.runs, Rules: trigger.Rules{Tags: []string{"qa/*"}}, Log: log,
		Now: func() time.Time { return p.now },
	}
	p.Poller = &Poller{Reconciler: r, Live: c, Namespace: "conductor", Settle: time.Minute, Log: log}
	p.poll(t, 0)
	return p
}

// poll polls after a while and returns what went wrong.
func (p *polling) poll(t *testing.T, after time.Duration) error {
	t.Helper()
	p.now = p.now.Add(after)
	return p.Poll(t.Context())
}

func (p *polling) memory(t *testing.T) map[string]seen {
	t.Helper()
	memory, known, err := p.recall(t.Context(), shop)
	if err != nil || !known {
		t.Fatalf("the memory: known %t, %v", known, err)
	}
	return memory
}

func TestOneBadTagDoesNotKeepOthersFromTheirRuns(t *testing.T) {
	p := newPolling(t)
	p.github.tags = map[string]string{"refs/tags/qa/a": "a1", "refs/tags/qa/blob": "b1", "refs/tags/qa/z": "z1"}
	p.github.commits["b1"] = failure.Terminalf(v1alpha1.ReasonRefused, nil, "No commit found for SHA: b1")
	for _, after := range []time.Duration{0, time.Minute, time.Minute, time.Minute} {
		if err := p.poll(t, after); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.runs.started) != 2 || p.runs.started["refs/tags/qa/a"] != 1 || p.runs.started["refs/tags/qa/z"] != 1 {
		t.Errorf("runs: %v", p.runs.started)
	}
	if p.github.asked["b1"] != 1 || strings.Count(p.log.String(), "ref=refs/tags/qa/blob") != 1 {
		t.Errorf("the bad tag was asked for %d times; log:\n%s", p.github.asked["b1"], p.log)
	}
	p.github.tags["refs/tags/qa/blob"] = "c1" // It is moved to a commit.
	for range 2 {
		if err := p.poll(t, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if p.runs.started["refs/tags/qa/blob"] != 1 {
		t.Errorf("runs: %v", p.runs.started)
	}
	for ref, s := range p.memory(t) {
		if !s.Done {
			t.Errorf("%s is not settled: %+v", ref, s)
		}
	}
}

// A push whose delivery came is the delivery's to run, also when its Run was deleted since; one whose delivery failed is not.
func TestADeliveredTagIsNotRunAgain(t *testing.T) {
	p := newPolling(t)
	for name, outcome := range map[string]v1alpha1.DeliveryOutcome{"deleted": v1alpha1.DeliveryStarted, "waiting": "", "failed": v1alpha1.DeliveryFailed} {
		d := &v1alpha1.Delivery{}
		d.Name, d.Namespace = name, "conductor"
		d.Spec.Event = v1alpha1.Event{Name: "push", Repository: shop, Push: &v1alpha1.PushEvent{Ref: "refs/tags/qa/" + name, After: name}}
		d.Status.Outcome = outcome
		if err := p.Reconciler.Client.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		p.github.tags[d.Spec.Event.Push.Ref] = name
	}
	p.github.tags["refs/tags/qa/other"] = "deleted"
	for _, after := range []time.Duration{0, time.Minute, time.Minute} {
		if err := p.poll(t, after); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[string]int{"refs/tags/qa/failed": 1, "refs/tags/qa/other": 1}; !maps.Equal(p.runs.started, want) {
		t.Errorf("runs: %v, want %v", p.runs.started, want)
	}
}

func TestATagThatCannotBeReadNowIsTriedForSixHours(t *testing.T) {
	p := newPolling(t)
	p.github.tags = map[string]string{"refs/tags/qa/a": "a1", "refs/tags/qa/new": "n1"}
	p.github.commits["a1"] = errors.New("connection reset")
	if err := p.poll(t, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.poll(t, time.Minute); err == nil || !strings.Contains(err.Error(), "refs/tags/qa/a") {
		t.Errorf("poll: %v, want the tag that failed", err)
	}
	if p.runs.started["refs/tags/qa/new"] != 1 || p.memory(t)["refs/tags/qa/a"].Done {
		t.Errorf("runs %v, memory %v", p.runs.started, p.memory(t))
	}
	if err := p.poll(t, deadline); err == nil || p.memory(t)["refs/tags/qa/a"].Done {
		t.Error("it was given up before its deadline")
	}
	if err := p.poll(t, time.Minute); err != nil || !p.memory(t)["refs/tags/qa/a"].Done {
		t.Errorf("after the deadline: %v, %v", err, p.memory(t))
	}
	if err := p.poll(t, time.Minute); err != nil || p.github.asked["a1"] != 3 {
		t.Errorf("after it was given up: %v, asked %d times", err, p.github.asked["a1"])
	}
}

func TestAPolledRunHasATraceOfItsOwn(t *testing.T) {
	p := newPolling(t)
	w := newWorld(t, interceptor.Funcs{})
	p.Reconciler.Runs, p.Reconciler.Observer = w.service, w
	p.github.tags["refs/tags/qa/a"] = "a1"
	for _, after := range []time.Duration{time.Minute, time.Minute, time.Minute} {
		if err := p.poll(t, after); err != nil {
			t.Fatal(err)
		}
	}
	name := trigger.PollName("acme/shop", "refs/tags/qa/a", "a1", start.Add(time.Minute).Format(time.RFC3339))
	run := w.get(name)
	if got := v1alpha1.TraceOf(run); got != "poll-"+name || run.Spec.Trigger.Kind != v1alpha1.TriggerPoll || run.Spec.Actor.Login != "unknown" {
		t.Errorf("trace %q, spec %+v", got, run.Spec)
	}
	want := []string{"poll-" + name + `: unknown in acme/shop may start by tag of "unprotected": true: The poll found refs/tags/qa/a`}
	if !slices.Equal(w.decisions, want) {
		t.Errorf("decisions %q, want %q", w.decisions, want)
	}
	if !strings.Contains(p.log.String(), `msg="found a tag without a delivery" trace=poll-`+name) {
		t.Errorf("log:\n%s", p.log)
	}
}

// refusing refuses every Run.
type refusing struct{ *starter }

func (refusing) Start(context.Context, runs.Request) (*v1alpha1.Run, error) {
	return nil, &authority.Refusal{Reason: "Not today"}
}

func TestATagThatIsRefusedIsSkipped(t *testing.T) {
	p, w := newPolling(t), newWorld(t, interceptor.Funcs{})
	p.Reconciler.Runs, p.Reconciler.Observer = refusing{p.runs}, w
	p.github.tags["refs/tags/qa/a"] = "a1"
	for range 4 {
		if err := p.poll(t, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.decisions) != 1 || !strings.Contains(w.decisions[0], "false: Not today") || !p.memory(t)["refs/tags/qa/a"].Done {
		t.Errorf("decisions %q, memory %v", w.decisions, p.memory(t))
	}
	if n := strings.Count(p.log.String(), `msg="could not run a tag; skipping it" trace=poll-shop-`); n != 1 {
		t.Errorf("logged %d times:\n%s", n, p.log)
	}
}

func TestThePollReportsWhatItCannotRead(t *testing.T) {
	for _, kind := range []string{"list", "get", "patch"} {
		p := newPolling(t)
		p.github.tags["refs/tags/qa/a"] = "a1"
		if err := p.poll(t, 0); err != nil {
			t.Fatal(err)
		}
		c, ok := p.Live.(client.WithWatch)
		if !ok {
			t.Fatal("the fake client cannot be wrapped")
		}
		fail := func(on string) error {
			if on == kind {
				return errDown
			}
			return nil
		}
		broken := interceptor.NewClient(c, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
				return errors.Join(fail("list"), c.List(ctx, l, opts...))
			},
			Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				return errors.Join(fail("get"), c.Get(ctx, k, o, opts...))
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				return errors.Join(fail("patch"), c.Patch(ctx, o, patch, opts...))
			},
		})
		p.Live, p.Reconciler.Client = broken, broken
		if err := p.poll(t, time.Minute); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "acme/shop") {
			t.Errorf("%s: %v", kind, err)
		}
		if done := p.runs.started["refs/tags/qa/a"] == 1; done != (kind == "patch") {
			t.Errorf("%s: started %v", kind, p.runs.started)
		}
	}
}

func TestAMemoryThatCannotBeReadStartsAfresh(t *testing.T) {
	p := newPolling(t)
	cm := &corev1.ConfigMap{}
	if err := p.Live.Get(t.Context(), p.key(shop), cm); err != nil {
		t.Fatal(err)
	}
	cm.Data["tags"] = "{"
	if err := p.Reconciler.Client.Update(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	p.github.tags["refs/tags/qa/a"] = "a1"
	for range 2 {
		if err := p.poll(t, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.runs.started) != 0 || !p.memory(t)["refs/tags/qa/a"].Done || !strings.Contains(p.log.String(), "starting afresh") {
		t.Errorf("runs %v, memory %v, log:\n%s", p.runs.started, p.memory(t), p.log)
	}
}

func TestThePollRunsUntilItsContextEnds(t *testing.T) {
	p := newPolling(t)
	p.Every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	polls := 0
	p.Reconciler.GitHub = &counting{gitHub: p.github, each: func() {
		if polls++; polls == 3 {
			cancel()
		}
	}}
	if err := p.Start(ctx); err != nil || polls != 3 {
		t.Errorf("%d polls, %v", polls, err)
	}
	if n := strings.Count(p.log.String(), "could not compare all tags"); n != 2 {
		t.Errorf("logged %d times:\n%s", n, p.log)
	}
}

// counting cannot list the repositories.
type counting struct {
	*gitHub
	each func()
}

func (c *counting) Repositories(context.Context, func(int64, v1alpha1.Repository) error) error {
	c.each()
	return errDown
}
