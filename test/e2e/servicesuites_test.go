//go:build e2e

package e2e

import (
	"slices"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// asServices has a suite that is the service tests, although there is a Dockerfile.test, one that runs besides the service app, and one
// that is a service of an inactive profile.
var asServices = map[string]string{
	".conductor.yaml": `version: 1
tests:
  api: |
    set -e
    test "$WHO" = "the service for tests"
    grep -x "a = 1" /conf/a.ini
    until wget -q -O - "$BASE_URL/" | grep -x "hello from app"; do sleep 0.2; done
  besides:
    run: app
    shards: 2
    retry: 1
    env: {OVER: suite}
    command: |
      set -e
      test "$APP_KEY" = "it's app" && test "$OVER" = suite && test "$(pwd)" = /srv
      grep -x written /data/note
      echo "$CONDUCTOR_SHARD" >>/data/shards
      for i in $(seq 20); do wget -q -O - http://app:8080/ | grep -qx "hello from app"; done
      test "$CONDUCTOR_ATTEMPT" = 2
  profile:
    service: lint
`,
	"docker-compose.qa.yml": `services:
  app:
    image: busybox:1.36
    working_dir: /srv
    command: sh -c "echo written >/data/note && echo hello from app >index.html && exec httpd -f -p 8080"
    environment: {APP_KEY: "it's app", OVER: service}
    ports: ["80:8080"]
    volumes: ["data:/data"]
    healthcheck: {test: "wget -q -O /dev/null http://127.0.0.1:8080/", interval: 1s, retries: 30}
    stop_grace_period: 0s
  tests:
    image: busybox:1.36
    environment: {WHO: the service for tests, BASE_URL: "http://app:8080"}
    volumes: ["./conf:/conf:ro"]
    command: "false"
    depends_on: {app: {condition: service_healthy}}
  lint:
    image: busybox:1.36
    profiles: [qa]
    command: sh -c "until wget -q -O - http://app:8080/; do sleep 0.2; done"
volumes: {data: {}}
`,
}

// TestSuitesThatAreServices runs suites with the environment, volumes and networks of compose services.
func TestSuitesThatAreServices(t *testing.T) {
	t.Parallel()
	r := small(t, asServices)
	r.write(map[string]string{"conf/a.ini": "a = 1\n"})
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		for _, s := range run.Status.Suites {
			t.Errorf("%s: %s: %s\n%s", s.Name, s.Outcome, s.Message, s.Log)
		}
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	var services, suites []string
	for _, s := range run.Status.Services {
		services = append(services, s.Name)
	}
	for _, s := range run.Status.Suites {
		suites = append(suites, s.Name)
	}
	if !slices.Equal(services, []string{"app"}) || !slices.Equal(suites, []string{"api", "besides", "profile"}) {
		t.Errorf("services %v, suites %v", services, suites)
	}
	if len(run.Status.Images) > 0 {
		t.Errorf("the run built %+v", run.Status.Images)
	}
	if besides := suiteOf(t, run, "besides"); len(besides.Attempts) != 4 {
		t.Errorf("besides had %d attempts, want 2 of each of 2 shards", len(besides.Attempts))
	}
	shared, err := here.Kubectl(t.Context(), "-n", run.Status.Namespace, "exec", "deployment/app", "-c", "app", "--", "sh", "-c", "sort /data/shards")
	if err != nil || shared != "0\n0\n1\n1\n" {
		t.Errorf("the shards wrote %q into the volume of app, %v", shared, err)
	}
}
