//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// pullSecret is the Secret with which converted stacks pull Conductor's image.
const pullSecret = "conductor-image"

// manifest is a stack that `conductor convert` wrote and kubectl applied.
type manifest struct {
	t         *testing.T
	namespace string
	dir       string
}

// applied converts a compose file and applies it as appliedFrom does.
func applied(t *testing.T, compose string) *manifest {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(compose), 0o644); err != nil {
		t.Fatal(err)
	}
	return appliedFrom(t, dir, nil)
}

// appliedFrom converts the compose files of a directory and applies them in a namespace that enforces Pod Security's baseline and
// has the Secret of the declared secrets. The namespace is deleted after the test.
func appliedFrom(t *testing.T, dir string, secrets map[string]string, args ...string) *manifest {
	t.Helper()
	ns, err := here.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "converted-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest{t: t, namespace: ns.Name, dir: dir}
	t.Cleanup(func() {
		ctx := context.Background() // The test's own context has ended.
		if t.Failed() {
			out, _ := here.Kubectl(ctx, "-n", ns.Name, "get", "pods,jobs,endpointslices,events", "-o", "wide")
			t.Log(out)
		}
		if _, err := here.Kubectl(ctx, "delete", "namespace", ns.Name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	m.copyPullSecret()
	if len(secrets) > 0 {
		m.makeSecret("stack-secrets", secrets)
		for name := range secrets {
			args = append(args, "--secret", name)
		}
	}
	objects := m.convert(args...)
	for _, mode := range [][]string{{"--server-side", "--dry-run=server", "--validate=strict"}, nil} {
		cmd := here.Command(t.Context(), "kubectl", append([]string{"apply", "-f", "-"}, mode...)...)
		cmd.Stdin = bytes.NewReader(objects)
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("Warning")) {
			t.Fatalf("kubectl apply %q: %v\n%s", mode, err, out)
		}
	}
	return m
}

func (m *manifest) makeSecret(name string, values map[string]string) {
	m.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: values}
	if _, err := here.Kube.CoreV1().Secrets(m.namespace).Create(m.t.Context(), s, metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *manifest) copyPullSecret() {
	m.t.Helper()
	s, err := here.Kube.CoreV1().Secrets(lab.Namespace).Get(m.t.Context(), pullSecret, metav1.GetOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: pullSecret}, Type: s.Type, Data: s.Data}
	if _, err := here.Kube.CoreV1().Secrets(m.namespace).Create(m.t.Context(), s, metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

// convert runs the binary that was built with the lab.
func (m *manifest) convert(args ...string) []byte {
	m.t.Helper()
	bin, err := filepath.Abs("../../bin/conductor")
	if err != nil {
		m.t.Fatal(err)
	}
	args = append([]string{"convert", "-n", m.namespace, "--wait-image", here.Install.Image, "--pull-secret", pullSecret}, args...)
	cmd := exec.CommandContext(m.t.Context(), bin, args...)
	var errs bytes.Buffer
	cmd.Dir, cmd.Stderr = m.dir, &errs
	out, err := cmd.Output()
	if err != nil {
		m.t.Fatalf("conductor convert: %v\n%s", err, errs.String())
	}
	return out
}

// pod returns the newest pod of a service, or an error if there is none.
func (m *manifest) pod(service string) (*corev1.Pod, error) {
	list, err := here.Kube.CoreV1().Pods(m.namespace).List(m.t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelService + "=" + service})
	if err != nil {
		return nil, err
	}
	var newest *corev1.Pod
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp == nil && (newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp)) {
			newest = p
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%s has no pod", service)
	}
	return newest, nil
}

// status is the status of a container of a pod.
func status(p *corev1.Pod, container string) corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == container {
				return c
			}
		}
	}
	return corev1.ContainerStatus{}
}

// waits returns when a service's init container has printed times times what it is waiting for, which it does every ten seconds. The
// service's own container must not have started by then.
func (m *manifest) waits(service, container, sentence string, times int) {
	m.t.Helper()
	eventually(m.t, patience, func() error {
		p, err := m.pod(service)
		if err != nil {
			return err
		}
		log, err := here.Kube.CoreV1().Pods(m.namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: container}).DoRaw(m.t.Context())
		if err != nil {
			return err
		}
		if n := strings.Count(string(log), sentence); n < times {
			return fmt.Errorf("%s says %q", container, log)
		}
		return nil
	})
	m.notBegun(service)
}

// notBegun checks that a service's container was never started.
func (m *manifest) notBegun(service string) {
	m.t.Helper()
	p, err := m.pod(service)
	if err != nil {
		m.t.Fatal(err)
	}
	if s := status(p, service); s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil {
		m.t.Fatalf("the container of %s was started: %+v", service, s)
	}
}

// begun waits until a service's container runs.
func (m *manifest) begun(service string) *corev1.Pod {
	m.t.Helper()
	var pod *corev1.Pod
	eventually(m.t, patience, func() error {
		p, err := m.pod(service)
		if err != nil {
			return err
		}
		if status(p, service).State.Running == nil {
			return fmt.Errorf("%s does not run: %s, %+v", service, p.Status.Phase, status(p, service).State)
		}
		pod = p
		return nil
	})
	return pod
}

// run runs a command in a service's container once it is running.
func (m *manifest) run(service string, argv ...string) string {
	m.t.Helper()
	p := m.begun(service)
	out, err := here.Kubectl(m.t.Context(), append([]string{"-n", m.namespace, "exec", p.Name, "-c", service, "--"}, argv...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

const idler = "image: busybox:1.36\n    command: sleep 86400\n    restart: always\n    stop_grace_period: 1s\n"

// TestConvertedStacksKeepTheOrder applies stacks whose order is only in their objects. Each dependency is first late and then ready, or
// never becomes ready.
func TestConvertedStacksKeepTheOrder(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"healthy-late": healthyLate, "healthy-never": healthyNever, "started-late": startedLate, "completed-late": completedLate,
		"completed-failed": completedFailed, "optional-failed": optionalFailed,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t) })
	}
}

func healthyLate(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    depends_on: {db: {condition: service_healthy}}\n  db:\n    "+idler+
		"    healthcheck: {test: test -e /tmp/healthy, interval: 1s}\n")
	m.begun("db")
	m.waits("web", "wait-db", "waiting for db-ready to be ready: it has no ready pod yet", 1)
	// The name that others use always resolves, as under compose.
	out, err := here.Kubectl(t.Context(), "-n", m.namespace, "get", "service", "db", "-o", "jsonpath={.spec.publishNotReadyAddresses}")
	if err != nil || out != "true" {
		t.Errorf("db has its address before it is ready: %q, %v", out, err)
	}
	m.run("db", "touch", "/tmp/healthy")
	m.begun("web")
	m.run("web", "nslookup", "db-ready."+m.namespace+".svc.cluster.local")
}

func healthyNever(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    depends_on: {db: {condition: service_healthy}}\n  db:\n    "+idler+
		"    healthcheck: {test: \"false\", interval: 1s, start_interval: 1s}\n")
	m.waits("web", "wait-db", "waiting for db-ready to be ready: it has no ready pod yet", 3)
}

// startedLate has a dependency that starts only after its image is changed to one that exists.
func startedLate(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    depends_on: [queue]\n  queue:\n    "+strings.Replace(idler, "busybox:1.36", "registry.invalid/queue:1", 1))
	m.waits("web", "wait-queue", "waiting for queue-ready to be ready: it has no ready pod yet", 1)
	if _, err := here.Kubectl(t.Context(), "-n", m.namespace, "set", "image", "deployment/queue", "queue=busybox:1.36"); err != nil {
		t.Fatal(err)
	}
	m.begun("web")
}

// completedLate is on an internal network, from which the API server is reachable anyway.
func completedLate(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    networks: [back]\n    depends_on: {migrate: {condition: service_completed_successfully}}\n"+
		"  migrate:\n    image: busybox:1.36\n    networks: [back]\n    command: sh -c 'until [ -e /tmp/go ]; do sleep 0.2; done'\nnetworks: {back: {internal: true}}\n")
	m.begun("migrate")
	m.waits("web", "wait-migrate", "waiting for the Job migrate to complete: its pods: 1 active, 0 succeeded, 0 failed", 1)
	m.run("migrate", "touch", "/tmp/go")
	web := m.begun("web")
	// The token was only for the init container, and only for one Job.
	if out := m.run("web", "sh", "-c", "ls /var/run/secrets/kubernetes.io 2>&1 || echo none"); !strings.Contains(out, "none") {
		t.Errorf("the container of web has a token: %s", out)
	}
	account := "--as=system:serviceaccount:" + m.namespace + ":" + web.Spec.ServiceAccountName
	for what, want := range map[string]string{
		"get jobs/migrate": "yes", "get jobs/other": "no", "list jobs": "no", "watch jobs/migrate": "no", "delete jobs/migrate": "no", "get secrets": "no", "get pods": "no",
	} {
		out, err := here.Kubectl(t.Context(), append([]string{"-n", m.namespace, "auth", "can-i", account}, strings.Fields(what)...)...)
		var exit *exec.ExitError
		if got, _, _ := strings.Cut(strings.TrimSpace(out), "\n"); !strings.HasPrefix(got, want) || err != nil && !errors.As(err, &exit) {
			t.Errorf("may it %s: %q (%v), want %s", what, got, err, want)
		}
	}
}

func completedFailed(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    depends_on: {migrate: {condition: service_completed_successfully}}\n"+
		"  migrate:\n    image: busybox:1.36\n    command: [\"false\"]\n")
	eventually(t, patience, func() error {
		p, err := m.pod("web")
		if err != nil {
			return err
		}
		// It times out, is restarted, and times out again.
		s := status(p, "wait-migrate")
		if s.RestartCount == 0 || s.LastTerminationState.Terminated == nil {
			return fmt.Errorf("it waits: %+v", s)
		}
		if end := s.LastTerminationState.Terminated; end.ExitCode != 1 || !strings.Contains(end.Message, "the Job migrate has failed: BackoffLimitExceeded") {
			t.Fatalf("it ended with %d: %q", end.ExitCode, end.Message)
		}
		return nil
	})
	m.notBegun("web")
}

func optionalFailed(t *testing.T) {
	m := applied(t, "services:\n  web:\n    "+idler+"    depends_on: {seed: {condition: service_completed_successfully, required: false}}\n"+
		"  seed:\n    image: busybox:1.36\n    command: [\"false\"]\n")
	m.begun("web")
}
