//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// hostile is a secret's value that a shell, YAML or Kubernetes would change if they interpreted it.
const hostile = `it's "$(HOME)" $HOME $$ \n %s & <x> : {y} #z`

// TestConvertedFeatures checks a stack that `conductor convert` wrote and kubectl applied from inside its containers.
func TestConvertedFeatures(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("testdata/features")
	if err != nil {
		t.Fatal(err)
	}
	m := appliedFrom(t, dir, map[string]string{"DB_PASSWORD": hostile})
	for name, test := range map[string]func(*testing.T, *manifest){
		"names": namesAnswer, "replicas": replicasHaveOneName, "hosts": extraHosts,
		"secrets": secretsAreBlind, "environment": environmentWins, "files": filesAsInTheRepository, "volumes": volumesAreShared, "seed": volumesAreSeeded,
		"process": processAsAsked, "memory": memoryIsBounded, "bounds": processIsBounded, "init": initReaps,
		"hooks": hooksInOrder, "grace": graceEnds, "network mode": oneNetwork, "jobs": jobsAreTriedAgain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &manifest{t: t, namespace: m.namespace, dir: m.dir})
		})
	}
}

// try runs a line once in a service's container.
func (m *manifest) try(service, line string) (string, error) {
	m.t.Helper()
	p := m.begun(service)
	return here.Kubectl(m.t.Context(), "-n", m.namespace, "exec", p.Name, "-c", service, "--", "sh", "-c", line)
}

// shows checks what lines print in a service's container, soon after its start.
func (m *manifest) shows(service string, want map[string]string) {
	m.t.Helper()
	for line, text := range want {
		m.soon(service, line, text)
	}
}

// fails checks that a line fails with an error.
func (m *manifest) fails(service, line, sentence string) {
	m.t.Helper()
	out, err := m.try(service, line)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(out, sentence) {
		m.t.Errorf("%s: %s: %q, %v, want %q", service, line, out, err, sentence)
	}
}

// soon waits until a line prints the expected output.
func (m *manifest) soon(service, line, want string) {
	m.t.Helper()
	eventually(m.t, patience, func() error {
		out, err := m.try(service, line)
		if err != nil || strings.TrimRight(out, "\n") != want {
			return fmt.Errorf("%s: %s: %q, %v, want %q", service, line, out, err, want)
		}
		return nil
	})
}

// namesAnswer calls one service by each of its names; the name that no Service can have is in a variable.
func namesAnswer(t *testing.T, m *manifest) {
	for _, url := range []string{
		"http://api-server:8080/", "http://API-Server:8080/", "http://api-container:8080/", "http://api-host:8080/", "http://inner-api:8080/",
		"http://backend:8080/", "http://api-server-published:18080/", "$UPSTREAM",
	} {
		m.soon("web", "wget -q -T 5 -O - "+url, "api-host")
	}
}

func replicasHaveOneName(_ *testing.T, m *manifest) {
	m.soon("web", "nslookup pair."+m.namespace+".svc.cluster.local | grep -v ':53$' | grep -c '^Address'", "2")
}

func extraHosts(_ *testing.T, m *manifest) {
	m.shows("web", map[string]string{"grep legacy /etc/hosts | tr '\\t' ' '": "10.9.8.7 legacy.internal"})
}

// secretsAreBlind creates what the probe waits for only after the probe has failed.
func secretsAreBlind(t *testing.T, m *manifest) {
	m.shows("secret", map[string]string{
		"cat /tmp/argument":           "--token=" + hostile,
		"printf %s \"$DATABASE_URL\"": "postgres://u:" + hostile + "@db/x?cost=$5",
		"cat /etc/token":              hostile,
		"stat -L -c %a /etc/token":    "400",
	})
	if s := status(m.begun("secret"), "secret"); s.Ready {
		t.Error("secret is ready although its health check cannot pass")
	}
	// The probe's output: literally, and with the value in it.
	for _, step := range []struct {
		expected string
		ready    bool
	}{{"password=${DB_PASSWORD}", false}, {"password=" + hostile, true}} {
		m.run("secret", "sh", "-c", `printf '%s\n' "$1" > /tmp/expected`, "sh", step.expected)
		eventually(t, patience, func() error {
			if s := status(m.begun("secret"), "secret"); s.Ready != step.ready {
				return fmt.Errorf("ready is %v although the health check looks for %q", s.Ready, step.expected)
			}
			return nil
		})
	}
}

func environmentWins(_ *testing.T, m *manifest) {
	m.shows("files", map[string]string{"echo \"$WINS\"": "environment", "echo \"$QUOTED\"": "two words", "echo \"$PLAIN\"": "from the file"})
}

func filesAsInTheRepository(_ *testing.T, m *manifest) {
	m.shows("files", map[string]string{
		"cat /srv/site/index.html":                  "hello from a file",
		"cat /srv/site/nested/deep.txt":             "deep",
		"od -An -tx1 /srv/site/binary":              " 61 00 62 ff",
		"run.sh":                                    "ran as 0",
		"cat /etc/deep.txt":                         "deep",
		"cat /etc/app/setting.conf":                 "color=red",
		"stat -L -c '%a %u' /etc/app/setting.conf":  "440 0",
		"cat /motd":                                 "hello from a file",
		"stat -L -c %a /srv/site/nested/deep.txt":   "644",
		"test -x /srv/site/index.html || echo data": "data",
	})
	m.fails("files", "echo x > /srv/site/index.html", "Read-only file system")
	m.fails("files", "echo x > /usr/local/bin/run.sh", "Read-only file system")
}

func volumesAreShared(_ *testing.T, m *manifest) {
	m.begun("writer")
	m.soon("reader", "cat /data/note && stat -c %u /data/note", "written\n1000")
	m.fails("reader", "echo x > /data/note", "Read-only file system")
}

// volumesAreSeeded checks that a volume has the image's files at its mount path, also in another service.
func volumesAreSeeded(_ *testing.T, m *manifest) {
	m.soon("seeded", "wget -q -O - http://127.0.0.1/ | grep -c 'nginx answers'", "1")
	m.shows("reader", map[string]string{"grep -c 'nginx answers' /html/index.html": "1"})
}

func processAsAsked(_ *testing.T, m *manifest) {
	m.shows("process", map[string]string{
		"id -u":                                "1000",
		"id -g":                                "1001",
		"id -G | tr ' ' '\\n' | grep -cx 2000": "1",
		"cat /scratch/directory":               "/usr/bin",
		"cat /scratch/arguments":               "$HOME\n$(HOME)\n$$(A) b",
		"tr '\\t' ' ' < /proc/sys/net/ipv4/ip_local_port_range": "20000 30000",
	})
}

// memoryIsBounded reads sizes in KiB.
func memoryIsBounded(_ *testing.T, m *manifest) {
	m.shows("process", map[string]string{
		"df -k /scratch | awk 'END { print $1, $2 }'":                                                  "tmpfs 1024",
		"df -k /dev/shm | awk 'END { print $1, $2 }'":                                                  "tmpfs 8192",
		"cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max": "67108864",
	})
	m.fails("process", "dd if=/dev/zero of=/scratch/much bs=1k count=2000", "No space left on device")
}

func processIsBounded(_ *testing.T, m *manifest) {
	m.shows("process", map[string]string{
		"awk '/^CapBnd|^NoNewPrivs/ { print $2 }' /proc/self/status": "0000000000000000\n1",
	})
	m.fails("process", "echo x > /tmp/x", "Read-only file system")
}

// initReaps leaves an orphaned child process. Without an init it becomes a zombie, as the other service shows.
func initReaps(_ *testing.T, m *manifest) {
	const orphan = "(sleep 0.2 &); sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"
	m.shows("process", map[string]string{"cat /proc/1/comm": "pause", orphan: "0"})
	m.shows("files", map[string]string{orphan: "1"})
}

// hooksInOrder deletes the service, to check its hook and its grace period.
func hooksInOrder(t *testing.T, m *manifest) {
	m.soon("reader", "cat /log/lines", "before\nafter")
	if _, err := here.Kubectl(t.Context(), "-n", m.namespace, "delete", "deployment", "hooked"); err != nil {
		t.Fatal(err)
	}
	m.soon("reader", "cat /log/lines", "before\nafter\nstopping\nstopped")
}

// graceEnds checks that a container that ignores signals is killed after its grace period.
func graceEnds(t *testing.T, m *manifest) {
	name := m.begun("stubborn").Name
	if _, err := here.Kubectl(t.Context(), "-n", m.namespace, "delete", "pod", name, "--wait", "--timeout=45s"); err != nil {
		t.Fatal(err)
	}
	if out, err := m.try("reader", "grep late /log/lines"); err == nil {
		t.Errorf("it went on to its own end: %s", out)
	}
}

// oneNetwork reaches a port on the loopback interface of the other container.
func oneNetwork(t *testing.T, m *manifest) {
	eventually(t, patience, func() error {
		out, err := here.Kubectl(t.Context(), "-n", m.namespace, "exec", "deployment/host", "-c", "guest", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:9000/hostname")
		if err != nil || !strings.HasPrefix(out, "host-") {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

func jobsAreTriedAgain(t *testing.T, m *manifest) {
	m.begun("then")
	m.shows("reader", map[string]string{"cat /log/tries": "try\ntry"})
	list, err := here.Kube.BatchV1().Jobs(m.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelService + "=once"})
	if err != nil {
		t.Fatal(err)
	}
	if job := one(t, "Jobs of once", list.Items); job.Status.Succeeded != 1 || job.Status.Failed != 1 {
		t.Errorf("%d pods of once have succeeded and %d failed, want one each", job.Status.Succeeded, job.Status.Failed)
	}
}

// TestConvertedNetworks checks that services can connect within the networks of the file only. A stack without networks shows that the
// address that an internal one cannot reach does respond.
func TestConvertedNetworks(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("testdata/networks")
	if err != nil {
		t.Fatal(err)
	}
	m := appliedFrom(t, dir, nil)
	free := applied(t, "services:\n  free:\n    "+idler)
	const server = "kubernetes.default.svc.cluster.local 443"
	for _, c := range []struct {
		from, to string
		open     bool
	}{
		{"front", "middle 8080", true}, {"middle", "front 8080", true}, {"middle", "back 8080", true}, {"back", "middle 8080", true},
		{"front", "back 8080", false}, {"back", "front 8080", false}, {"back", server, false}, {"free", server, true},
	} {
		stack := m
		if c.from == "free" {
			stack = free
		}
		// A new pod is not filtered for a moment, so closed connections are waited for, too.
		want := map[bool]string{true: "open", false: "closed"}[c.open]
		stack.soon(c.from, "nc -w 2 "+c.to+" </dev/null >/dev/null 2>&1 && echo open || echo closed", want)
		if host, _, _ := strings.Cut(c.to, " "); !c.open {
			if out, err := stack.try(c.from, "nslookup "+qualified(host, m.namespace)); err != nil {
				t.Errorf("from %s the name %s does not resolve, which proves nothing: %s", c.from, host, out)
			}
		}
	}
}

// qualified is the full name of a Service in a namespace: busybox's nslookup does not use the search list.
func qualified(host, namespace string) string {
	if strings.Contains(host, ".") {
		return host
	}
	return host + "." + namespace + ".svc.cluster.local"
}
