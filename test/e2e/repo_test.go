//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

const (
	// tag is the tag that requests a run.
	tag = "run-integration-tests"
	// patience is how long a test waits for what should take seconds: a container runtime that hangs in an exec gives up after thirty, and
	// delays everything behind it.
	patience = 3 * time.Minute
)

// repo is the repository of one test.
type repo struct {
	*lab.Repository
	t *testing.T
}

// small makes a repository of testdata/small with some files replaced; an empty content removes a file.
func small(t *testing.T, files map[string]string) *repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "files")
	if err := os.CopyFS(dir, os.DirFS("testdata/small")); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if content == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return repository(t, dir)
}

// idle makes a repository whose runs end at once, since it has no .conductor.yaml: enough if only the start matters.
func idle(t *testing.T) *repo {
	t.Helper()
	return small(t, map[string]string{".conductor.yaml": ""})
}

// named counts the repositories of each name: a test may make more than one.
var named = struct {
	sync.Mutex
	times map[string]int
}{times: map[string]int{}}

// repository makes a repository of a directory. Its runs are deleted after the test, and described if it failed.
func repository(t *testing.T, dir string) *repo {
	t.Helper()
	r, err := here.NewRepository(t.Context(), newName(t), dir)
	return adopt(t, r, err)
}

// imported makes a large repository without a work tree, from the tree that fill writes. Its runs are deleted like others.
func imported(t *testing.T, fill func(*lab.Tree)) *repo {
	t.Helper()
	r, err := here.ImportRepository(t.Context(), newName(t), fill)
	return adopt(t, r, err)
}

// unnamable matches characters in names of tests that names of repositories do not have here.
var unnamable = regexp.MustCompile(`[^a-z0-9]+`)

// newName is a name for a repository of a test.
func newName(t *testing.T) string {
	name := unnamable.ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "-")
	named.Lock()
	defer named.Unlock()
	if named.times[name]++; named.times[name] > 1 {
		name += fmt.Sprint("-", named.times[name])
	}
	return name
}

// adopt ties a repository to a test.
func adopt(t *testing.T, r *lab.Repository, err error) *repo {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	mine := &repo{Repository: r, t: t}
	t.Cleanup(mine.clean)
	return mine
}

// clean deletes the repository's runs without waiting: verdict checks for leftovers.
func (r *repo) clean() {
	ctx := context.Background()
	for _, run := range r.runs() {
		if r.t.Failed() {
			r.describe(&run)
		}
		noteCleaned(&run)
		if err := client.IgnoreNotFound(here.Client.Delete(ctx, &run)); err != nil {
			r.t.Errorf("delete run %s: %v", run.Name, err)
		}
	}
}

// describe logs everything known about a run.
func (r *repo) describe(run *v1alpha1.Run) {
	status, _ := yaml.Marshal(run.Status)
	r.t.Logf("run %s\n%s", run.Name, status)
	if ns := run.Status.Namespace; ns != "" {
		text, _ := here.Kubectl(context.Background(), "-n", ns, "get", "pods", "-o", "wide")
		events, _ := here.Kubectl(context.Background(), "-n", ns, "get", "events", "--field-selector", "type=Warning")
		r.t.Logf("namespace %s\n%s\n%s", ns, text, events)
	}
}

// runs are the repository's Runs, oldest first. Ids restart with each lab, so the address identifies them.
func (r *repo) runs() []v1alpha1.Run {
	r.t.Helper()
	var list v1alpha1.RunList
	if err := here.Client.List(context.Background(), &list, client.InNamespace(lab.Namespace)); err != nil {
		r.t.Fatalf("list runs: %v", err)
	}
	mine := slices.DeleteFunc(list.Items, func(run v1alpha1.Run) bool { return !r.owns(run.Spec.Repository) })
	slices.SortFunc(mine, func(a, b v1alpha1.Run) int { return heard(a).Compare(heard(b)) })
	return mine
}

// heard is when Conductor received the event that started a run, with a precision below a second.
func heard(run v1alpha1.Run) time.Time {
	if at := run.Spec.Trigger.ReceivedAt; at != nil {
		return at.Time
	}
	return run.CreationTimestamp.Time
}

func (r *repo) owns(of v1alpha1.Repository) bool {
	return of.ID == r.ID && strings.HasPrefix(of.CloneURL, here.GitHub.URL+"/")
}

// deliveries are the Deliveries of the repository's events.
func (r *repo) deliveries() []v1alpha1.Delivery {
	r.t.Helper()
	var list v1alpha1.DeliveryList
	if err := here.Client.List(context.Background(), &list, client.InNamespace(lab.Namespace)); err != nil {
		r.t.Fatalf("list deliveries: %v", err)
	}
	return slices.DeleteFunc(list.Items, func(d v1alpha1.Delivery) bool { return !r.owns(d.Spec.Event.Repository) })
}

// push pushes a tag at HEAD; a message makes it an annotated one.
func (r *repo) push(name, message string) {
	r.t.Helper()
	if err := r.PushTag(r.t.Context(), name, message); err != nil {
		r.t.Fatal(err)
	}
}

// git runs git in the clone.
func (r *repo) git(args ...string) string {
	r.t.Helper()
	out, err := r.Git(r.t.Context(), args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// write commits files to main and pushes it.
func (r *repo) write(files map[string]string) {
	r.t.Helper()
	if err := r.Write(r.t.Context(), files); err != nil {
		r.t.Fatal(err)
	}
}

// test pushes the tag for the repository's issue and waits until the run is over and reported.
func (r *repo) test() *v1alpha1.Run {
	r.t.Helper()
	r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
	return r.finished(1)
}

// finished waits until the repository has exactly n runs and the newest is over, reported and recorded, its stack kept or deleted.
func (r *repo) finished(n int) *v1alpha1.Run {
	r.t.Helper()
	return r.await(n, "finished", lab.Settled)
}

// await waits until the repository has exactly n runs and the newest fulfils a condition.
func (r *repo) await(n int, what string, is func(*v1alpha1.Run) bool) *v1alpha1.Run {
	r.t.Helper()
	var found *v1alpha1.Run
	eventually(r.t, patience, func() error {
		runs := r.runs()
		if len(runs) != n {
			return fmt.Errorf("%d runs, want %d", len(runs), n)
		}
		found = &runs[n-1]
		if !is(found) {
			return fmt.Errorf("run %s is not %s: %s %s %s", found.Name, what, found.Status.Phase, found.Status.Outcome, found.Status.Message)
		}
		return nil
	})
	return found
}

// get reads the current state of a run.
func (r *repo) get(run *v1alpha1.Run) *v1alpha1.Run {
	r.t.Helper()
	fresh := &v1alpha1.Run{}
	if err := here.Client.Get(context.Background(), client.ObjectKeyFromObject(run), fresh); err != nil {
		r.t.Fatalf("get run %s: %v", run.Name, err)
	}
	return fresh
}

// comment is the only comment about a run.
func (r *repo) comment(run *v1alpha1.Run) string {
	r.t.Helper()
	return one(r.t, "comment on run "+run.Name, r.marked("<!-- conductor:run="+run.Name+" -->"))
}

// marked are the App's comments on the repository's issue that contain a text.
func (r *repo) marked(text string) []string {
	r.t.Helper()
	var found []string
	for _, c := range r.comments(r.Issue) {
		if c.Author == here.App.Bot && strings.Contains(c.Body, text) {
			found = append(found, c.Body)
		}
	}
	return found
}

func (r *repo) comments(issue int) []githubtest.Comment {
	r.t.Helper()
	i, err := here.GitHub.Issue(r.Name, issue)
	if err != nil {
		r.t.Fatal(err)
	}
	return i.Comments
}

// check is the only check run of a suite of a run; without a suite it is that of the run as a whole.
func (r *repo) check(run *v1alpha1.Run, suite string) githubtest.CheckRun {
	r.t.Helper()
	id := strings.TrimSuffix(run.Name+"/"+suite, "/")
	return one(r.t, "check run "+id, slices.DeleteFunc(r.checks(run), func(c githubtest.CheckRun) bool { return c.ExternalID != id }))
}

// checks are all check runs of a run.
func (r *repo) checks(run *v1alpha1.Run) []githubtest.CheckRun {
	return slices.DeleteFunc(here.GitHub.CheckRuns(r.Name), func(c githubtest.CheckRun) bool {
		return c.ExternalID != run.Name && !strings.HasPrefix(c.ExternalID, run.Name+"/")
	})
}

// gone waits until only the Run itself is left of a run.
func (r *repo) gone(run *v1alpha1.Run) {
	r.t.Helper()
	eventually(r.t, patience, func() error { return leftovers(map[string]string{v1alpha1.LabelRunUID: string(run.UID)}) })
}

// leftovers returns an error that lists the objects with the labels: namespaces, and Jobs, pods and Secrets of builds.
func leftovers(labels map[string]string) error {
	ctx := context.Background()
	options := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})}
	var left []string
	spaces, err := here.Kube.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return err
	}
	for _, o := range spaces.Items {
		left = append(left, "namespace "+o.Name)
	}
	jobs, err := here.Kube.BatchV1().Jobs(lab.BuildsNamespace).List(ctx, options)
	if err != nil {
		return err
	}
	for _, o := range jobs.Items {
		left = append(left, "job "+o.Name)
	}
	pods, err := here.Kube.CoreV1().Pods(lab.BuildsNamespace).List(ctx, options)
	if err != nil {
		return err
	}
	for _, o := range pods.Items {
		left = append(left, "pod "+o.Name)
	}
	secrets, err := here.Kube.CoreV1().Secrets(lab.BuildsNamespace).List(ctx, options)
	if err != nil {
		return err
	}
	for _, o := range secrets.Items {
		left = append(left, "secret "+o.Name)
	}
	if len(left) > 0 {
		return fmt.Errorf("there is still %s", strings.Join(left, ", "))
	}
	return nil
}

// eventually retries until try succeeds.
func eventually(t *testing.T, timeout time.Duration, try func() error) {
	t.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(100 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still after %s: %v", timeout, err)
		}
	}
}

// one returns the only element.
func one[T any](t *testing.T, what string, all []T) T {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d of %s, want one: %+v", len(all), what, all)
	}
	return all[0]
}

// contains checks that a text for people contains everything expected.
func contains(t *testing.T, where, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", where, w, text)
		}
	}
}

// with returns files with one more.
func with(files map[string]string, name, content string) map[string]string {
	more := maps.Clone(files)
	if more == nil {
		more = map[string]string{}
	}
	more[name] = content
	return more
}
