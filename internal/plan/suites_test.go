package plan

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// A suite that names neither image nor service is the compose service for tests, unless that is part of the stack.
func TestASuiteIsTheServiceForTests(t *testing.T) {
	const web = "  web: {image: w, ports: ['80']}\n"
	for name, tc := range map[string]struct {
		config, services      string
		service, build, stack string
		notes                 string
	}{
		"the suite's name":          {"integration: x", "  integration: {image: i}\n  tests: {image: t}\n", "integration", "", "tests web", ""},
		"tests":                     {"integration: x", "  tests: {image: t, depends_on: [web]}\n", "tests", "", "web", ""},
		"test":                      {"integration: x", "  test: {image: t}\n", "test", "", "web", ""},
		"sut, which is built":       {"integration: x", "  sut: {build: .}\n", "sut", "sut", "web", ""},
		"no such service":           {"integration: x", "", "", "tests", "web", ""},
		"an image of that name":     {"integration: x}\nbuild: {images: {integration: {}}", "  tests: {image: t}\n", "", "integration", "tests web", ""},
		"an image for tests":        {"integration: x}\nbuild: {images: {tests: {}}", "  sut: {image: t}\n", "sut", "", "web", ""},
		"an image for tests, alone": {"integration: x}\nbuild: {images: {tests: {}}", "", "", "tests", "web", ""},
		"with ports": {"integration: x", "  tests: {build: ., ports: ['80']}\n", "", "tests", "tests web",
			".conductor.yaml:2:22: note: tests.integration: it uses the image of the service tests, but not its environment and volumes, since it publishes or " +
				"exposes ports. To use these as well, set run: tests, or service: tests to take the service out of the stack"},
		"exposed":                  {"integration: x", "  tests: {build: ., expose: ['80']}\n", "", "tests", "tests web", "publishes or exposes ports"},
		"needed":                   {"integration: x", "  tests: {build: .}\n  cron: {image: c, depends_on: [tests]}\n", "", "tests", "cron tests web", "since other services need it: cron."},
		"lends volumes":            {"integration: x", "  tests: {build: .}\n  cron: {image: c, volumes_from: [tests]}\n", "", "tests", "cron tests web", "since other services need it: cron."},
		"has a guest":              {"integration: x", "  tests: {build: .}\n  cron: {image: c, network_mode: 'service:tests'}\n", "", "tests", "tests web", "since other services need it: cron."},
		"needed, but not required": {"integration: x", "  tests: {build: .}\n  cron: {image: c, depends_on: {tests: {condition: service_started, required: false}}}\n", "tests", "tests", "cron web", ""},
		"the stack's, from a registry": {"web: x", "", "", "tests", "web",
			".conductor.yaml:2:14: note: tests.web: it does not run as the service web, which is part of the stack, since it publishes or exposes ports. " +
				"To run it as that service, set service: web, which takes it out of the stack, or run: web"},
		"a word of its name":         {"integration: x", "  api_tests: {image: t}\n", "", "tests", "api_tests web", "it does not run as the service api_tests, which is started as a part"},
		"a word of its name, ports":  {"integration: x", "  test-db: {image: t, ports: ['80']}\n", "", "tests", "test-db web", ""},
		"capitals":                   {"integration: x", "  Tests: {image: t}\n", "", "tests", "Tests web", "If that is the test, set service: Tests"},
		"a stock image with ports":   {"test: x", "  test: {image: t, ports: ['9229']}\n", "", "tests", "test web", "it does not run as the service test, "},
		"the stack's, beside tests":  {"web: x", "  tests: {image: t}\n", "tests", "", "web", ""},
		"in a profile":               {"integration: x", "  tests: {image: t, profiles: [qa], depends_on: [hub]}\n  hub: {image: h, profiles: [qa]}\n  lint: {image: l, profiles: [qa]}\n", "tests", "", "hub web", ""},
		"an active one goes first":   {"integration: x", "  tests: {image: t, profiles: [qa]}\n  sut: {image: s}\n", "sut", "", "web", ""},
		"in a profile, with ports":   {"integration: x", "  tests: {build: ., profiles: [qa], ports: ['80']}\n", "", "tests", "web", ""},
		"service in a profile":       {"e2e: {service: e2e}", "  e2e: {image: t, profiles: [qa]}\n", "e2e", "", "web", ""},
		"run in a profile":           {"e2e: {run: e2e, command: x}", "  e2e: {image: t, profiles: [qa]}\n", "e2e", "", "e2e web", ""},
		"run":                        {"e2e: {run: web, command: x}", "", "web", "", "web", ""},
		"service, with ports":        {"e2e: {service: api}", "  api: {image: t, ports: ['80']}\n", "api", "", "web", ""},
		"its entrypoint is replaced": {"e2e: {service: api, command: x}", "  api: {image: t, entrypoint: /wrapper}\n", "api", "", "web", ".conductor.yaml:2:38: note: tests.e2e.command: it also replaces the entrypoint of the service api. To keep that, write it into the command"},
		"image":                      {"e2e: {image: api, command: x}", "  api: {image: 't:1'}\n", "", "", "api web", ""},
	} {
		p, err := makePlan(t, map[string]string{
			".conductor.yaml": "version: 1\ntests: {" + tc.config + "}\n", "docker-compose.qa.yml": "services:\n" + web + tc.services, "Dockerfile": "FROM scratch\n",
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := p.Suites[0]
		if s.Service != tc.service || s.Build != tc.build || (s.Pod != nil) != (tc.service != "") {
			t.Errorf("%s: service %q, build %q, want %q and %q", name, s.Service, s.Build, tc.service, tc.build)
		}
		var stack []string
		for _, svc := range p.Services {
			stack = append(stack, svc.Name)
		}
		if slices.Sort(stack); strings.Join(stack, " ") != tc.stack {
			t.Errorf("%s: the stack has %v, want %s", name, stack, tc.stack)
		}
		if notes := strings.Join(p.Notes, "\n"); tc.notes == "" && notes != "" || !strings.Contains(notes, tc.notes) {
			t.Errorf("%s: notes %s, want %s", name, notes, tc.notes)
		}
	}
}

// Problems of all suites are reported at once, at their lines.
func TestProblemsOfSuites(t *testing.T) {
	_, err := makePlan(t, map[string]string{
		".conductor.yaml": `version: 1
tests:
  a: npm test
  b: {service: wbe}
  c:
    run: nothing-like-it
  d: {service: web}
  e: {service: sut}
  f: {run: sut, command: x}
`,
		"docker-compose.qa.yml": "services: {web: {image: w}, sut: {image: s, depends_on: [web]}, test: {image: t, depends_on: [web]}}\n",
	})
	want := []string{
		".conductor.yaml:3:6: tests.a: the compose files have the services test and sut, and each of them may be the test. Name one of them, such as service: test",
		"   a: npm test",
		".conductor.yaml:4:16: tests.b.service: the service wbe does not exist; did you mean web?",
		"-  b: {service: wbe}", "+  b: {service: web}",
		".conductor.yaml:6:10: tests.c.run: the service nothing-like-it does not exist. The compose files have sut, test, web",
		"     run: nothing-like-it",
		".conductor.yaml:7:16: tests.d.service: the service web has to be part of the stack, since other services need it: test. Use run: web",
		"   d: {service: web}",
		".conductor.yaml:9:12: tests.f.run: the service sut is another suite and so not part of the stack. Use run in all its suites, or service in all",
		"   f: {run: sut, command: x}",
	}
	f := failure.Of(err)
	if f == nil || f.Reason != v1alpha1.ReasonInvalidConfig {
		t.Fatalf("%v", err)
	}
	if got := strings.Split(f.Sentence, "\n"); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", f.Sentence, strings.Join(want, "\n"))
	}
}

func TestMistypedNamesArePointedOut(t *testing.T) {
	files := map[string]string{"docker-compose.qa.yml": "services:\n  web:\n    build:\n      context: .\n      dockerfile: Nope\n", "Dockerfile": "FROM scratch\n"}
	for config, want := range map[string]string{
		"version: 1\ntests: {e2e: {image: wbe, command: x}}\n":                                                        "docker-compose.qa.yml:5: refused: web.build.dockerfile: the image web cannot be built: Nope is not in the repository",
		"version: 1\ntests: {e2e: {image: tools, command: x}}\nbuild: {images: {tools: {dockerfile: build/tools}}}\n": ".conductor.yaml:3:38: build.images.tools.dockerfile: the image tools cannot be built: build/tools is not in the repository\ndocker-compose.qa.yml:5",
	} {
		files[".conductor.yaml"] = config
		_, err := makePlan(t, files)
		if f := failure.Of(err); f == nil || f.Reason != v1alpha1.ReasonNotFound || !strings.Contains(f.Sentence, want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	files["docker-compose.qa.yml"] = "services: {web: {image: w}}\n"
	for image, want := range map[string]string{
		"wbe":    ".conductor.yaml:2:22: note: tests.e2e.image: wbe is neither in build.images nor a service: it is pulled as docker.io/library/wbe; did you mean web?",
		"golang": "it is pulled as docker.io/library/golang", "web": "", "node:20": "", "acme/tets": "",
	} {
		files[".conductor.yaml"] = "version: 1\ntests: {e2e: {image: '" + image + "', command: x}}\n"
		p, err := makePlan(t, files)
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, want) || want == "" && notes != "" {
			t.Errorf("%s: %s, want %s", image, notes, want)
		}
	}
}

// A command in .conductor.yaml replaces the entrypoint and the command, wherever they come from.
func TestArgv(t *testing.T) {
	unknown := []string(nil)
	for name, tc := range map[string]struct {
		suite, service string
		image          *compose.ImageConfig
		want           []string
		offline        []string
	}{
		"a line for the shell":         {"{service: sut, command: 'npm test'}", "entrypoint: [/wrapper], command: [serve]", nil, []string{"/bin/sh", "-c", "npm test"}, nil},
		"a list":                       {"{service: sut, command: [npm, test]}", "entrypoint: [/wrapper], command: [serve]", nil, []string{"npm", "test"}, nil},
		"a list with run":              {"{run: sut, command: [npm, test]}", "command: [serve]", &compose.ImageConfig{Entrypoint: []string{"/wrapper"}}, []string{"npm", "test"}, nil},
		"the service's own":            {"{service: sut}", "entrypoint: [/wrapper], command: [serve]", nil, []string{"/wrapper", "serve"}, nil},
		"its entrypoint alone":         {"{run: sut}", "entrypoint: [/wrapper]", &compose.ImageConfig{Cmd: []string{"own"}}, []string{"/wrapper"}, nil},
		"its command and an image":     {"{service: sut}", "command: [serve]", &compose.ImageConfig{Entrypoint: []string{"/wrapper"}, Cmd: []string{"own"}}, []string{"/wrapper", "serve"}, nil},
		"its command, offline":         {"{service: sut}", "command: [serve, '$$x']", nil, unknown, []string{"ENTRYPOINT-OF-THE-IMAGE", "serve", "$x"}},
		"nothing but an image":         {"{service: sut}", "", &compose.ImageConfig{Entrypoint: []string{"/wrapper"}, Cmd: []string{"own"}}, []string{"/wrapper", "own"}, nil},
		"nothing but an image, unread": {"{run: sut}", "", nil, unknown, []string{"WHAT-THE-IMAGE-RUNS"}},
	} {
		p, err := makePlan(t, map[string]string{
			".conductor.yaml": "version: 1\ntests: {e2e: " + tc.suite + "}\n", "docker-compose.qa.yml": "services: {web: {image: w}, sut: {image: s, " + tc.service + "}}\n",
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := &p.Suites[0]
		if got := s.Argv(tc.image); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		if offline := tc.offline; tc.image == nil {
			if offline == nil {
				offline = tc.want
			}
			if got := s.Offline(); !slices.Equal(got, offline) {
				t.Errorf("%s, offline: %q, want %q", name, got, offline)
			}
		}
	}
}

// The Jobs of all attempts have the pod of the service, and those of a run of one suite leave the services of the others out of the stack.
func TestAttemptsHaveThePodOfTheService(t *testing.T) {
	files := map[string]string{
		".conductor.yaml": "version: 1\ntests:\n  api: {run: app, command: x, shards: 2, env: {KEY: mine}}\n  e2e: {service: sut, retry: 1}\n  more: {service: sut, command: y}\n",
		"docker-compose.qa.yml": "services:\n  app: {image: a, ports: ['80'], environment: {KEY: value, OTHER: '$$(HOME)'}, volumes: ['data:/data'], working_dir: /src, user: '1000'}\n" +
			"  sut: {image: s, volumes: ['./conf:/conf:ro', 'data:/data'], networks: [front]}\nvolumes: {data: {}}\nnetworks: {front: {}}\n",
		"conf/a.ini": "a = 1\n",
	}
	p, err := makePlan(t, files)
	if err != nil {
		t.Fatal(err)
	}
	api := p.TestJob(&p.Suites[0], 1, 1, "a@sha256:1", []string{"x"}).Spec.Template
	c := api.Spec.Containers[0]
	env := map[string]string{}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	if c.Image != "a@sha256:1" || c.WorkingDir != "/src" || *c.SecurityContext.RunAsUser != 1000 || env["KEY"] != "mine" || env["OTHER"] != "$$(HOME)" {
		t.Errorf("%+v", c)
	}
	for i, want := range map[int]int{0: 1, 1: 2, 2: 2} {
		job := p.TestJob(&p.Suites[i], 0, 2, "i", []string{"x"})
		pod := job.Spec.Template
		claims := 0
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil || v.ConfigMap != nil {
				claims++
			}
		}
		if claims != want || pod.Spec.Affinity == nil || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
			t.Errorf("%s: %+v", p.Suites[i].Name, pod.Spec)
		}
		if pod.Labels[v1alpha1.LabelService] != "" || pod.Labels["app.kubernetes.io/name"] != "" || pod.Labels[v1alpha1.LabelStage] != "test" || pod.Labels["volume.conductor.digitalservic.es/data"] != "true" {
			t.Errorf("%s: labels %v", p.Suites[i].Name, pod.Labels)
		}
	}
	only, err := makePlan(t, files, "api")
	if err != nil {
		t.Fatal(err)
	}
	if len(only.Services) != 1 || only.Services[0].Name != "app" || len(only.Suites) != 1 {
		t.Errorf("a run of api has %+v and %+v", only.Services, only.Suites)
	}
}

// What a test waits for is a part of the stack: its conditions decide what its services are, as if it were started with them.
func TestASuiteIsNotAServiceOfTheStack(t *testing.T) {
	files := map[string]string{
		".conductor.yaml":       "version: 1\ntests: {e2e: x}\nstack: {public: [{service: sut, port: 80}, {service: wbe, port: 80}, {service: web, port: 80}]}\n",
		"docker-compose.qa.yml": "services: {web: {image: w}, seed: {image: s}, sut: {image: t, depends_on: {seed: {condition: service_completed_successfully}, web: {condition: service_started}}}}\n",
	}
	line := files[".conductor.yaml"][strings.Index(files[".conductor.yaml"], "stack"):]
	want := ".conductor.yaml:3:28: stack.public[0].service: the service sut runs as a test and is not part of the stack\n " + line +
		".conductor.yaml:3:54: stack.public[1].service: the service wbe does not exist; did you mean web?\n" +
		"-" + line + "+" + strings.Replace(line, "wbe", "web", 1) +
		".conductor.yaml:3:91: stack.public[2].port: port 80 of web is not exposed. Add it to the service's ports or expose\n " +
		strings.TrimSuffix(line, "\n")
	if _, err := makePlan(t, files); err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	files[".conductor.yaml"] = "version: 1\ntests: {e2e: x}\n"
	p, err := makePlan(t, files)
	if err != nil {
		t.Fatal(err)
	}
	oneShot := map[string]bool{}
	for _, svc := range p.Services {
		oneShot[svc.Name] = svc.OneShot
	}
	if len(oneShot) != 2 || !oneShot["seed"] || oneShot["web"] {
		t.Errorf("services %v", oneShot)
	}
}
