package compose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// restarts are the ways to set a restart policy, with the number of failures after which a service has failed for good, also where others
// wait for its completion.
var restarts = []struct {
	text                  string
	always                bool
	failures, asAnAwaited int32
}{
	{text: "", failures: 0, asAnAwaited: 1},
	{text: "restart: 'no'", failures: 0, asAnAwaited: 1},
	{text: "restart: always", always: true, asAnAwaited: 1},
	{text: "restart: unless-stopped", always: true, asAnAwaited: 1},
	{text: "restart: on-failure", failures: 7, asAnAwaited: 7},
	{text: "restart: 'on-failure:2'", failures: 3, asAnAwaited: 3},
	{text: "restart: 'on-failure:0'", failures: 1, asAnAwaited: 1},
	{text: "deploy: {restart_policy: {condition: none}}", failures: 0, asAnAwaited: 1},
	{text: "deploy: {restart_policy: {condition: on-failure}}", failures: 7, asAnAwaited: 7},
	{text: "deploy: {restart_policy: {condition: on-failure, max_attempts: 4}}", failures: 5, asAnAwaited: 5},
	{text: "deploy: {restart_policy: {condition: any}}", always: true, asAnAwaited: 1},
	{text: "deploy: {restart_policy: {delay: 5s}}", always: true, asAnAwaited: 1},
	{text: "restart: 'no', deploy: {restart_policy: {condition: any}}", failures: 0, asAnAwaited: 1},
}

// servers are what the file and the image show of a service, and whether that makes it a server. The image is x.
var servers = []struct {
	text   string
	image  *ImageConfig
	later  bool // its configuration is not known yet
	server bool
	// unknown is set where only the image, which is not known, could decide.
	unknown bool
}{
	{text: "ports: ['80:80']", server: true},
	{text: "expose: [80]", server: true},
	{text: "ports: ['80:80'], command: [serve]", server: true},
	{text: "healthcheck: {test: [CMD, ok]}, command: [serve]", server: true},
	{text: "healthcheck: {disable: true}, command: [serve]"},
	{text: "healthcheck: {test: [NONE]}, command: [serve]"},
	{text: "command: [work]"},
	{text: "entrypoint: [sh, -c, 'mc mb x; exit 0']"},
	{text: "command: [work]", later: true},
	{text: "tty: true", server: true, unknown: true},
	{text: "tty: true", later: true, server: true},
	{text: "tty: true", image: &ImageConfig{Cmd: []string{"sh"}}},
	{text: "tty: true", image: &ImageConfig{ExposedPorts: []string{"80/tcp"}}, server: true},
	{text: "command: [migrate]", image: &ImageConfig{ExposedPorts: []string{"80/tcp"}}},
	{text: "entrypoint: [migrate]", image: &ImageConfig{ExposedPorts: []string{"80/tcp"}}},
	{text: "tty: true", image: &ImageConfig{Healthcheck: &Healthcheck{Test: []string{"CMD", "ok"}}}, server: true},
	{text: "tty: true", image: &ImageConfig{Healthcheck: &Healthcheck{Test: []string{"NONE"}}}},
	{text: "command: [work]", image: &ImageConfig{Healthcheck: &Healthcheck{Test: []string{"CMD", "ok"}}}},
	{text: "healthcheck: {disable: true}", image: &ImageConfig{Healthcheck: &Healthcheck{Test: []string{"CMD", "ok"}}}},
}

// TestEndsDecideTheKind: the restart policy, what shows a server, and what others wait for decide together whether a service is a Job.
func TestEndsDecideTheKind(t *testing.T) {
	for _, restart := range restarts {
		for _, from := range servers {
			for _, condition := range []string{"", ConditionStarted, ConditionHealthy, ConditionCompleted} {
				o, file := Options{}, "services:\n  s: {"+strings.Join(slices.DeleteFunc([]string{"image: x", restart.text, from.text}, func(s string) bool { return s == "" }), ", ")+"}\n"
				if condition != "" {
					file += "  other: {image: o, restart: always, depends_on: {s: {condition: " + condition + "}}}\n"
				}
				if from.image != nil {
					o.ImageConfigs = map[string]ImageConfig{"x": *from.image}
				}
				if from.later {
					o.ImagesPending = []string{"s"}
				}
				stack, err := Convert(loadText(t, file), o)
				if err != nil {
					t.Fatalf("%s%v", file, err)
				}
				s := stack.Services[slices.IndexFunc(stack.Services, func(s Service) bool { return s.Name == "s" })]
				awaited := condition == ConditionCompleted
				want := Service{OneShot: awaited || !restart.always && condition != ConditionHealthy && !from.server, Awaited: awaited, MaxFailures: restart.failures}
				if awaited {
					want.MaxFailures = restart.asAnAwaited
				}
				if !want.OneShot && !restart.always {
					want.MayEnd = []string{"s"}
				}
				got := Service{OneShot: s.OneShot, Awaited: s.Awaited, MaxFailures: s.MaxFailures, MayEnd: s.MayEnd}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%sof an image %+v (-want +got):\n%s", file, from.image, diff)
				}
				wantKind(t, file, s)
				unknown := slices.ContainsFunc(stack.Findings, func(f Finding) bool { return strings.Contains(f.Reason, "configuration is not known") })
				if unknown != (from.unknown && !restart.always && condition != ConditionHealthy && !awaited) {
					t.Errorf("%sthe findings name an unknown image: %t", file, unknown)
				}
			}
		}
	}
}

// wantKind checks that the workload of a service is what the service claims to be.
func wantKind(t *testing.T, file string, s Service) {
	t.Helper()
	switch w := s.Workload.(type) {
	case *batchv1.Job:
		if !s.OneShot || w.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure || *w.Spec.BackoffLimit != math.MaxInt32 {
			t.Errorf("%sa Job with restartPolicy %s and backoffLimit %d, one-shot: %t", file, w.Spec.Template.Spec.RestartPolicy, *w.Spec.BackoffLimit, s.OneShot)
		}
	case *appsv1.Deployment:
		if s.OneShot || w.Spec.Template.Spec.RestartPolicy != "" {
			t.Errorf("%sa Deployment with restartPolicy %q, one-shot: %t", file, w.Spec.Template.Spec.RestartPolicy, s.OneShot)
		}
	}
}

// TestThePodOfAGuestKeepsRunningWithIt: containers of one pod end together, so a server among them makes the pod a Deployment.
func TestThePodOfAGuestKeepsRunningWithIt(t *testing.T) {
	for _, tc := range []struct {
		name, host, guest string
		oneShot           bool
		mayEnd            []string
		note              string
	}{
		{name: "both end", host: "command: [work]", guest: "command: [help]", oneShot: true},
		{name: "the guest serves", host: "command: [work]", guest: "command: [help], expose: [80]", mayEnd: []string{"host", "guest"}},
		{name: "the guest is restarted", host: "command: [work]", guest: "command: [help], restart: always", mayEnd: []string{"host"}},
		{name: "the host serves", host: "command: [work], expose: [80]", guest: "command: [help]", mayEnd: []string{"host", "guest"},
			note: "guest.network_mode: the container is restarted when it ends: the pod of host keeps running"},
		{name: "only the host is restarted", host: "command: [work], restart: always", guest: "command: [help], restart: on-failure",
			mayEnd: []string{"guest"}, note: "guest.network_mode: the container is restarted when it ends"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stack, err := Convert(loadText(t, "services:\n  host: {image: x, "+tc.host+"}\n  guest: {image: x, network_mode: 'service:host', "+tc.guest+"}\n"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := stack.Services[0]
			if wantKind(t, tc.name+": ", s); s.OneShot != tc.oneShot || !slices.Equal(s.MayEnd, tc.mayEnd) {
				t.Errorf("one-shot: %t, may end: %q", s.OneShot, s.MayEnd)
			}
			lines := ""
			for _, f := range stack.Findings {
				lines += f.String() + "\n"
			}
			if !strings.Contains(lines, tc.note) || tc.note == "" && strings.Contains(lines, "is restarted when it ends") {
				t.Errorf("findings:\n%s", lines)
			}
		})
	}
}

// TestAJobWithAClaimIsReplacedOnceItsPodIsGone: two pods may not have one volume at a time.
func TestAJobWithAClaimIsReplacedOnceItsPodIsGone(t *testing.T) {
	for volumes, want := range map[string]*batchv1.PodReplacementPolicy{"['data:/data']": new(batchv1.Failed), "['/tmp/x']": nil} {
		stack, err := Convert(loadText(t, "services: {seed: {image: x, command: [seed], volumes: "+volumes+"}}\nvolumes: {data: }\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, stack.Services[0].Workload.(*batchv1.Job).Spec.PodReplacementPolicy); diff != "" {
			t.Errorf("%s (-want +got):\n%s", volumes, diff)
		}
	}
}

// TestWithoutConductorTheJobControllerCounts: what waits for a Job of a manifest learns only from the Job that it has failed.
func TestWithoutConductorTheJobControllerCounts(t *testing.T) {
	for _, tc := range []struct {
		service, others string
		policy          corev1.RestartPolicy
		limit           int32
	}{
		{"command: [seed]", "", corev1.RestartPolicyOnFailure, math.MaxInt32},
		{"command: [seed], restart: 'on-failure:2'", "", corev1.RestartPolicyNever, 2},
		{"command: [seed]", "{condition: service_completed_successfully}", corev1.RestartPolicyNever, 0},
		{"command: [seed], restart: on-failure", "{condition: service_completed_successfully}", corev1.RestartPolicyNever, 6},
		{"command: [seed]", "{condition: service_started}", corev1.RestartPolicyOnFailure, math.MaxInt32},
	} {
		file := "services:\n  seed: {image: x, " + tc.service + "}\n"
		if tc.others != "" {
			file += "  web: {image: x, expose: [80], depends_on: {seed: " + tc.others + "}}\n"
		}
		stack, err := Manifest(loadText(t, file), Options{}, ManifestOptions{WaitImage: "conductor"})
		if err != nil {
			t.Fatal(err)
		}
		job := stack.Services[0].Workload.(*batchv1.Job)
		if p := job.Spec.Template.Spec.RestartPolicy; p != tc.policy || *job.Spec.BackoffLimit != tc.limit {
			t.Errorf("%srestartPolicy %s, backoffLimit %d", file, p, *job.Spec.BackoffLimit)
		}
	}
}

// TestAJobThatServesIsInTheLastWave: Argo CD takes a Job for healthy once it has completed, and begins no later wave before.
func TestAJobThatServesIsInTheLastWave(t *testing.T) {
	stack, err := Manifest(loadText(t, `services:
  db: {image: x, expose: [80]}
  migrate: {image: x, command: [migrate], depends_on: [db]}
  worker: {image: x, command: [work]}
  api: {image: x, expose: [80], depends_on: {worker: {condition: service_started}}}
  web: {image: x, expose: [80], depends_on: {api: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}}
`), Options{}, ManifestOptions{WaitImage: "conductor"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range stack.Services {
		got[s.Name] = s.Workload.GetAnnotations()[annotationWave]
	}
	if diff := cmp.Diff(map[string]string{"db": "", "migrate": "1", "worker": "2", "api": "2", "web": "2"}, got); diff != "" {
		t.Errorf("waves (-want +got):\n%s", diff)
	}
}
