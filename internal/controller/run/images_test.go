package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

const someDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

// images is a registry of some images: what their tags stand for, and a health check for each digest.
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
	plan   *Plan
	server *imageServer
	woken  chan struct{}
}

func newBench(t *testing.T, services string) *bench {
	t.Helper()
	plan, err := NewPlan(checkout(t, map[string]string{
		".conductor.yaml": "version: 1\ntests: {integration: {image: t, command: x}}\n", "docker-compose.qa.yml": services, "Dockerfile": "FROM a",
	}), nil, Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, plan: plan, run: &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "u"}}, server: &imageServer{tags: map[string]string{}}}
	b.restart()
	return b
}

// restart is another life of Conductor.
func (b *bench) restart() {
	b.woken = make(chan struct{}, 100)
	b.r = &Reconciler{Registry: b.server, Settings: settings.Default(), looks: &imageLooks{
		ask: b.server.ImageConfig, now: time.Now, wake: func(*v1alpha1.Run) { b.woken <- struct{}{} },
	}}
}

// look is one look of the reconciler; what it noted is in the Run for the next.
func (b *bench) look() *state {
	s := &state{run: b.run, plan: b.plan, now: time.Now()}
	b.r.lookUp(s)
	return s
}

// settle looks until nothing is pending.
func (b *bench) settle() *state {
	b.t.Helper()
	for range 10 * maxStackImages {
		s := b.look()
		if len(s.images.Pending) == 0 {
			return s
		}
		if len(s.images.ask) > 0 && s.again == 0 {
			<-b.woken
		}
	}
	b.t.Fatal("images stay pending")
	return nil
}

// workloads are what is applied, as text, by service.
func (b *bench) workloads(s *state) map[string]string {
	b.t.Helper()
	stack, err := b.r.convert(s)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]string{}
	for _, svc := range stack.Services {
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
	if s := b.look(); len(s.images.Pending) != 2 || len(b.workloads(s)) != 2 {
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

// What a tag stands for is used when the Run has it, and not in the look that learns it: the status may not be taken.
func TestADigestIsNotedBeforeItIsUsed(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'redis:7'}}")
	b.server.tags["redis:7"] = someDigest
	b.look()
	<-b.woken
	if s := b.look(); len(s.images.Pending) != 1 || len(b.run.Status.StackImages) != 1 || s.again == 0 {
		t.Errorf("the look that learns it: pending %v, noted %v, again in %s", s.images.Pending, b.run.Status.StackImages, s.again)
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
	img := image(&b.run.Status, b.plan.ServiceBuilds["a"])
	img.Repository, img.Digest = "registry.example/acme/shop/a", someDigest
	s := b.settle()
	if got := b.workloads(s); !strings.Contains(got["a"], "registry.example/acme/shop/a@"+someDigest) || !strings.Contains(got["a"], "readinessProbe") {
		t.Errorf("the built image's health check is lost:\n%s", got["a"])
	}
	if len(b.run.Status.StackImages) > 0 {
		t.Errorf("what the name says is noted once more: %+v", b.run.Status.StackImages)
	}
	s.noteFindings(&compose.Stack{})
	if len(b.run.Status.Notes) > 0 {
		t.Errorf("notes: %v", b.run.Status.Notes)
	}
}

// One service builds an image that another one, a hook and a suite name, as docker compose finds it on its machine. Another hook's image is looked up.
func TestAnImageThatAServiceBuildsIsEverybodys(t *testing.T) {
	b := newBench(t, "services: {app: {build: ., image: shop/app}, worker: {image: 'shop/app', pre_start: [{command: [seed], image: 'tool:1'}]}, "+
		"cron: {image: 'redis:7', pre_start: [{command: [wait], image: 'shop/app:latest'}]}}")
	b.server.tags["redis:7"], b.server.tags["tool:1"] = someDigest, strings.ReplaceAll(someDigest, "1", "2")
	if len(b.plan.Builds) != 1 || b.plan.ServiceBuilds["worker"] != "app" {
		t.Fatalf("builds %+v for %v", b.plan.Builds, b.plan.ServiceBuilds)
	}
	img := image(&b.run.Status, "app")
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

// A conversion with very much to say leaves room for what else happens, and says that there is more.
func TestManyNotesOfAConversionAreCounted(t *testing.T) {
	b := newBench(t, "services: {a: {image: 'pinned@"+someDigest+"'}}")
	s := b.settle()
	stack := &compose.Stack{Findings: []compose.Finding{{Level: compose.LevelInfo, Reason: "no news"}}}
	for i := range maxFindings + 7 {
		stack.Findings = append(stack.Findings, compose.Finding{Level: compose.LevelNote, Reason: fmt.Sprint("note ", i)})
	}
	s.noteFindings(stack)
	s.noteFindings(stack)
	notes := b.run.Status.Notes
	if len(notes) != maxFindings+1 || !strings.HasPrefix(notes[maxFindings], "7 further notes") {
		t.Errorf("%d notes, the last %q", len(notes), notes[len(notes)-1])
	}
}

// settleBut looks until one service alone is pending.
func (b *bench) settleBut(service string) *state {
	b.t.Helper()
	for range 20 {
		s := b.look()
		if slices.Equal(s.images.Pending, []string{service}) {
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
	s.noteFindings(&compose.Stack{})
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
		for i, most := range []time.Duration{lookPatience, lookHaste} {
			b.run = &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: b.run.UID + "x"}}
			began := time.Now()
			b.settle()
			if took := time.Since(began); took > most || took < most-lookPause {
				t.Errorf("run %d waited %s, want %s", i+1, took, most)
			}
		}
		time.Sleep(silence)
		b.server.err, b.server.tags["redis:7"] = nil, someDigest
		b.run = &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "later"}}
		if b.settle(); b.run.Status.StackImages[0].Problem != "" {
			t.Errorf("a registry that is back: %+v", b.run.Status.StackImages)
		}
	})
}

// A lookup that ends since its run does says nothing about the registry.
func TestAnEndedRunAccusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "services: {a: {image: 'redis:7'}}")
		b.server.slow = time.Hour
		b.look()
		synctest.Wait()
		b.r.looks.forget(b.run.UID)
		synctest.Wait()
		if got := b.r.looks.patience("docker.io"); got != lookPatience || len(b.woken) > 0 {
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
	s.noteFindings(&compose.Stack{})
	if !strings.Contains(strings.Join(b.run.Status.Notes, "\n"), "no more are looked up") {
		t.Errorf("notes: %q", b.run.Status.Notes)
	}
}

func TestAllowancesHoldWhileBothSayThem(t *testing.T) {
	const allow = "stacks.allow"
	for name, c := range map[string]struct {
		began, now []v1alpha1.Allowance
		trust      v1alpha1.TrustLevel
		says       string
	}{
		"allowed":                       {[]v1alpha1.Allowance{"privileged", "devices"}, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustUnprotected, ""},
		"taken back since":              {[]v1alpha1.Allowance{"privileged"}, []v1alpha1.Allowance{"devices"}, v1alpha1.TrustProtected, allow + ": privileged"},
		"given since":                   {nil, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustProtected, allow + ": privileged"},
		"a fork, whatever is allowed":   {[]v1alpha1.Allowance{"privileged"}, []v1alpha1.Allowance{"privileged"}, v1alpha1.TrustFork, allow + ", but not for forks: privileged"},
		"by default nothing is allowed": {nil, nil, v1alpha1.TrustProtected, allow + ": privileged"},
	} {
		run := &v1alpha1.Run{Spec: v1alpha1.RunSpec{Trust: c.trust, Ceilings: v1alpha1.Ceilings{Allow: c.began}}}
		r := &Reconciler{Registry: &imageServer{}, Settings: settings.Default()}
		r.Settings.Stacks.Allow = c.now
		_, err := NewPlan(checkout(t, map[string]string{
			".conductor.yaml": threeLines, "docker-compose.qa.yml": "services: {a: {image: b, privileged: true}}", "Dockerfile.test": "FROM a",
		}), nil, r.bounds(run))
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestImagesOfOtherRepositoriesAreRefusedBeforeAnythingIsBuilt(t *testing.T) {
	r := &Reconciler{Registry: &imageServer{}, Settings: settings.Default()}
	r.Settings.Registry.Host = "registry.example"
	for image, refused := range map[string]bool{"registry.example/acme/shop/web:1": false, "registry.example/acme/other:1": true, "redis": false} {
		_, err := NewPlan(checkout(t, map[string]string{
			".conductor.yaml": threeLines, "docker-compose.qa.yml": "services: {a: {image: '" + image + "'}}", "Dockerfile.test": "FROM a",
		}), nil, r.bounds(&v1alpha1.Run{}))
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "belongs to another repository") {
			t.Errorf("%s: %v", image, err)
		}
	}
}

func TestADockerfileInTheComposeFileIsBuiltOnItsOwn(t *testing.T) {
	p, err := NewPlan(checkout(t, map[string]string{
		".conductor.yaml": threeLines, "Dockerfile.test": "FROM a",
		"docker-compose.qa.yml": "services: {a: {build: {dockerfile_inline: FROM x}}, b: {build: {dockerfile_inline: FROM y}}, c: {build: {dockerfile_inline: FROM x}}}",
	}), nil, Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, b := range p.Builds {
		texts[b.Name] = b.Inline
	}
	want := map[string]string{"a": "FROM x", "b": "FROM y", "tests": ""}
	if !maps.Equal(texts, want) || p.ServiceBuilds["c"] != "a" {
		t.Errorf("builds %v, services %v", texts, p.ServiceBuilds)
	}
}
