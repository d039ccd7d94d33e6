//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestMainJob is the main job with the example that the README shows: a pushed tag ends in a result on the issue.
func TestMainJob(t *testing.T) {
	t.Parallel()
	r := repository(t, lab.Example("shop"))
	built := watchBuilds(t, r)
	run := r.test()

	t.Run("people read the result", func(t *testing.T) { mainJobReported(t, r, run) })
	t.Run("the executor built what runs", func(t *testing.T) { mainJobBuilt(t, run, built()) })
	t.Run("the stack stays", func(t *testing.T) { mainJobKept(t, run) })
	t.Run("the command line knows it", func(t *testing.T) { mainJobCommands(t, run) })
}

func mainJobReported(t *testing.T, r *repo, run *v1alpha1.Run) {
	if run.Status.Outcome != v1alpha1.OutcomePassed || run.Status.Issue != r.Issue {
		t.Fatalf("outcome %q for issue %d, want passed for %d: %s", run.Status.Outcome, run.Status.Issue, r.Issue, run.Status.Message)
	}
	check := r.check(run, "integration")
	if check.Status != "completed" || check.Conclusion != "success" || check.SHA != run.Spec.SHA || check.Name != "conductor / integration" {
		t.Errorf("check run %+v", check)
	}
	contains(t, "check run", check.Text, "redis answers by its name", "an order is kept and confirmed by mail", "was confirmed to customer-")
	comment := r.comment(run)
	contains(t, "comment", comment, "✅ Integration tests passed", "`integration`", "was confirmed to customer-", run.Status.Namespace,
		"The stack is kept until "+run.Status.ExpiresAt.UTC().Format("2006-01-02 15:04"))
	if n := len(r.comments(r.Issue)); n != 1 {
		t.Errorf("%d comments on the issue, want one that is kept up to date", n)
	}
	for _, i := range run.Status.Images {
		contains(t, "comment", comment, i.Repository+"@"+i.Digest[:19])
	}
}

// build is how a build's pod ended.
type build struct{ image, digest, owner string }

// watchBuilds collects how the pods of a repository's builds end, since they are deleted with the run's Jobs. The returned function ends
// the watch and returns the builds by image name.
func watchBuilds(t *testing.T, r *repo) func() map[string]build {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := here.Kube.CoreV1().Pods(lab.BuildsNamespace).Watch(ctx, metav1.ListOptions{LabelSelector: fmt.Sprintf("%s=%d", v1alpha1.LabelRepository, r.ID)})
	if err != nil {
		t.Fatal(err)
	}
	builds := map[string]build{}
	var done sync.WaitGroup
	done.Go(func() {
		for e := range w.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok || e.Type == watch.Deleted || len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].State.Terminated == nil {
				continue
			}
			b := build{image: pod.Spec.Containers[0].Image, digest: pod.Status.ContainerStatuses[0].State.Terminated.Message}
			for _, o := range pod.OwnerReferences {
				b.owner = o.Kind + "/" + o.Name
			}
			builds[pod.Labels[v1alpha1.LabelImage]] = b
		}
	})
	t.Cleanup(cancel)
	return func() map[string]build { w.Stop(); done.Wait(); return builds }
}

// mainJobBuilt compares each digest in the executor's output, the registry, the run, and the pods that run it.
func mainJobBuilt(t *testing.T, run *v1alpha1.Run, builds map[string]build) {
	if len(run.Status.Images) != 2 || len(builds) != 2 {
		t.Fatalf("%d images and %d builds, want backend and tests", len(run.Status.Images), len(builds))
	}
	running := map[string]bool{}
	for _, p := range pods(t, run.Status.Namespace) {
		for _, c := range p.Status.ContainerStatuses {
			running[c.ImageID] = true
		}
	}
	for _, i := range run.Status.Images {
		b := builds[i.Name]
		if b.image != here.KanikoImage || b.owner != "Job/"+i.Job || strings.TrimSpace(b.digest) != i.Digest {
			t.Errorf("image %s was built by %s in %s as %s; the run says %s in %s", i.Name, b.image, b.owner, b.digest, i.Digest, i.Job)
		}
		if got := inRegistry(t, i.Repository, run); got != i.Digest {
			t.Errorf("the registry has %s as %s, the run %s", i.Repository, got, i.Digest)
		}
		if !running[i.Reference()] {
			t.Errorf("no pod runs %s; they run %v", i.Reference(), running)
		}
	}
	eventually(t, patience, func() error {
		return leftovers(map[string]string{v1alpha1.LabelRunUID: string(run.UID), v1alpha1.LabelStage: "build"})
	})
}

// inRegistry is the digest of a run's tag in the registry.
func inRegistry(t *testing.T, repository string, run *v1alpha1.Run) string {
	t.Helper()
	repo, err := name.NewRepository(repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	auth := remote.WithAuth(&authn.Basic{Username: here.PullUser, Password: here.PullPassword})
	tags, err := remote.List(repo, auth)
	if err != nil {
		t.Fatal(err)
	}
	mine := slices.DeleteFunc(tags, func(s string) bool { return !strings.HasPrefix(s, run.Spec.SHA[:12]+"-") })
	d, err := remote.Head(repo.Tag(one(t, "tag of "+repository, mine)), auth)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// mainJobKept checks the kept stack.
func mainJobKept(t *testing.T, run *v1alpha1.Run) {
	ns := run.Status.Namespace
	for _, service := range []string{"frontend", "backend", "redis", "mail"} {
		ready := slices.ContainsFunc(pods(t, ns), func(p corev1.Pod) bool {
			return p.Labels[v1alpha1.LabelService] == service && p.Status.Phase == corev1.PodRunning
		})
		if !ready {
			t.Errorf("no pod of %s runs any more", service)
		}
	}
	for url, want := range map[string]string{"http://backend:3001/health": `"status":"ok"`, "http://frontend/": "<h1>Conductor Shop</h1>"} {
		out, err := here.Kubectl(t.Context(), "-n", ns, "exec", "deployment/frontend", "--", "wget", "-q", "-T", "10", "-O", "-", url)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("GET %s inside the stack: %q, %v", url, out, err)
		}
	}
	logs, err := here.Kubectl(t.Context(), "-n", ns, "logs", "-l", v1alpha1.LabelSuite+"=integration", "--tail=-1")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the test pod's log", logs, "was confirmed to customer-", "yarn run")
	if left := time.Until(run.Status.ExpiresAt.Time); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the stack expires in %s, want the 24 h of the operator's default", left)
	}
}

// mainJobCommands reads the run with the binary built from this source.
func mainJobCommands(t *testing.T, run *v1alpha1.Run) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"runs list", []string{run.Name, run.Spec.Repository.FullName(), "passed", run.Spec.SHA[:12]}},
		{"runs get " + run.Name, []string{"All tests passed", "builds", "integration", "backend", run.Status.Images[0].Digest}},
		{"runs logs " + run.Name, []string{"was confirmed to customer-"}},
		{"runs logs " + run.Name + " backend --of service", []string{"Conductor Shop listens on 3001"}},
		{"validate " + lab.Example("shop"), []string{"valid: 2 images to build, 1 suite"}},
		{"plan " + lab.Example("shop"), []string{"backend: context backend", "integration: image tests", "kind: Namespace", "kind: NetworkPolicy", "kind: Deployment", "kind: PersistentVolumeClaim", "--dockerfile=Dockerfile.test", "conductor-test-integration"}},
	} {
		contains(t, "conductor "+c.args, conductor(t, 0, strings.Fields(c.args)...), c.want...)
	}
}

// conductor runs the binary and returns what it printed.
func conductor(t *testing.T, status int, args ...string) string {
	t.Helper()
	bin, err := filepath.Abs("../../bin/conductor")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+here.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
		t.Errorf("conductor %s: %v, want exit status %d:\n%s", strings.Join(args, " "), err, status, out)
	}
	return string(out)
}

func pods(t *testing.T, namespace string) []corev1.Pod {
	t.Helper()
	list, err := here.Kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// TestPublicServiceWithoutHost runs the command that the comment shows for a service without a public address.
func TestPublicServiceWithoutHost(t *testing.T) {
	t.Parallel()
	r := small(t, public(t))
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	line := regexp.MustCompile("`(kubectl [^`]*port-forward[^`]*)`").FindStringSubmatch(r.comment(run))
	if line == nil {
		t.Fatalf("the comment does not say how to reach web:\n%s", r.comment(run))
	}
	if want := "kubectl -n " + run.Status.Namespace + " port-forward service/web 18473:18473"; line[1] != want {
		t.Errorf("the comment says %q, want %q", line[1], want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	forward := here.Command(ctx, "kubectl", strings.Fields(line[1])[1:]...)
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = forward.Wait() })
	eventually(t, 15*time.Second, func() error { return answers(t, "http://127.0.0.1:18473/", "hello from web") })
}

// public is the small repository with a public service, on a port that should be free on this machine.
func public(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{".conductor.yaml": "version: 1\nstack:\n  public:\n    - service: web\n      port: 18473\ntests:\n  smoke: sh /test.sh\n"}
	for _, name := range []string{"docker-compose.qa.yml", "test.sh"} {
		data, err := os.ReadFile("testdata/small/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = strings.ReplaceAll(string(data), "8080", "18473")
	}
	return files
}

// answers returns an error unless a URL responds with a text.
func answers(t *testing.T, url, want string) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := make([]byte, 1024)
	n, _ := res.Body.Read(body)
	if !strings.Contains(string(body[:n]), want) {
		return fmt.Errorf("%s answers %s %q", url, res.Status, body[:n])
	}
	return nil
}
