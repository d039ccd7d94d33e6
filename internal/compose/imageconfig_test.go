package compose

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What Docker writes, and Kaniko after it: https://github.com/moby/docker-image-spec/blob/main/spec.md
const dockerConfig = `{"architecture":"amd64","os":"linux","config":{"User":"1000:1000","ExposedPorts":{"8080/tcp":{},"53/udp":{}},
"Env":["PATH=/bin"],"Entrypoint":["/app"],"Cmd":["serve"],"Shell":["/bin/bash","-c"],"Volumes":{"/data":{},"/cache":{}},
"Healthcheck":{"Test":["CMD-SHELL","test -f /up"],"Interval":5000000000,"Timeout":1000000000,"StartPeriod":60000000000,"StartInterval":2000000000,"Retries":4}}}`

func TestParseImageConfig(t *testing.T) {
	got, err := ParseImageConfig([]byte(dockerConfig))
	want := ImageConfig{
		Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, Shell: []string{"/bin/bash", "-c"}, User: "1000:1000", Volumes: []string{"/cache", "/data"}, ExposedPorts: []string{"53/udp", "8080/tcp"},
		Healthcheck: &Healthcheck{
			Test: []string{"CMD-SHELL", "test -f /up"}, Interval: 5 * time.Second, Timeout: time.Second, StartPeriod: time.Minute,
			StartInterval: 2 * time.Second, Retries: 4,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, broken := range []string{"", "[]", `{"config": {"Healthcheck": {"Interval": "soon"}}}`} {
		if got, err := ParseImageConfig([]byte(broken)); err == nil {
			t.Errorf("%q is read as %+v", broken, got)
		}
	}
}

// A health check that is none is nothing that the author of a compose file could mend.
func TestOnlyHealthChecksOfDockerfilesAreTaken(t *testing.T) {
	for test, want := range map[string]bool{
		`["NONE"]`: true, `["CMD","x"]`: true, `["CMD-SHELL","x y"]`: true,
		`[]`: false, `null`: false, `["CMD"]`: false, `["CMD-SHELL"]`: false, `["CMD-SHELL","x","y"]`: false, `["x"]`: false,
	} {
		got, err := ParseImageConfig([]byte(`{"config":{"Healthcheck":{"Test":` + test + `}}}`))
		if err != nil || (got.Healthcheck != nil) != want {
			t.Errorf("%s: %+v, %v", test, got.Healthcheck, err)
		}
	}
}

// What a configuration may still change is neither refused nor noted, and then it is.
func TestImagesThatAreStillToCome(t *testing.T) {
	p := loadText(t, `services:
  cleared: {image: a, entrypoint: []}
  named: {image: a, user: app}
  waits: {image: b, command: [wait], depends_on: {named: {condition: service_healthy}}}
`)
	if stack, err := Convert(p, Options{ImagesPending: []string{"cleared", "named", "waits"}}); err != nil || len(stack.Findings) > 0 {
		t.Errorf("while images are to come: %v, %v", err, stack)
	}
	_, err := Convert(p, Options{})
	if err == nil || !strings.Contains(err.Error(), "the image's own is not known") {
		t.Errorf("without: %v", err)
	}
	config := ImageConfig{User: "app", Cmd: []string{"run"}, Healthcheck: &Healthcheck{Test: []string{"CMD", "ok"}}}
	stack, err := Convert(p, Options{ImageConfigs: map[string]ImageConfig{"a": config}})
	if err != nil || len(stack.Findings) > 0 {
		t.Fatalf("with: %v, %v", err, stack)
	}
	if got := stack.Services[0].Workload; templateOf(got).Spec.Containers[0].Command[0] != "run" || stack.Services[1].Probe == "" {
		t.Errorf("the image's command and health check are lost: %+v", templateOf(got).Spec.Containers[0])
	}
	stack, err = Convert(p, Options{ImageConfigs: map[string]ImageConfig{"a": {Cmd: []string{"run"}}}})
	if err != nil || len(stack.Findings) != 2 {
		t.Errorf("an image without user and health check: %v, %v", err, stack)
	}
}

func TestAllowancesThatAreUsed(t *testing.T) {
	all := Options{Allow: Allowances()}
	for file, want := range map[string][]Allowance{
		"{image: a}": nil,
		"{image: a, cap_add: [CHOWN], sysctls: {net.ipv4.tcp_syncookies: 1}, ipc: private}": nil,
		"{image: a, privileged: true}":                                  {AllowPrivileged},
		"{image: a, privileged: true, network_mode: host, pid: host}":   {AllowHostNamespaces, AllowHostNetwork, AllowPrivileged},
		"{image: a, devices: ['/dev/fuse:/dev/fuse']}":                  {AllowDevices},
		"{image: a, volumes: ['/var/run/docker.sock:/d', '/etc:/etc']}": {AllowEngine, AllowHostPaths},
		"{image: a, cap_add: [SYS_ADMIN]}":                              {AllowCapabilities},
		"{image: a, sysctls: {net.core.somaxconn: 1024}}":               {AllowSysctls},
		"{image: a, security_opt: ['seccomp=unconfined']}":              {AllowUnconfined},
	} {
		stack, err := Convert(loadText(t, "services:\n  a: "+file+"\n"), all)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if diff := cmp.Diff(want, stack.Allowed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func loadText(t *testing.T, text string) *Project {
	t.Helper()
	p, err := Load(write(t, map[string]string{DefaultFile: text}), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
