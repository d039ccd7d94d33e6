//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

const (
	installation = 7
	issueNumber  = 12
	// patience is the longest that a test waits for anything; a successful run takes a second or two.
	patience = 30 * time.Second
)

// shop is a repository whose services use every condition of depends_on.
var shop = map[string]string{
	".conductor.yaml": "version: 1\ntests:\n  integration: yarn test:integration:nc\n",
	"docker-compose.qa.yml": `services:
  redis:
    image: redis:7
    healthcheck: {test: [CMD, redis-cli, ping]}
  migrate:
    build: ./backend
    command: [migrate]
    depends_on:
      redis: {condition: service_started}
  backend:
    build: ./backend
    healthcheck: {test: [CMD, "true"]}
    depends_on:
      redis: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  frontend:
    build: ./frontend
    restart: always
    depends_on:
      backend: {condition: service_healthy}
`,
	"backend/Dockerfile":  "FROM busybox\n",
	"frontend/Dockerfile": "FROM busybox\n",
	"Dockerfile.test":     "FROM busybox\n",
}

var worlds atomic.Int64

// world is everything outside Conductor's processes: namespaces of its own on the API server, a node that runs pods, GitHub, a registry,
// a clock.
type world struct {
	t        *testing.T
	set      settings.Settings
	github   *github
	clock    *clock
	node     *node
	agents   *agents
	shelf    *shelf
	log      *logbook
	made     int
	ceilings v1alpha1.Ceilings
}

func newWorld(t *testing.T) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{t: t, set: settings.Default(), github: newGitHub(), clock: &clock{}, log: &logbook{}, agents: newAgents(), shelf: newShelf()}
	w.github.files, w.github.now = shop, w.clock.now
	w.github.hints = v1alpha1.CommitHints{Message: fmt.Sprintf("Sell more (#%d)", issueNumber)}
	w.set.Namespace, w.set.Builds.Namespace = fmt.Sprintf("conductor-%d", n), fmt.Sprintf("conductor-%d-builds", n)
	w.set.Registry.Host, w.set.Image = "registry.example", "registry.example/conductor@sha256:"+strings.Repeat("c", 64)
	w.ceilings = w.set.Ceilings()
	for _, name := range []string{w.set.Namespace, w.set.Builds.Namespace} {
		w.must(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	w.node = startNode(t, w.set.Namespace, w.set.Builds.Namespace, w.agents)
	t.Cleanup(func() { w.sweepUp() })
	return w
}

// sweepUp deletes everything of this world, and prints diagnostics if the test failed.
func (w *world) sweepUp() {
	if w.t.Failed() {
		w.t.Logf("Conductor's log:\n%s", w.log.String())
	}
	ctx := context.Background()
	spaces, _, _ := w.node.stacks(ctx)
	var list v1alpha1.RunList
	_ = admin.List(ctx, &list, client.InNamespace(w.set.Namespace))
	for i := range list.Items {
		before := list.Items[i].DeepCopy()
		list.Items[i].Finalizers = nil
		_ = admin.Patch(ctx, &list.Items[i], client.MergeFrom(before))
		_ = admin.Delete(ctx, &list.Items[i])
	}
	for i := range spaces {
		_ = admin.Delete(ctx, &spaces[i])
		end(ctx, &spaces[i])
	}
	_ = admin.DeleteAllOf(ctx, &v1alpha1.Delivery{}, client.InNamespace(w.set.Namespace))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// service starts, cancels and lists Runs for people and deliveries.
func (w *world) service() *runs.Service {
	return &runs.Service{Client: admin, Namespace: w.set.Namespace, Now: w.clock.now}
}

// start creates a Run of the shop.
func (w *world) start(change ...func(*v1alpha1.RunSpec)) *v1alpha1.Run {
	w.t.Helper()
	w.made++
	spec := newRun("x").Spec
	spec.InstallationID, spec.Ceilings = installation, w.ceilings
	for _, c := range change {
		c(&spec)
	}
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("shop-%s-%d", w.set.Namespace, w.made), Namespace: w.set.Namespace,
		Labels: map[string]string{v1alpha1.LabelRepository: strconv.FormatInt(spec.Repository.ID, 10)},
	}, Spec: spec}
	w.must(admin.Create(w.t.Context(), run))
	return run
}

// get reads the current state of a Run.
func (w *world) get(run *v1alpha1.Run) *v1alpha1.Run {
	w.t.Helper()
	now := &v1alpha1.Run{}
	w.must(admin.Get(w.t.Context(), client.ObjectKeyFromObject(run), now))
	return now
}

// until waits until a Run fulfils a condition.
func (w *world) until(run *v1alpha1.Run, what string, ok func(*v1alpha1.Run) bool) *v1alpha1.Run {
	w.t.Helper()
	var now *v1alpha1.Run
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(15 * time.Millisecond) {
		if now = w.get(run); ok(now) {
			return now
		}
	}
	status, _ := yaml.Marshal(now.Status)
	w.t.Fatalf("%s: not within %s\n%s\nnode: %s", what, patience, status, w.node.describe())
	return nil
}

// eventually waits until any other condition holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(15 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("%s: not within %s; node: %s", what, patience, w.node.describe())
}

// poke makes Conductor reconcile a Run at once, as its periodic requeue would.
func (w *world) poke(run *v1alpha1.Run) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"poke":"%d"}}}`, time.Now().UnixNano())
	err := admin.Patch(w.t.Context(), run.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
}

// later advances the clock and makes Conductor reconcile.
func (w *world) later(d time.Duration, run *v1alpha1.Run) {
	w.t.Helper()
	w.clock.advance(d)
	w.poke(run)
}

// is reports whether a condition of a Run has a status.
func is(run *v1alpha1.Run, condition string, status metav1.ConditionStatus) bool {
	return meta.IsStatusConditionPresentAndEqual(run.Status.Conditions, condition, status)
}

func reason(run *v1alpha1.Run, condition string) string {
	if c := meta.FindStatusCondition(run.Status.Conditions, condition); c != nil {
		return c.Reason
	}
	return ""
}

func state(run *v1alpha1.Run, service string) v1alpha1.ServiceState {
	for _, s := range run.Status.Services {
		if s.Name == service {
			return s.State
		}
	}
	return ""
}

// reported reports whether a Run is over and its outcome is on GitHub.
func reported(run *v1alpha1.Run) bool {
	return run.Status.Outcome != "" && is(run, v1alpha1.ConditionReported, metav1.ConditionTrue)
}

// kept reports whether a Run is reported and its stack is kept.
func kept(run *v1alpha1.Run) bool {
	return reported(run) && is(run, v1alpha1.ConditionStackKept, metav1.ConditionTrue)
}

// over reports whether a Run is reported and its stack is deleted.
func over(run *v1alpha1.Run) bool {
	return reported(run) && is(run, v1alpha1.ConditionStackKept, metav1.ConditionFalse)
}

// gone reports whether an object does not exist.
func (w *world) gone(o client.Object, namespace, name string) bool {
	w.t.Helper()
	err := admin.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err != nil
}

// nothingLeft fails the test if an object of a Run still exists.
func (w *world) nothingLeft(run *v1alpha1.Run) {
	w.t.Helper()
	if !w.gone(&corev1.Namespace{}, "", jobs.StackName(run)) {
		w.t.Errorf("the namespace %s is left", jobs.StackName(run))
	}
	if left := w.buildThings(run); len(left) > 0 {
		w.t.Errorf("left in the builds namespace: %s", strings.Join(left, ", "))
	}
	if w.shelf.source(run) {
		w.t.Error("the run's source artifact is left")
	}
}

// logbook is Conductor's log.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger(process int64) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, nil)).With("process", process)
}

// cancelByHand sets spec.cancel, as with kubectl.
func (w *world) cancelByHand(run *v1alpha1.Run) {
	w.t.Helper()
	patch := `{"spec":{"cancel":{"by":"ada","at":"2026-01-01T00:00:00Z"}}}`
	w.must(admin.Patch(w.t.Context(), run.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// logged waits for a line of Conductor's log that contains all words.
func (w *world) logged(words ...string) {
	w.t.Helper()
	w.eventually("the log has "+strings.Join(words, ", "), func() bool {
		for line := range strings.Lines(w.log.String()) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return true
			}
		}
		return false
	})
}

// upToDate reports whether a process has the latest version of a Run in its cache.
func (w *world) upToDate(p *process, run *v1alpha1.Run) bool {
	w.t.Helper()
	cached := &v1alpha1.Run{}
	err := p.runner.Client.Get(w.t.Context(), client.ObjectKeyFromObject(run), cached)
	return err == nil && cached.ResourceVersion == w.get(run).ResourceVersion
}
