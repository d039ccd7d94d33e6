//go:build apiserver

package apiserver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// checked is a repository whose services have health checks only in their images.
var checked = map[string]string{
	".conductor.yaml": "version: 1\ntests:\n  integration: yarn test\n",
	"docker-compose.qa.yml": `services:
  cache:
    image: redis:7
  web:
    build: .
    depends_on: {cache: {condition: service_healthy}}
  last:
    image: busybox:1
    restart: always
    depends_on: {web: {condition: service_healthy}}
`,
	"Dockerfile": "FROM busybox\nHEALTHCHECK CMD test -f /up\n", "Dockerfile.test": "FROM busybox\n",
}

const (
	webImage    = "registry.example/acme/shop/web"
	healthcheck = `,"Healthcheck":{"Test":["CMD-SHELL","test -f /up"],"Interval":2000000000}`
	exposed     = `,"ExposedPorts":{"6379/tcp":{}}`
)

// deployment is a service's workload in a Run's stack; nil while there is none.
func (w *world) deployment(run *v1alpha1.Run, name string) *appsv1.Deployment {
	w.t.Helper()
	d := &appsv1.Deployment{}
	if w.gone(d, jobs.StackName(run), name) {
		return nil
	}
	return d
}

// The health check of an image holds back dependents like one in the file, and a tag that moves in the meantime has no effect.
func TestImagesSayWhatIsHealthy(t *testing.T) {
	w := newWorld(t)
	w.github.files = checked
	w.shelf.configure("redis:7", healthcheck+exposed)
	w.shelf.configure(webImage, healthcheck)
	w.node.set("service/cache", running)
	w.node.set("service/web", running)
	w.node.set("build/tests", pending) // Keeps the run from ending.
	first := w.process()
	run := w.until(w.start(), "the cache runs", func(r *v1alpha1.Run) bool { return state(r, "cache") == v1alpha1.ServiceStarting })
	w.eventually("the cache is started", func() bool { return w.deployment(run, "cache") != nil })
	c := w.deployment(run, "cache").Spec.Template.Spec.Containers[0]
	if want := "redis:7@" + digest("image/redis:7"); c.Image != want || c.ReadinessProbe == nil || c.StartupProbe == nil || c.ReadinessProbe.PeriodSeconds != 2 {
		t.Errorf("it runs %s with the probe %v, want %s and the image's", c.Image, c.ReadinessProbe, want)
	}
	var svc corev1.Service
	w.must(admin.Get(t.Context(), client.ObjectKey{Namespace: jobs.StackName(run), Name: "cache"}, &svc))
	if len(svc.Spec.Ports) != 1 || svc.Spec.Ports[0].Port != 6379 {
		t.Errorf("its Service has the ports %v, and the image exposes 6379", svc.Spec.Ports)
	}
	w.until(run, "web's image is built, and web waits", func(r *v1alpha1.Run) bool {
		return r.Status.Images[1].Digest != "" && len(r.Status.StackImages) == 2 && strings.Contains(message(r, "web"), "cache (healthy)")
	})
	// The process dies, and the tags point elsewhere when the next one resolves them.
	first.kill(t)
	w.shelf.move("redis:7")
	w.shelf.move("busybox:1")
	w.node.set("service/cache", ready)
	w.process()
	w.eventually("web is started", func() bool { return w.deployment(run, "web") != nil })
	if w.deployment(run, "last") != nil {
		t.Error("last is started before web is healthy")
	}
	if c := w.deployment(run, "web").Spec.Template.Spec.Containers[0]; c.ReadinessProbe == nil || c.Image != webImage+"@"+digest("build/web") {
		t.Errorf("web runs %s with the probe %v", c.Image, c.ReadinessProbe)
	}
	w.node.set("service/web", ready)
	w.eventually("last is started", func() bool { return w.deployment(run, "last") != nil })
	if c := w.deployment(run, "last").Spec.Template.Spec.Containers[0]; c.Image != "busybox:1@"+digest("image/busybox:1") {
		t.Errorf("last runs %s, and the tag stood for %s when the run began", c.Image, digest("image/busybox:1"))
	}
	w.node.set("build/tests", exits(0, digest("build/tests")))
	run = w.until(run, "the run passes", kept)
	if run.Status.Outcome != v1alpha1.OutcomePassed || len(run.Status.Notes) > 0 {
		t.Errorf("outcome %q: %s; notes %q", run.Status.Outcome, run.Status.Message, run.Status.Notes)
	}
	if want := []v1alpha1.StackImage{{Name: "busybox:1", Digest: digest("image/busybox:1")}, {Name: "redis:7", Digest: digest("image/redis:7")}}; !cmp.Equal(sorted(run.Status.StackImages), want) {
		t.Errorf("images of the stack: %+v", run.Status.StackImages)
	}
	if again := record.twice(w.set.Namespace); len(again) > 0 {
		t.Errorf("made more than once: %s", strings.Join(again, ", "))
	}
}

// sorted sorts images by name.
func sorted(images []v1alpha1.StackImage) []v1alpha1.StackImage {
	if len(images) == 2 && images[0].Name > images[1].Name {
		return []v1alpha1.StackImage{images[1], images[0]}
	}
	return images
}

func message(run *v1alpha1.Run, service string) string {
	for _, s := range run.Status.Services {
		if s.Name == service {
			return s.Message
		}
	}
	return ""
}

// An image that cannot be looked up is used as it is, and the run reports that.
func TestAnImageThatCannotBeReadIsReported(t *testing.T) {
	w := newWorld(t)
	w.github.files = checked
	w.shelf.configure(webImage, healthcheck)
	w.github.failAlways("ImageConfig redis:7", failure.Terminalf(v1alpha1.ReasonImageUnavailable, nil, "The registry docker.io does not let Conductor see it"))
	w.process()
	run := w.until(w.start(), "the run passes", kept)
	if d := w.deployment(run, "cache"); d.Spec.Template.Spec.Containers[0].Image != "redis:7" || d.Spec.Template.Spec.Containers[0].ReadinessProbe != nil {
		t.Errorf("the cache runs %+v", d.Spec.Template.Spec.Containers[0])
	}
	notes := strings.Join(run.Status.Notes, "\n")
	for _, want := range []string{"redis:7, whose configuration could not be read: The registry docker.io does not let Conductor see it", "web.depends_on: cache has no healthcheck"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes do not say %q: %s", want, notes)
		}
	}
}

// Builds and services of other images proceed while one registry does not respond.
func TestASilentRegistryDelaysNoOtherRun(t *testing.T) {
	w := newWorld(t)
	w.github.files = checked
	w.github.failAlways("ImageConfig busybox:1", failure.Transientf(v1alpha1.ReasonUnavailable, nil, "The registry docker.io did not answer"))
	w.process()
	run := w.until(w.start(), "web is up while last waits for a word on its image", func(r *v1alpha1.Run) bool {
		return state(r, "web") == v1alpha1.ServiceReady && strings.Contains(message(r, "last"), "the registry to resolve the image of last")
	})
	run = w.until(run, "the run passes", kept)
	if !strings.Contains(strings.Join(run.Status.Notes, "\n"), "busybox:1, whose configuration could not be read: The registry docker.io did not answer") {
		t.Errorf("notes: %q", run.Status.Notes)
	}
}

// tuned is a repository whose service sets a kernel parameter beyond Pod Security's baseline.
func tuned() map[string]string {
	return map[string]string{
		".conductor.yaml":       "version: 1\ntests: {integration: {image: node, command: x}}\n",
		"docker-compose.qa.yml": "services: {db: {image: 'redis:7', restart: always, sysctls: {net.core.somaxconn: 1024}}, plain: {image: 'busybox:1'}}\n",
	}
}

// A real API server enforces Pod Security: the pod is created only if the namespace allows it.
func TestWhatTheOperatorAllowsIsAllowedToTheStacksThatAskForIt(t *testing.T) {
	w := newWorld(t)
	w.github.files = tuned()
	w.set.Stacks.Allow = []v1alpha1.Allowance{v1alpha1.AllowSysctls, v1alpha1.AllowPrivileged}
	w.ceilings = w.set.Ceilings()
	w.process()
	run := w.until(w.start(), "the run passes", kept)
	level := func(run *v1alpha1.Run) string {
		var ns corev1.Namespace
		w.must(admin.Get(t.Context(), client.ObjectKey{Name: jobs.StackName(run)}, &ns))
		return ns.Labels["pod-security.kubernetes.io/enforce"]
	}
	if run.Status.Outcome != v1alpha1.OutcomePassed || level(run) != "privileged" {
		t.Errorf("outcome %q: %s; %s is enforced", run.Status.Outcome, run.Status.Message, level(run))
	}
	if got := w.deployment(run, "db").Spec.Template.Spec.SecurityContext.Sysctls; len(got) != 1 || got[0].Value != "1024" {
		t.Errorf("kernel parameters: %v", got)
	}
	w.github.files = shop
	if run = w.until(w.start(), "a run that asks for nothing passes", kept); level(run) != "baseline" {
		t.Errorf("%s is enforced for a stack that asks for nothing", level(run))
	}
}

func TestWhatTheOperatorDoesNotAllowIsRefusedBeforeAnythingIsMade(t *testing.T) {
	for name, c := range map[string]struct {
		began, now []v1alpha1.Allowance
		trust      v1alpha1.TrustLevel
		says       string
	}{
		"nothing":            {nil, nil, v1alpha1.TrustProtected, "(stacks.allow: sysctls)"},
		"something else":     {[]v1alpha1.Allowance{"devices"}, []v1alpha1.Allowance{"devices"}, v1alpha1.TrustProtected, "(stacks.allow: sysctls)"},
		"taken back":         {[]v1alpha1.Allowance{"sysctls"}, nil, v1alpha1.TrustProtected, "(stacks.allow: sysctls)"},
		"nothing to a fork":  {[]v1alpha1.Allowance{"sysctls"}, []v1alpha1.Allowance{"sysctls"}, v1alpha1.TrustFork, "not for forks"},
		"nothing, and later": {nil, []v1alpha1.Allowance{"sysctls"}, v1alpha1.TrustProtected, "(stacks.allow: sysctls)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.github.files = tuned()
			w.set.Stacks.Allow, w.ceilings.Allow = c.now, c.began
			w.process()
			run := w.until(w.start(func(s *v1alpha1.RunSpec) { s.Trust = c.trust }), "the run is refused", over)
			if run.Status.Outcome != v1alpha1.OutcomeError || !strings.Contains(run.Status.Message, c.says) || !strings.Contains(run.Status.Message, "docker-compose.qa.yml:1") {
				t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
			}
			w.nothingLeft(run)
		})
	}
}

// A Run accepts only known allowances.
func TestACeilingIsAnAllowanceThatIsKnown(t *testing.T) {
	r := newRun("x")
	r.Name, r.Namespace, r.Spec.Ceilings.Allow = "allows-what", namespace, []v1alpha1.Allowance{"root"}
	if err := admin.Create(t.Context(), r, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("allowance root: %v", err)
	}
	r.Spec.Ceilings.Allow = v1alpha1.Allowances()
	if err := admin.Create(t.Context(), r, client.DryRunAll); err != nil {
		t.Errorf("all allowances: %v", err)
	}
}

// The Dockerfile of the compose file is in the build's own Job.
func TestADockerfileInTheComposeFileReachesItsBuild(t *testing.T) {
	w := newWorld(t)
	w.github.files = map[string]string{
		".conductor.yaml":       "version: 1\ntests: {integration: {image: node, command: x}}\n",
		"docker-compose.qa.yml": "services:\n  web:\n    build:\n      context: web\n      dockerfile_inline: |\n        FROM busybox\n        COPY index.html /\n",
		"web/index.html":        "hello\n",
	}
	w.node.set("build/web", pending)
	w.process()
	run := w.start()
	var job batchv1.Job
	w.eventually("the build is there", func() bool {
		return !w.gone(&job, w.set.Builds.Namespace, jobs.BuildName(run, "web"))
	})
	pod := job.Spec.Template
	if got := pod.Annotations[v1alpha1.AnnotationDockerfile]; got != "FROM busybox\nCOPY index.html /\n" {
		t.Errorf("the Dockerfile is %q", got)
	}
	args := strings.Join(pod.Spec.Containers[0].Args, " ")
	if !strings.Contains(args, "--context-sub-path=web") || !strings.Contains(args, "--dockerfile=/kaniko/inline/Dockerfile") {
		t.Errorf("arguments: %s", args)
	}
	w.node.set("build/web", exits(0, digest("build/web")))
	if run = w.until(run, "the run passes", kept); run.Status.Outcome != v1alpha1.OutcomePassed || !is(run, v1alpha1.ConditionImagesBuilt, metav1.ConditionTrue) {
		t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
}
