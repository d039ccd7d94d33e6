//go:build e2e && corpus

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/corpus"
)

// upTime is how long a project may take to become ready.
const upTime = 5 * time.Minute

// running are the projects of the corpus that run here. Their databases, caches and web servers are real, from Debian's packages
// (`test/cluster databases`). Programs without sources in the corpus or a package are replaced by stand-ins.
var running = []struct {
	name string
	// standIns are the services that run a stand-in, which listens on the ports that others expect.
	standIns []string
	// deaf are services that others reference on ports on which the real program does not listen either: only their names must resolve.
	deaf []string
}{
	{name: "dc-config-hash"},
	{name: "dc-hooks"},
	{name: "dc-network-aliases"},
	{name: "freshrss"},
	{name: "ko-config-long"},
	{name: "ko-network-mode-service"},
	{name: "ko-vols-subpath"},
	{name: "outline"},
	{name: "syn-files-a", deaf: []string{"tail"}},
	{name: "aw-gitea-postgres", standIns: []string{"gitea"}},
	{name: "aw-nginx-flask-mysql", standIns: []string{"backend", "proxy"}},
	{name: "aw-nginx-golang-mysql", standIns: []string{"backend"}},
	{name: "aw-nginx-golang-postgres", standIns: []string{"backend"}},
	{name: "aw-nginx-nodejs-redis", standIns: []string{"web1", "web2", "nginx"}},
	{name: "aw-postgresql-pgadmin", standIns: []string{"pgadmin"}},
	{name: "aw-react-express-mysql", standIns: []string{"backend", "frontend"}},
	{name: "aw-react-rust-postgres", standIns: []string{"backend", "frontend"}},
	{name: "aw-spring-postgres", standIns: []string{"backend"}},
	{name: "aw-wordpress-mysql", standIns: []string{"wordpress"}},
	{name: "docmost", standIns: []string{"docmost"}},
	{name: "ko-ports-with-ip", standIns: []string{"web"}},
	{name: "strapi-postgresql", standIns: []string{"strapi"}},
	{name: "syn-life-a", standIns: []string{"migrate", "api"}},
	{name: "syn-net-a", standIns: []string{"api_server"}},
}

// TestCorpusRuns converts unmodified projects, applies them, and waits until each is ready. Then every name that a service uses must
// resolve and accept connections from its pod.
func TestCorpusRuns(t *testing.T) {
	dir := os.Getenv(corpus.Variable)
	if dir == "" {
		t.Fatalf("%s must name the directory of the projects: make corpus CORPUS=DIR", corpus.Variable)
	}
	all, err := corpus.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range running {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(all, func(p corpus.Project) bool { return p.Name == r.name })
			if i < 0 {
				t.Fatalf("%s is not in the corpus", r.name)
			}
			p, err := corpus.Load(t.Context(), all[i])
			if err != nil {
				t.Fatal(err)
			}
			uses := corpus.Uses(p)
			var args []string
			for _, f := range all[i].Files {
				args = append(args, "-f", f)
			}
			for _, profile := range all[i].Profiles {
				args = append(args, "--profile", profile)
			}
			for _, service := range r.standIns {
				args = append(args, "--image", service+"="+standIn(t, r.name, p, uses, service))
			}
			m := appliedFrom(t, all[i].Dir, nil, args...)
			n, ended := m.up(p)
			for _, u := range uses {
				if !ended[corpus.Host(p, p.Services[u.From]).Name] && !ended[u.To] {
					m.answers(p, u, listens(t, p, uses, u, r.deaf))
				}
			}
			t.Logf("%d workloads are up, %d uses of names answer; stood in for: %q", n, len(uses), r.standIns)
		})
	}
}

// up waits until every Deployment has all its pods ready and every Job is complete or serves, and returns their number and the services that
// have ended.
func (m *manifest) up(p *types.Project) (n int, ended map[string]bool) {
	m.t.Helper()
	eventually(m.t, upTime, func() error {
		deployments, err := here.Kube.AppsV1().Deployments(m.namespace).List(m.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		jobs, err := here.Kube.BatchV1().Jobs(m.namespace).List(m.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if n = len(deployments.Items) + len(jobs.Items); n == 0 {
			m.t.Fatal("the project became neither Deployments nor Jobs")
		}
		for _, d := range deployments.Items {
			if d.Status.ObservedGeneration != d.Generation || d.Status.ReadyReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
				return fmt.Errorf("%s: %d of %d pods are ready", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas)
			}
		}
		ended, err = endedJobs(p, jobs.Items)
		return err
	})
	return n, ended
}

// endedJobs are the services whose Jobs are complete. The error names a Job that neither is nor serves: one that others wait for does not.
func endedJobs(p *types.Project, jobs []batchv1.Job) (map[string]bool, error) {
	ended := map[string]bool{}
	for _, j := range jobs {
		service := j.Labels[v1alpha1.LabelService]
		switch serves := j.Status.Ready != nil && *j.Status.Ready > 0 && !completes(p, service); {
		case j.Status.Succeeded > 0:
			ended[service] = true
		case !serves:
			return nil, fmt.Errorf("the Job %s neither is complete nor serves: %d pods have failed", j.Name, j.Status.Failed)
		}
	}
	return ended, nil
}

// inCluster is a name as it is written in variables, commands and files after the conversion, according to the documentation.
func inCluster(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// answers checks from a pod of the service that uses a name that it resolves and that one of the ports accepts connections. Services that
// have ended are left out: their stand-ins have checked it themselves, and their own names do not resolve anymore, as under compose.
func (m *manifest) answers(p *types.Project, u corpus.Use, ports []int) {
	m.t.Helper()
	from, host := corpus.Host(p, p.Services[u.From]).Name, inCluster(u.Name)
	// The discard port accepts connections nowhere: the error shows whether the name resolves.
	m.soonIn(from, fmt.Sprintf("nc -w 2 %s 9 </dev/null 2>&1 | grep -q 'bad address' && echo unknown || echo known", host), "known")
	if len(ports) == 0 {
		return
	}
	var tries []string
	for _, port := range ports {
		tries = append(tries, fmt.Sprintf("nc -w 3 %s %d </dev/null >/dev/null 2>&1", host, port))
	}
	m.soonIn(from, "if "+strings.Join(tries, " || ")+"; then echo answers; else echo silent; fi", "answers")
}

// listens are the ports of which one must accept connections: that of the use, else those in the file, the image or other uses.
func listens(t *testing.T, p *types.Project, uses []corpus.Use, u corpus.Use, deaf []string) []int {
	t.Helper()
	if slices.Contains(deaf, u.To) {
		return nil
	}
	if u.Port != 0 {
		return []int{u.Port}
	}
	return append(expected(p, uses, u.To), exposed(t, p.Services[u.To].Image)...)
}

// expected are the ports of a service in the file or in uses by others.
func expected(p *types.Project, uses []corpus.Use, service string) []int {
	ports := corpus.Ports(p.Services[service])
	for _, u := range uses {
		if u.To == service && u.Port != 0 && !slices.Contains(ports, u.Port) {
			ports = append(ports, u.Port)
		}
	}
	return ports
}

// soonIn waits until a line prints the expected output in the first container of a service's pod.
func (m *manifest) soonIn(service, line, want string) {
	m.t.Helper()
	eventually(m.t, patience, func() error {
		pod, err := m.pod(service)
		if err != nil {
			return err
		}
		out, err := here.Kubectl(m.t.Context(), "-n", m.namespace, "exec", pod.Name, "--", "sh", "-c", line)
		if err != nil || !slices.Contains(strings.Split(strings.TrimSpace(out), "\n"), want) {
			return fmt.Errorf("%s: %s: %q, %v, want %q", service, line, out, err, want)
		}
		return nil
	})
}

// completes reports whether others wait for a service to complete.
func completes(p *types.Project, service string) bool {
	for _, s := range p.Services {
		if d, ok := s.DependsOn[service]; ok && d.Condition == types.ServiceConditionCompletedSuccessfully {
			return true
		}
	}
	return false
}

// exposed are the ports that an image exposes; none if the cluster's registry does not have the image.
func exposed(t *testing.T, image string) []int {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil
	}
	here, err := name.ParseReference(here.Registry+"/"+ref.Context().RepositoryStr()+":"+ref.Identifier(), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(here, remote.WithContext(t.Context()))
	if err != nil {
		return nil
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var ports []int
	for p := range config.Config.ExposedPorts {
		number, protocol, _ := strings.Cut(p, "/")
		if n, err := strconv.Atoi(number); err == nil && protocol != "udp" {
			ports = append(ports, n)
		}
	}
	return ports
}
