package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

const someDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

// images is a registry of some images: what their tags represent, and a health check for each digest.
type imageServer struct {
	Registry
	mu    sync.Mutex
	tags  map[string]string
	err   error
	slow  time.Duration
	asked []string
}

func (s *imageServer) Repository(v1alpha1.Repository, string) string {
	return "registry.example/acme/shop"
}

func (s *imageServer) ImageConfig(ctx context.Context, image string) (string, []byte, error) {
	s.mu.Lock()
	s.asked = append(s.asked, image)
	digest, err, slow := s.tags[image], s.err, s.slow
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	if _, d, ok := strings.Cut(image, "@"); ok {
		digest = d
	}
	if digest == "" && err == nil {
		err = failure.Terminalf(v1alpha1.ReasonImageUnavailable, nil, "There is no image %s", image)
	}
	if err != nil {
		return "", nil, err
	}
	return digest, fmt.Appendf(nil, `{"config":{"Healthcheck":{"Test":["CMD","check","%s"]}}}`, digest), nil
}

// bench is a reconciler with a Run of a project, as far as images go.
type bench struct {
	t      *testing.T
	r      *Reconciler
	run    *v1alpha1.Run
	dir    string
	plan   *plan.Plan
	server *imageServer
	woken  chan struct{}
}

func newBench(t *testing.T, services string) *bench {
	t.Helper()
	b := &bench{t: t, run: testRun("r", "u"), server: &imageServer{tags: map[string]string{}}}
	b.dir = checkout(t, map[string]string{
		".conductor.yaml": "version: 1\ntests: {integration: {image: t, command: x}}\n", "docker-compose.qa.yml": services, "Dockerfile": "FROM a",
	})
	b.plan = b.make(plan.Images{})
	b.restart()
	return b
}

func testRun(name string, uid types.UID) *v1alpha1.Run {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}
	run.Spec.SHA, run.Spec.Repository.CloneURL = strings.Repeat("a", 40), "https://github.com/acme/shop.git"
	return run
}

// checkout writes files and returns their directory.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// make plans with what is known of the images.
func (b *bench) make(images plan.Images) *plan.Plan {
	b.t.Helper()
	p, err := plan.Make(plan.Input{Dir: b.dir, Run: b.run, Settings: settings.Default(), Images: images})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// pending are the services of whose images not everything is known.
func (b *bench) pending(s *state) []string {
	var out []string
	for _, svc := range b.plan.Services {
		if !slices.Contains(s.images.Known, svc.Name) {
			out = append(out, svc.Name)
		}
	}
	slices.Sort(out)
	return out
}

// restart is another life of Conductor.
func (b *bench) restart() {
	b.woken = make(chan struct{}, 100)
	b.r = opened(&Reconciler{Registry: b.server, Settings: settings.Default()})
	b.r.lookups.wake = func(*v1alpha1.Run) { b.woken <- struct{}{} }
}

// look is one look of the reconciler; what it noted is in the Run for the next.
func (b *bench) look() *state {
	s := &state{run: b.run, plan: &loaded{Plan: b.plan}, now: time.Now()}
	s.images = b.r.knownImages(b.run, s.plan)
	b.r.requestImages(s)
	return s
}

// settle looks until nothing is pending.
func (b *bench) settle() *state {
	b.t.Helper()
	for range 10 * maxStackImages {
		s := b.look()
		if len(b.pending(s)) == 0 {
			return s
		}
		if len(s.images.ask) > 0 && s.requeue == 0 {
			<-b.woken
		}
	}
	b.t.Fatal("images stay pending")
	return nil
}

// workloads are what is applied, as text, by service.
func (b *bench) workloads(s *state) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, svc := range b.make(s.images.Images).Services {
		data, err := compose.YAML(&compose.Stack{Services: []compose.Service{{Workload: svc.Workload}}})
		if err != nil {
			b.t.Fatal(err)
		}
		out[svc.Name] = string(data)
	}
	return out
}

func TestATagThatMovesChangesNothing(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'redis:7'}, b: {image: 'redis:7'}}")
	b.server.tags["redis:7"] = someDigest
	if s := b.look(); len(b.pending(s)) != 2 || len(b.workloads(s)) != 2 {
		t.Fatalf("before anybody answered: %+v", s.images)
	}
	first := b.workloads(b.settle())
	if !strings.Contains(first["a"], "image: redis:7@"+someDigest) || !strings.Contains(first["b"], "- check\n") {
		t.Errorf("neither the digest nor the health check is used:\n%s", first["a"])
	}
	if want := []v1alpha1.StackImage{{Name: "redis:7", Digest: someDigest}}; !cmp.Equal(b.run.Status.StackImages, want) {
		t.Errorf("noted: %+v", b.run.Status.StackImages)
	}
	b.server.tags["redis:7"] = strings.ReplaceAll(someDigest, "1", "2")
	b.restart()
	if diff := cmp.Diff(first, b.workloads(b.settle())); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

// What a tag represents is used when the Run has it, and not in the look that learns it: the status may not be taken.
func TestADigestIsNotedBeforeItIsUsed(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'redis:7'}}")
	b.server.tags["redis:7"] = someDigest
	b.look()
	<-b.woken
	if s := b.look(); len(b.pending(s)) != 1 || len(b.run.Status.StackImages) != 1 || s.requeue == 0 {
		t.Errorf("the look that learns it: pending %v, noted %v, again in %s", b.pending(s), b.run.Status.StackImages, s.requeue)
	}
	b.run.Status.StackImages = nil // The API server did not take it.
	b.server.tags["redis:7"] = strings.ReplaceAll(someDigest, "1", "2")
	if b.settle(); b.run.Status.StackImages[0].Digest != someDigest {
		t.Errorf("a process changes its mind: %+v", b.run.Status.StackImages)
	}
}

func TestBuiltImagesAreLookedUpWhenTheyAreBuilt(t *testing.T) {
	b := newBench(t, "services: {a: {build: .}, b: {image: 'pinned@"+someDigest+"'}}")
	if s := b.settleBut("a"); len(s.images.ask) > 0 {
		t.Errorf("asked about what is not built: %v", s.images.ask)
	}
	img := imageStatus(&b.run.Status, b.plan.BuildOf("a"))
	img.Repository, img.Digest = "registry.example/acme/shop/a", someDigest
	s := b.settle()
	if got := b.workloads(s); !strings.Contains(got["a"], "registry.example/acme/shop/a@"+someDigest) || !strings.Contains(got["a"], "readinessProbe") {
		t.Errorf("the built image's health check is lost:\n%s", got["a"])
	}
	if len(b.run.Status.StackImages) > 0 {
		t.Errorf("what the name says is noted once more: %+v", b.run.Status.StackImages)
	}
	b.noteFindings(s)
	if len(b.run.Status.Notes) > 0 {
		t.Errorf("notes: %v", b.run.Status.Notes)
	}
}

// One service builds an image that another one, a hook and a suite name, as docker compose finds it on its machine. Another hook's image is looked up.
func TestAnImageThatAServiceBuildsIsEverybodys(t *testing.T) {
	b := newBench(t, "services: {app: {build: ., image: shop/app}, worker: {image: 'shop/app', pre_start: [{command: [seed], image: 'tool:1'}]}, "+
		"cron: {image: 'redis:7', pre_start: [{command: [wait], image: 'shop/app:latest'}]}}")
	b.server.tags["redis:7"], b.server.tags["tool:1"] = someDigest, strings.ReplaceAll(someDigest, "1", "2")
	if len(b.plan.Builds) != 1 || b.plan.BuildOf("worker") != "app" {
		t.Fatalf("builds %+v for %v", b.plan.Builds, b.plan.Uses)
	}
	img := imageStatus(&b.run.Status, "app")
	img.Repository, img.Digest = "registry.example/acme/shop/app", someDigest
	got := b.workloads(b.settle())
	for service, pieces := range map[string][]string{
		"worker": {"image: registry.example/acme/shop/app@" + someDigest, "image: tool:1@" + b.server.tags["tool:1"]},
		"cron":   {"image: registry.example/acme/shop/app@" + someDigest, "image: redis:7@" + someDigest},
	} {
		for _, piece := range pieces {
			if !strings.Contains(got[service], piece) {
				t.Errorf("%s without %s:\n%s", service, piece, got[service])
			}
		}
	}
	if slices.ContainsFunc(b.server.asked, func(ref string) bool { return strings.HasPrefix(ref, "shop/app") }) {
		t.Errorf("somebody else's registry was asked about our image: %v", b.server.asked)
	}
}

// A conversion with many notes leaves room for others, and notes that there are more.
func TestManyNotesOfAConversionAreCounted(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'pinned@"+someDigest+"'}}")
	s := b.settle()
	s.plan.Plan = &plan.Plan{Findings: []compose.Finding{{Level: compose.LevelInfo, Reason: "no news"}}}
	for i := range maxFindings + 7 {
		s.plan.Findings = append(s.plan.Findings, compose.Finding{Level: compose.LevelNote, Reason: fmt.Sprint("note ", i)})
	}
	s.addFindings()
	s.addFindings()
	notes := b.run.Status.Notes
	if len(notes) != maxFindings+1 || !strings.HasPrefix(notes[maxFindings], "7 further notes") {
		t.Errorf("%d notes, the last %q", len(notes), notes[len(notes)-1])
	}
}

// noteFindings notes what a plan with everything that is known has found.
func (b *bench) noteFindings(s *state) {
	s.plan = &loaded{Plan: b.make(s.images.Images)}
	s.addFindings()
}

// settleBut looks until one service alone is pending.
func (b *bench) settleBut(service string) *state {
	b.t.Helper()
	for range 20 {
		s := b.look()
		if slices.Equal(b.pending(s), []string{service}) {
			return s
		}
		<-b.woken
	}
	b.t.Fatal("images stay pending")
	return nil
}

func TestAnImageThatCannotBeReadIsNotedAndTakenAsItComes(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'redis:7'}, b: {image: 'gone:1'}, c: {image: 'gone@"+someDigest+"'}}")
	b.server.tags["redis:7"] = someDigest
	s := b.settle()
	b.noteFindings(s)
	if notes := b.run.Status.Notes; len(notes) != 1 || !strings.Contains(notes[0], "gone:1") || !strings.Contains(notes[0], "There is no image gone:1") {
		t.Errorf("notes: %q", notes)
	}
	before := b.workloads(s)
	if !strings.Contains(before["b"], "image: gone:1\n") || strings.Contains(before["b"], "Probe") || !strings.Contains(before["a"], "readinessProbe") {
		t.Errorf("b:\n%s", before["b"])
	}
	// It is there now, and the run stays with what it began with.
	b.server.tags["gone:1"] = someDigest
	b.restart()
	if diff := cmp.Diff(before, b.workloads(b.settle())); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

// A registry that does not answer is waited for five seconds, and half a second by the runs that come after.
func TestASilentRegistryIsNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "services: {a: {image: 'redis:7'}}")
		b.server.err, b.server.slow = errors.New("no route"), time.Second
		for i, most := range []time.Duration{lookupTimeout, shortTimeout} {
			b.run = testRun("r", b.run.UID+"x")
			began := time.Now()
			b.settle()
			if took := time.Since(began); took > most || took < most-lookupPause {
				t.Errorf("run %d waited %s, want %s", i+1, took, most)
			}
		}
		time.Sleep(unresponsiveFor)
		b.server.err, b.server.tags["redis:7"] = nil, someDigest
		b.run = testRun("r", "later")
		if b.settle(); b.run.Status.StackImages[0].Problem != "" {
			t.Errorf("a registry that is back: %+v", b.run.Status.StackImages)
		}
	})
}

// A lookup that ends with its run proves nothing about the registry.
func TestAnEndedRunAccusesNoService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "services: {a: {image: 'redis:7'}}")
		b.server.slow = time.Hour
		b.look()
		synctest.Wait()
		b.r.lookups.forget(b.run.UID)
		synctest.Wait()
		if got := b.r.lookups.timeout("docker.io"); got != lookupTimeout || len(b.woken) > 0 {
			t.Errorf("the next run waits %s; the ended one was woken %d times", got, len(b.woken))
		}
	})
}

// Beyond what a Run has room for images are taken as they come.
func TestNoMoreImagesThanThereIsRoomFor(t *testing.T) {
	var services strings.Builder
	for i := range maxStackImages + 3 {
		fmt.Fprintf(&services, "  s%d: {image: 'i:%d'}\n", i, i)
	}
	b := newBench(t, "services:\n"+services.String())
	for i := range maxStackImages + 3 {
		b.server.tags[fmt.Sprintf("i:%d", i)] = someDigest
	}
	s := b.settle()
	if len(b.run.Status.StackImages) != maxStackImages || len(s.images.Configs) != maxStackImages {
		t.Errorf("%d noted, %d known", len(b.run.Status.StackImages), len(s.images.Configs))
	}
	b.noteFindings(s)
	if !strings.Contains(strings.Join(b.run.Status.Notes, "\n"), "no more are read") {
		t.Errorf("notes: %q", b.run.Status.Notes)
	}
}

// The stage is open until the plan knows every image; what a registry answers is noted before it is used.
func TestTheImagesOfTheStackAreResolved(t *testing.T) {
	const services = "services: {db: {image: 'postgres:17'}, cache: {image: 'redis:7'}}\n"
	files := map[string]string{"docker-compose.qa.yml": services}
	w := newRig(t, files)
	w.shelf.tags["postgres:17"], w.shelf.tags["redis:7"] = someDigest, someDigest
	w.makePlan(files, plan.Images{})
	for i, step := range []struct {
		known   []string // of the plan
		doing   string
		status  metav1.ConditionStatus
		noted   int
		requeue time.Duration
	}{
		{nil, "Resolving the images of cache, db", metav1.ConditionUnknown, 0, 0},
		{nil, "Resolving the images of cache, db", metav1.ConditionUnknown, 2, 10 * time.Millisecond},
		{[]string{"db"}, "Resolving the images of cache", metav1.ConditionUnknown, 2, 0},
		{[]string{"cache", "db"}, "2 images resolved", metav1.ConditionTrue, 2, 0},
		{nil, "2 images resolved", metav1.ConditionTrue, 2, 0}, // A process that begins anew.
	} {
		w.makePlan(files, plan.Images{Known: step.known})
		s := w.state()
		if err := w.reconcileImages(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		c := condition(s, v1alpha1.ConditionImagesResolved)
		if c.Message != step.doing || c.Status != step.status || len(s.status().StackImages) != step.noted || s.requeue != step.requeue {
			t.Errorf("reconcile %d: %s: %q, noted %+v, requeue after %s", i, c.Status, c.Message, s.status().StackImages, s.requeue)
		}
		if i == 0 {
			<-w.stacks.wake
			<-w.stacks.wake
		}
	}
}

func TestAStackWithoutImagesHasNothingToResolve(t *testing.T) {
	w := newRig(t, nil)
	w.plan.Plan = &plan.Plan{}
	s := w.state()
	if err := w.reconcileImages(t.Context(), s); err != nil || condition(s, v1alpha1.ConditionImagesResolved).Reason != v1alpha1.ReasonNothingToDo {
		t.Errorf("%v, %+v", err, condition(s, v1alpha1.ConditionImagesResolved))
	}
	if s.plan = nil; w.reconcileImages(t.Context(), s) != nil {
		t.Error("the stage does not wait for the plan")
	}
}

// A suite that runs a service's image waits for it like the services do; an image with ports of its own has its Service applied once more.
func TestWhatAnImageIsUsedForIsNamed(t *testing.T) {
	p := &loaded{Plan: &plan.Plan{
		Services: []plan.Service{{Pending: []string{"web", "sidecar"}}, {Pending: []string{"web"}}},
		Suites:   []plan.Suite{{Pending: true}, {}},
	}}
	p.Suites[0].Service = "sut"
	if got := pendingImages(p); !slices.Equal(got, []string{"sidecar", "sut", "web"}) {
		t.Errorf("pending %v", got)
	}
	images := &stackImages{Images: plan.Images{
		References: map[string]string{"web": "w", "side": "s"}, Configs: map[string]compose.ImageConfig{"s": {ExposedPorts: []string{"80/tcp"}}},
	}}
	for _, tc := range []struct {
		shares []string
		want   bool
	}{{nil, false}, {[]string{"side"}, true}} {
		if got := images.exposes(&plan.Service{Service: compose.Service{Name: "web", Shares: tc.shares}}); got != tc.want {
			t.Errorf("with %v: %t", tc.shares, got)
		}
	}
}
