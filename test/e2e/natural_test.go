//go:build e2e && corpus && natural

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/w3evolutionsllc/conductor/test/natural"
)

// naturalScript is the program of a stand-in, under the names of programs that commands and health checks of the projects run. As one
// of these it connects to what it is asked for, or does nothing. Otherwise it waits until the names that it uses answer, and serves.
const naturalScript = `#!/bin/sh
answers() { nc -w 3 "$1" "$2" </dev/null >/dev/null 2>&1; }
case ${0##*/} in
curl | wget)
  for url; do
    case $url in *://* | *:[0-9]*) break ;; esac
  done
  host=${url#*://} host=${host%%/*}
  answers "${host%:*}" "${host##*:}"; exit
  ;;
mongosh) cat >/dev/null; answers 127.0.0.1 27017; exit ;;
stand-in) ;;
*) exec /usr/local/bin/stand-in ;;
esac
for use in $STAND_IN_USES; do
  until answers "${use%:*}" "${use#*:}"; do
    echo "$use does not answer"
    sleep 1
  done
done
echo "all names answer"
[ -z "$STAND_IN_COMPLETES" ] || exit 0
trap 'exit 0' TERM INT
for port in $STAND_IN_PORTS; do
  httpd -f -p "$port" -h /home &
done
while :; do sleep 3600 & wait $!; done
`

// programs are the names under which stand-ins have their program.
var programs = []string{"stand-in", "curl", "wget", "mongosh", "pytest", "python3"}

// naturals are the projects that run here: real programs, by service, and ports of stand-ins that the file does not name.
var naturals = []struct {
	name  string
	real  map[string]string
	ports map[string][]int32
}{
	{name: "aptrust"},
	{name: "async-api", real: map[string]string{"test_cache": "redis:7"}},
	{name: "basicrum", real: map[string]string{"nginx": "nginx:1.27", "ch_client": "busybox:1.36"}, ports: map[string][]int32{"symfony_app": {9000}}},
	{name: "bcda-ssas", real: map[string]string{"db": "postgres:15"}},
	{name: "cache-story", real: map[string]string{"database": "mariadb:latest", "waiter": "busybox:1.36"}},
	{name: "experimenter-it-fixed", real: map[string]string{"redis": "redis:7"}, ports: map[string][]int32{"app": {7001}, "db": {5432}}},
	{name: "eyfs", real: map[string]string{"db": "postgres:alpine"}},
	{name: "mysql-replication"},
	{name: "netcore6-dotted", ports: map[string][]int32{"catalog.test.db": {27017}}},
	{name: "pfa-laravel", real: map[string]string{"db": "mariadb:latest"}},
	{name: "qa-protractor", ports: map[string][]int32{"chrome": {5900}}},
	{name: "robonaut"},
	{name: "traveling-merchant", real: map[string]string{"db": "postgres:15-alpine", "my-redis": "redis:alpine"}},
	{name: "video-worker"},
	{name: "wp-cosy", real: map[string]string{"db_tests": "mariadb:latest"}},
	{name: "zaken", real: map[string]string{"zaak-redis": "redis:7", "database": "postgres:15"}},
}

// TestNaturalRuns converts unmodified projects and applies them. Each service must become what the project's verdict says: servers are
// ready by the file's own health checks, one-shot services end or run, and suites reach every server by its names.
func TestNaturalRuns(t *testing.T) {
	dir := os.Getenv("NATURAL")
	if dir == "" {
		t.Fatal("NATURAL must name the directory of the projects: make natural-up NATURAL=DIR")
	}
	verdicts, err := natural.ReadVerdicts(filepath.Join("..", "natural", "verdicts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range naturals {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			v := verdicts[n.name]
			if v == nil {
				t.Fatalf("%s has no verdict", n.name)
			}
			for service, ports := range n.ports {
				s := v.Services[service]
				s.Ports = append(s.Ports, ports...)
				v.Services[service] = s
			}
			project, err := filepath.Abs(filepath.Join(dir, n.name))
			if err != nil {
				t.Fatal(err)
			}
			args, err := natural.ConvertArgs(project)
			if err != nil {
				t.Fatal(err)
			}
			for _, service := range slices.Sorted(maps.Keys(v.Services)) {
				image := n.real[service]
				if image == "" {
					image = naturalStandIn(t, n.name, v, service)
				}
				args = append(args, "--image", service+"="+image)
			}
			m := appliedFrom(t, project, nil, args...)
			for _, service := range slices.Sorted(maps.Keys(v.Services)) {
				m.becomes(v, service, n.real[service] == "")
			}
			t.Logf("%d services became what the verdict has, %d of them real", len(v.Services), len(n.real))
		})
	}
}

// naturalStandIn makes an image in place of a service's own. It listens on the ports of the service. A suite uses every server, and
// other services use what they start after.
func naturalStandIn(t *testing.T, project string, v *natural.Verdict, service string) string {
	t.Helper()
	s := v.Services[service]
	var ports, uses []string
	for _, p := range s.Ports {
		ports = append(ports, fmt.Sprint(p))
	}
	for other, o := range v.Services {
		if _, isAfter := s.After[other]; other == service || o.Is == natural.InSuite || s.Is != natural.InSuite && !isAfter {
			continue
		}
		for _, p := range o.Ports {
			uses = append(uses, fmt.Sprintf("%s:%d", natural.HostName(other), p))
		}
	}
	slices.Sort(uses)
	config := v1.Config{Entrypoint: []string{"/usr/local/bin/stand-in"}, Env: []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "STAND_IN_PORTS=" + strings.Join(ports, " "), "STAND_IN_USES=" + strings.Join(uses, " "),
	}}
	if s.Is == natural.OneShot && len(s.Ports) == 0 {
		config.Env = append(config.Env, "STAND_IN_COMPLETES=yes")
	}
	var names []string
	for _, p := range programs {
		names = append(names, path.Join("usr/local/bin", p))
	}
	return push(t, "conductor/stand-in/natural-"+project+"-"+natural.HostName(service), config, naturalScript, names)
}

// becomes waits until a service is what its verdict has: a server or a suite is ready, a one-shot service has ended or runs. A
// stand-in has reached all that it uses by then.
func (m *manifest) becomes(v *natural.Verdict, service string, isStandIn bool) {
	m.t.Helper()
	container := natural.HostName(service)
	eventually(m.t, upTime, func() error {
		pod, err := m.pod(service)
		if err != nil {
			return err
		}
		s := status(pod, container)
		hasEnded := slices.ContainsFunc([]*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated},
			func(end *corev1.ContainerStateTerminated) bool { return end != nil && end.ExitCode == 0 })
		if !s.Ready && !(hasEnded && v.Services[service].Is == natural.OneShot) {
			return fmt.Errorf("%s is not ready: %+v", service, s.State)
		}
		if !isStandIn {
			return nil
		}
		out, err := here.Kube.CoreV1().Pods(m.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(m.t.Context())
		if err != nil || !strings.Contains(string(out), "all names answer") {
			return fmt.Errorf("%s does not reach what it uses: %v: %s", service, err, out)
		}
		return nil
	})
}
