package compose

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// testsOf converts a project some of whose services run as tests.
func testsOf(t *testing.T, yaml string, load LoadOptions, tests map[string]TestService) (*Stack, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(dir, load)
	if err != nil {
		return nil, err
	}
	return Convert(p, Options{Tests: tests})
}

const testProject = `
services:
  app:
    image: a
    command: [serve]
    environment: {KEY: value}
    ports: ["8080:80"]
    healthcheck: {test: [CMD-SHELL, "true"]}
    networks: [front]
    volumes: ["data:/data", "/scratch"]
    pre_start: [{command: [prepare]}]
    post_start: [{command: [warm]}]
    restart: always
    deploy: {replicas: 2, resources: {limits: {memory: 64M}}}
  db: {image: d, networks: [back]}
  sidecar: {image: s, network_mode: "service:app"}
networks: {front: {}, back: {}}
volumes: {data: {}}
`

// A test has what the service has but its names, its restarts and its reports; the service of `run` is up as well.
func TestAServiceRunsAsATest(t *testing.T) {
	for name, tc := range map[string]struct {
		test            TestService
		services, inits []string
		hooks, noted    bool
	}{
		"instead of the service":     {TestService{Pods: 1}, []string{"db"}, []string{"seed-app-1", "seed-app-2", "pre-start-app-1"}, true, true},
		"besides the service":        {TestService{Pods: 1, InStack: true}, []string{"app", "db"}, []string{"seed-app-1"}, false, false},
		"in another run of the file": {TestService{}, []string{"db"}, nil, false, false},
	} {
		project := testProject
		if !tc.test.InStack {
			project = strings.Replace(project, "  sidecar", "  #sidecar", 1)
		}
		stack, err := testsOf(t, project, LoadOptions{}, map[string]TestService{"app": tc.test})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var services []string
		for _, s := range stack.Services {
			services = append(services, s.Name)
		}
		if !slices.Equal(services, tc.services) {
			t.Errorf("%s: the stack has %v, want %v", name, services, tc.services)
		}
		if tc.test.Pods == 0 {
			if len(stack.Tests) > 0 {
				t.Errorf("%s: %+v", name, stack.Tests)
			}
			continue
		}
		pod := stack.Tests[0].Template.Spec
		c := pod.Containers[0]
		if len(pod.Containers) != 1 || c.Image != "a" || stack.Tests[0].Image != "a" || !slices.Equal(c.Args, []string{"serve"}) ||
			!slices.Equal(c.Env, []corev1.EnvVar{{Name: "KEY", Value: "value"}}) || c.Resources.Limits.Memory().Value() != 64<<20 || len(c.VolumeMounts) != 2 {
			t.Errorf("%s: %+v", name, pod)
		}
		if len(c.Ports) > 0 || c.ReadinessProbe != nil || c.LivenessProbe != nil || c.StartupProbe != nil || (c.Lifecycle != nil) != tc.hooks {
			t.Errorf("%s: the container is a service's: %+v", name, c)
		}
		var inits []string
		for _, i := range pod.InitContainers {
			inits = append(inits, i.Name)
		}
		if !slices.Equal(inits, tc.inits) {
			t.Errorf("%s: init containers %v, want %v", name, inits, tc.inits)
		}
		if got := strings.Contains(fmt.Sprint(stack.Findings), "once and not 2 times"); got != tc.noted {
			t.Errorf("%s: findings %v", name, stack.Findings)
		}
	}
}

// Services select by name and alias; policies by network, and the scheduler by volume.
func TestAServiceDoesNotSelectTests(t *testing.T) {
	stack, err := testsOf(t, strings.ReplaceAll(testProject, "back: {}", "back: {internal: true}"), LoadOptions{}, map[string]TestService{"app": {Pods: 1, InStack: true}})
	if err != nil {
		t.Fatal(err)
	}
	labels := stack.Tests[0].Template.Labels
	want := map[string]string{
		LabelNetworks: "own", labelTest: "app", "network.conductor.digitalservic.es/front": "true", "volume.conductor.digitalservic.es/data": "true",
	}
	if diff := cmp.Diff(want, labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	selected := func(selector map[string]string) bool {
		for k, v := range selector {
			if labels[k] != v {
				return false
			}
		}
		return true
	}
	policies := 0
	for _, o := range stack.Objects() {
		switch o := o.(type) {
		case *corev1.Service:
			if selected(o.Spec.Selector) {
				t.Errorf("the Service %s selects the test", o.Name)
			}
		case *networkingv1.NetworkPolicy:
			if selected(o.Spec.PodSelector.MatchLabels) {
				policies++
			}
		}
	}
	if policies != 1 {
		t.Errorf("%d policies select the test", policies)
	}
}

// A claim is attached to one node, so that all its pods have to run there.
func TestPodsOfOneClaimStayTogether(t *testing.T) {
	const alone = "services: {sut: {image: s, volumes: ['data:/d']}}\nvolumes: {data: {}}\n"
	const shared = "services: {sut: {image: s, volumes: ['data:/d']}, web: {image: w, volumes: ['data:/d']}}\nvolumes: {data: {}}\n"
	for name, tc := range map[string]struct {
		project string
		test    TestService
		want    bool
	}{
		"one pod":                        {alone, TestService{Pods: 1}, false},
		"two shards":                     {alone, TestService{Pods: 2}, true},
		"the service as well":            {alone, TestService{Pods: 1, InStack: true}, true},
		"another service":                {shared, TestService{Pods: 1}, true},
		"the service in a run's absence": {shared, TestService{}, false},
	} {
		stack, err := testsOf(t, tc.project, LoadOptions{}, map[string]TestService{"sut": tc.test})
		if err != nil {
			t.Fatal(err)
		}
		templates := []corev1.PodTemplateSpec{}
		for _, x := range stack.Tests {
			templates = append(templates, x.Template)
		}
		for _, s := range stack.Services {
			templates = append(templates, *templateOf(s.Workload))
		}
		for _, x := range templates {
			if (x.Spec.Affinity != nil) != tc.want || (x.Labels[labelVolume+"data"] != "") != tc.want {
				t.Errorf("%s: labels %v, affinity %v", name, x.Labels, x.Spec.Affinity)
			}
		}
	}
}

func TestATestHasItsOwnNetworkNamespace(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"a service with one port": {"services:\n  web: {image: w, ports: ['80:3000']}\n  e2e:\n    image: e\n    network_mode: service:web\n",
			"docker-compose.qa.yml:5: refused: e2e.network_mode: e2e runs as a test, which has a pod of its own, so it cannot use the network of web. " +
				"Remove network_mode, and write web instead of localhost: http://web:3000"},
		"a container":     {"services:\n  my_web: {image: w, container_name: site}\n  e2e:\n    image: e\n    network_mode: container:site\n", "write my-web instead of localhost: http://my-web:PORT"},
		"an unknown one":  {"services:\n  e2e:\n    image: e\n    network_mode: container:site\n", "docker-compose.qa.yml:4: refused: e2e.network_mode: container:site does not name a service"},
		"the node's":      {"services:\n  e2e:\n    image: e\n    network_mode: host\n", "docker-compose.qa.yml:4: refused: e2e.network_mode: "},
		"shared memory":   {"services:\n  web: {image: w}\n  e2e:\n    image: e\n    ipc: service:web\n", "docker-compose.qa.yml:5: refused: e2e.ipc: "},
		"other processes": {"services:\n  web: {image: w}\n  e2e:\n    image: e\n    pid: service:web\n", "docker-compose.qa.yml:5: refused: e2e.pid: "},
	} {
		for _, inStack := range []bool{false, true} {
			if _, err := testsOf(t, tc.yaml, LoadOptions{}, map[string]TestService{"e2e": {Pods: 1, InStack: inStack}}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %s", name, err, tc.want)
			}
		}
	}
}

// A test without network still reports its results.
func TestATestWithoutNetworkReachesTheAgent(t *testing.T) {
	stack, err := testsOf(t, "services: {sut: {image: s, network_mode: none}}\n", LoadOptions{}, map[string]TestService{"sut": {Pods: 1}})
	if err != nil {
		t.Fatal(err)
	}
	policy := stack.Shared[0].(*networkingv1.NetworkPolicy)
	if len(policy.Spec.Egress) != 2 || policy.Spec.Egress[0].To[0].PodSelector.MatchLabels["conductor.digitalservic.es/stage"] != "agent" || stack.Tests[0].Template.Labels[LabelNetworks] != "none" {
		t.Errorf("%+v, labels %v", policy.Spec, stack.Tests[0].Template.Labels)
	}
}

// Docker compose enables a service that its command line names, and what it needs of the same profile.
func TestNamedServicesAreEnabled(t *testing.T) {
	const yaml = `
services:
  app: {image: a}
  e2e: {image: e, profiles: [qa], depends_on: [app, chrome]}
  chrome: {image: c, profiles: [qa, debug], links: [hub]}
  hub: {image: h, profiles: [debug]}
  lint: {image: l, profiles: [qa]}
`
	for name, tc := range map[string]struct{ services, want, inactive []string }{
		"none":      {nil, []string{"app"}, []string{"chrome", "e2e", "hub", "lint"}},
		"one":       {[]string{"lint"}, []string{"app", "lint"}, []string{"chrome", "e2e", "hub"}},
		"its needs": {[]string{"e2e"}, []string{"app", "chrome", "e2e", "hub"}, []string{"lint"}},
		"unknown":   {[]string{"x"}, []string{"app"}, []string{"chrome", "e2e", "hub", "lint"}},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Load(dir, LoadOptions{Services: tc.services})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Services(); !slices.Equal(got, tc.want) || !slices.Equal(p.Inactive(), tc.inactive) {
			t.Errorf("%s: %v, inactive %v", name, got, p.Inactive())
		}
	}
}

func TestDependants(t *testing.T) {
	stack := map[string]string{
		"depends_on": "depends_on: [sut]", "links": "links: [sut]", "volumes_from": "volumes_from: [sut]", "volumes_from a container": "volumes_from: ['container:the-sut:ro']",
		"network_mode": "network_mode: 'service:sut'", "network_mode of a container": "network_mode: 'container:the-sut'", "ipc": "ipc: 'service:sut'", "pid": "pid: 'service:sut'",
		"not required": "depends_on: {sut: {condition: service_started, required: false}}", "another": "depends_on: [db]",
	}
	for _, name := range slices.Sorted(maps.Keys(stack)) {
		dir := t.TempDir()
		yaml := "services: {sut: {image: s, container_name: the-sut}, db: {image: d}, web: {image: w, " + stack[name] + "}}\n"
		if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Load(dir, LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(p.Dependants("sut")) == 1, name != "not required" && name != "another"; got != want {
			t.Errorf("%s: %v", name, p.Dependants("sut"))
		}
	}
}

// What a test requests counts, and its pod has to fit into an object.
func TestTestsAreWithinTheBounds(t *testing.T) {
	var large strings.Builder
	for i := range 20 {
		fmt.Fprintf(&large, "A%d: *x , ", i)
	}
	for name, tc := range map[string]struct {
		fields   string
		ceilings v1alpha1.Ceilings
		want     string
	}{
		"memory": {"mem_limit: 700m, mem_reservation: 700m", v1alpha1.Ceilings{Memory: "1Gi"}, "all services together request"},
		"pods":   {"", v1alpha1.Ceilings{Pods: 1}, "all services together are 2 pods"},
		"size":   {"environment: {" + large.String() + "}", v1alpha1.Ceilings{}, "sut: the pod of the test has 1.172 MiB; the API server takes objects of at most 1 MiB"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, DefaultFile), []byte("x-text: &x "+strings.Repeat("x", 60<<10)+"\nservices: {sut: {image: s, "+tc.fields+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Load(dir, LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Convert(p, Options{Ceilings: tc.ceilings, Tests: map[string]TestService{"sut": {Pods: 1, InStack: true}}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %.300v, want %s", name, err, tc.want)
		}
	}
}

// A test that depends on the test of another suite would wait for a service that the stack does not have.
func TestATestDependsOnAnotherTest(t *testing.T) {
	const file = "services:\n  db: {image: d}\n  lint: {image: l}\n  e2e: {image: e, depends_on: [db, lint]}\n"
	for name, tc := range map[string]struct {
		lint TestService
		want []string
	}{
		"of another suite": {TestService{}, []string{DefaultFile + ":4: note: e2e.depends_on: lint is the test of another suite, and so not part of the stack: " +
			"this test neither waits for it nor reaches it"}},
		"that is up as well": {TestService{InStack: true}, nil},
	} {
		stack, err := testsOf(t, file, LoadOptions{}, map[string]TestService{"e2e": {Pods: 1}, "lint": tc.lint})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range stack.Findings {
			if f.Level == LevelNote {
				got = append(got, f.String())
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
