//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// Builds have a limit, so that one can exceed it.
func init() { values["builds"] = map[string]any{"memoryLimit": "1Gi"} }

// trouble is something that goes wrong with a run, and how it is reported.
type trouble struct {
	name  string
	files map[string]string
	// during is called during the run.
	during func(t *testing.T, r *repo)
	// outcome is error when empty, conclusion failure.
	outcome    v1alpha1.Outcome
	conclusion string
	// reason is that of the condition.
	condition, reason string
	// want is in the comment and in every check run.
	want []string
}

// judge compares a finished run with what is expected.
func (c trouble) judge(t *testing.T, r *repo, run *v1alpha1.Run) {
	t.Helper()
	if c.outcome == "" {
		c.outcome = v1alpha1.OutcomeError
	}
	if run.Status.Outcome != c.outcome {
		t.Errorf("outcome %s, want %s: %s", run.Status.Outcome, c.outcome, run.Status.Message)
	}
	// The record, its comment and the deletion of the stack follow the outcome.
	run = r.until("settled: "+c.condition, func(run *v1alpha1.Run) bool {
		got := apimeta.FindStatusCondition(run.Status.Conditions, c.condition)
		return got != nil && got.Status != metav1.ConditionUnknown
	})
	if got := apimeta.FindStatusCondition(run.Status.Conditions, c.condition); got.Reason != c.reason {
		t.Errorf("%s is %+v, want the reason %s", c.condition, got, c.reason)
	}
	r.explains(run, badInput{conclusion: c.conclusion, want: c.want})
}

// Files of runs that build nothing. Their suite is a compose service with small requests.
const (
	smokeTest = "version: 1\nstack:\n  ready:\n    timeout: %s\ntests:\n  smoke:\n    service: smoke\n"
	quickly   = "  smoke:\n    image: busybox:1.36\n    command: echo all is well\n"
	// slowly leaves time to interfere with it.
	slowly = `  smoke:
    image: busybox:1.36
    command:
      - sh
      - -c
      - |
        echo began
        echo '<testsuite><testcase classname="slow" name="ends"/></testsuite>' >junit.xml
        sleep %d
`
	// gated is a stack whose service web waits until someone opens the gate.
	gated = `services:
  gate:
    image: busybox:1.36
    command: sleep 3600
    healthcheck:
      test: test -f /tmp/open
      interval: 1s
      retries: 600
    stop_grace_period: 1s
  web:
    image: busybox:1.36
    command: sleep 3600
    restart: always
    stop_grace_period: 1s
    depends_on:
      gate:
        condition: service_healthy
`
)

// web is a stack of one service with more of its fields, which are indented by four.
func web(fields string) string {
	return "services:\n  web:\n    image: busybox:1.36\n    stop_grace_period: 1s\n" + fields
}

// suite adds a service as the first one to a compose file and runs it as the suite smoke; timeout is how long the stack may take to start.
func suite(service, timeout, compose string) map[string]string {
	return map[string]string{
		".conductor.yaml": fmt.Sprintf(smokeTest, timeout), "docker-compose.qa.yml": strings.Replace(compose, "services:\n", "services:\n"+service, 1),
	}
}

// quick gives a stack little time to start, patient the maximum; slow runs a test that takes a number of seconds.
func quick(timeout, compose string) map[string]string { return suite(quickly, timeout, compose) }

func patient(compose string) map[string]string { return suite(quickly, "10m", compose) }

func slow(seconds int) map[string]string {
	return suite(fmt.Sprintf(slowly, seconds), "10m", web("    command: sleep 3600\n"))
}

// troubles end a run within seconds.
var troubles = []trouble{
	{
		name: "build out of memory",
		files: map[string]string{
			"Dockerfile.test": "FROM busybox:1.36\nRUN dd if=/dev/zero of=/dev/null bs=1500M count=1\n", "docker-compose.qa.yml": web("    command: sleep 3600\n"),
		},
		condition: v1alpha1.ConditionImagesBuilt, reason: v1alpha1.ReasonOutOfMemory,
		want: []string{"The image tests could not be built: it ran out of memory and was killed; its limit is 1Gi", "Ask the operator to raise builds.memoryLimit (1Gi)"},
	},
	{
		name: "test out of memory",
		files: map[string]string{
			".conductor.yaml":       "version: 1\ntests:\n  smoke:\n    service: hog\n",
			"docker-compose.qa.yml": web("    command: sleep 3600\n") + "  hog:\n    image: busybox:1.36\n    mem_limit: 64m\n    command: sh -c 'echo filling up; exec dd if=/dev/zero of=/dev/null bs=200M count=1'\n",
		},
		condition: v1alpha1.ConditionTestsPassed, reason: v1alpha1.ReasonOutOfMemory,
		want: []string{"ran out of memory and was killed; its limit is 64Mi", "Raise deploy.resources.limits.memory (or mem_limit) of the compose service that the suite runs", "filling up"},
	},
	{
		name:      "test that is not there",
		files:     map[string]string{".conductor.yaml": "version: 1\ntests:\n  smoke:\n    image: busybox:1.36\n    command: [/no/such/program]\n", "docker-compose.qa.yml": web("    command: sleep 3600\n")},
		condition: v1alpha1.ConditionTestsPassed, reason: v1alpha1.ReasonCrashed,
		want: []string{"The tests of smoke could not be started", "/no/such/program"},
	},
	{
		name: "one-shot service out of memory",
		files: patient(web("    command: sleep 3600\n    depends_on:\n      migrate:\n        condition: service_completed_successfully\n") +
			"  migrate:\n    image: busybox:1.36\n    mem_limit: 32m\n    command: sh -c 'echo filling up; exec dd if=/dev/zero of=/dev/null bs=200M count=1'\n"),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonOutOfMemory,
		want: []string{"The service migrate did not come up: it ", "ran out of memory and was killed; its limit is 32Mi", "of the service migrate in the compose file above 32Mi", "filling up"},
	},
	{
		name: "test's Job deleted", files: slow(60), during: withoutJob,
		condition: v1alpha1.ConditionTestsPassed, reason: v1alpha1.ReasonDeleted,
		want: []string{"smoke", "was deleted"},
	},
	{
		name: "test evicted", files: slow(60), during: drained,
		condition: v1alpha1.ConditionTestsPassed, reason: v1alpha1.ReasonEvicted,
		want: []string{"its pod was evicted, for example because its node was drained"},
	},
	{
		name: "namespace deleted", files: slow(60), during: withoutNamespace,
		condition: v1alpha1.ConditionTestsPassed, reason: v1alpha1.ReasonDeleted,
		want: []string{"The namespace", "deleted"},
	},
	{
		name: "agent killed", files: slow(8), during: withoutAgent,
		outcome: v1alpha1.OutcomePassed, conclusion: "success",
		condition: v1alpha1.ConditionRecorded, reason: v1alpha1.ReasonDone,
		want: []string{"1 test passed"},
	},
}

// TestTroubles breaks runs in ways that show within seconds.
func TestTroubles(t *testing.T) {
	t.Parallel()
	for _, c := range troubles {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := small(t, c.files)
			r.start()
			if c.during != nil {
				c.during(t, r)
			}
			c.judge(t, r, r.until("finished", lab.Finished))
		})
	}
}

// longPatience exceeds the longest grace period of Conductor.
const longPatience = 4 * time.Minute

// start requests a run.
func (r *repo) start() {
	r.t.Helper()
	r.push(tag, fmt.Sprintf("Run the tests for #%d", r.Issue))
}

// until waits until the repository's only run fulfils a condition.
func (r *repo) until(what string, is func(*v1alpha1.Run) bool) *v1alpha1.Run {
	r.t.Helper()
	var found *v1alpha1.Run
	eventually(r.t, longPatience, func() error {
		runs := r.runs()
		if len(runs) != 1 {
			return fmt.Errorf("%d runs, want one", len(runs))
		}
		if found = &runs[0]; !is(found) {
			return fmt.Errorf("run %s is not %s: %s %s %s", found.Name, what, found.Status.Phase, found.Status.Outcome, found.Status.Message)
		}
		return nil
	})
	return found
}

// beforeGate waits for the gate of a stack and returns its namespace; open opens it.
func (r *repo) beforeGate() string {
	r.t.Helper()
	run := r.until("at its gate", func(run *v1alpha1.Run) bool { return run.Status.Namespace != "" })
	namespace := run.Status.Namespace
	eventually(r.t, longPatience, func() error {
		_, err := here.Kubectl(r.t.Context(), "-n", namespace, "exec", "deployment/gate", "--", "true")
		return err
	})
	return namespace
}

func (r *repo) open(namespace string) {
	r.t.Helper()
	if _, err := here.Kubectl(r.t.Context(), "-n", namespace, "exec", "deployment/gate", "--", "touch", "/tmp/open"); err != nil {
		r.t.Fatal(err)
	}
}

// began waits until the test of a run has printed something and returns its pod.
func (r *repo) began() *corev1.Pod {
	r.t.Helper()
	var found *corev1.Pod
	run := r.until("testing", func(run *v1alpha1.Run) bool { return run.Status.Phase == v1alpha1.PhaseTesting })
	eventually(r.t, longPatience, func() error {
		for _, p := range pods(r.t, run.Status.Namespace) {
			if p.Labels[v1alpha1.LabelStage] != "test" {
				continue
			}
			logs, err := here.Kube.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: p.Spec.Containers[0].Name}).DoRaw(r.t.Context())
			if err == nil && strings.Contains(string(logs), "began") {
				found = &p
				return nil
			}
		}
		return fmt.Errorf("the test of %s has not begun", run.Name)
	})
	return found
}

func withoutFiles(t *testing.T, r *repo) {
	namespace := r.beforeGate()
	if _, err := here.Kubectl(t.Context(), "-n", namespace, "delete", "configmaps", "-l", v1alpha1.LabelRun); err != nil {
		t.Fatal(err)
	}
	r.open(namespace)
}

func withoutJob(t *testing.T, r *repo) {
	p := r.began()
	if _, err := here.Kubectl(t.Context(), "-n", p.Namespace, "delete", "job", p.OwnerReferences[0].Name, "--wait=false"); err != nil {
		t.Fatal(err)
	}
}

func withoutNamespace(t *testing.T, r *repo) {
	if _, err := here.Kubectl(t.Context(), "delete", "namespace", r.began().Namespace, "--wait=false"); err != nil {
		t.Fatal(err)
	}
}

func withoutAgent(t *testing.T, r *repo) {
	namespace := r.began().Namespace
	if _, err := here.Kubectl(t.Context(), "-n", namespace, "delete", "pods", "-l", v1alpha1.LabelStage+"=agent", "--grace-period=0", "--force"); err != nil {
		t.Fatal(err)
	}
}

func drained(t *testing.T, r *repo) {
	p := r.began()
	err := here.Kube.PolicyV1().Evictions(p.Namespace).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}})
	if err != nil {
		t.Fatal(err)
	}
}

// longTroubles are those to which Conductor gives some time to recover.
var longTroubles = []trouble{
	{
		name:      "image not found",
		files:     patient("services:\n  web:\n    image: busybox:no-such-tag\n"),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonImageUnavailable,
		want: []string{"The service web cannot start: the image busybox:no-such-tag cannot be pulled", "The registry docker.io does not have it. Check its name and tag", "requested anonymously"},
	},
	{
		name:      "image refused",
		files:     patient("services:\n  web:\n    image: conductor/private:1\n"),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonImageUnavailable,
		want: []string{"the image conductor/private:1 cannot be pulled", "The registry docker.io denied access", "requested anonymously"},
	},
	{
		name:      "crash loop",
		files:     patient(web("    command: sh -c 'echo no database at db:5432; exit 4'\n    restart: always\n    healthcheck:\n      test: \"false\"\n")),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonCrashed,
		want: []string{"The service web did not come up: it crashed ", " times, the last time: it ended with exit code 4", "no database at db:5432"},
	},
	{
		name:      "service out of memory",
		files:     patient(web("    command: sh -c 'echo filling up; exec dd if=/dev/zero of=/dev/null bs=200M count=1'\n    mem_limit: 32m\n    healthcheck:\n      test: \"false\"\n")),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonOutOfMemory,
		want: []string{"it ran out of memory and was killed; its limit is 32Mi", "of the service web in the compose file above 32Mi", "filling up"},
	},
	{
		name:      "unschedulable",
		files:     patient(web("    command: sleep 3600\n    deploy:\n      resources:\n        reservations:\n          cpus: \"64\"\n")),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonUnschedulable,
		want: []string{"The service web cannot start: no node can run it", "Insufficient cpu", "It requests 64 of cpu", "deploy.resources.reservations"},
	},
	{
		name:      "probe that never passes",
		files:     quick("75s", web("    command: sleep 3600\n    healthcheck:\n      test: echo no heart; exit 3\n      interval: 1s\n      retries: 600\n")),
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonUnhealthy,
		want: []string{"The stack was not up 1m15s after its images were built (stack.ready.timeout)", "web: It runs, but its health check has not passed yet", "Its health check fails", "no heart"},
	},
	{
		name:      "file that is gone",
		files:     quick("150s", gated+"    configs:\n      - source: menu\n        target: /etc/menu\nconfigs:\n  menu:\n    content: soup\n"),
		during:    withoutFiles,
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonUnhealthy,
		want: []string{"web: One of its volumes cannot be mounted", "configmap", "not found", "Check that what the message names exists"},
	},
	{
		name: "quota", files: patient(gated), during: narrowed,
		condition: v1alpha1.ConditionStackReady, reason: v1alpha1.ReasonQuotaExceeded,
		want: []string{"The service web cannot start: its pod was refused: exceeded quota: narrow", "ask the operator to raise stacks.pods (1)"},
	},
}

// TestLongTroubles breaks runs in ways that Conductor reports only after up to two minutes. They run in parallel within one test, so that
// other tests can use the machine.
func TestLongTroubles(t *testing.T) {
	t.Parallel()
	repos := make([]*repo, len(longTroubles))
	for i, c := range longTroubles {
		repos[i] = small(t, c.files)
		repos[i].start()
	}
	stuck, decaying := small(t, with(slow(3), ".conductor.yaml", "keep: 1s\n"+fmt.Sprintf(smokeTest, "10m"))), small(t, patient(fragile))
	for _, r := range []*repo{stuck, decaying} {
		r.start()
	}
	for i, c := range longTroubles {
		if c.during != nil {
			c.during(t, repos[i])
		}
	}
	held(t, stuck)
	broken(t, decaying)
	for i, c := range longTroubles {
		t.Run(c.name, func(t *testing.T) {
			r := &repo{repos[i].Repository, t}
			c.judge(t, r, r.until("finished", lab.Finished))
		})
	}
	t.Run("namespace stuck in Terminating", func(t *testing.T) { reportsFinalizer(t, &repo{stuck.Repository, t}) })
	t.Run("kept stack that degrades", func(t *testing.T) { reportsDegraded(t, &repo{decaying.Repository, t}) })
}

// narrowed gives a stack a quota that is already exhausted.
func narrowed(t *testing.T, r *repo) {
	namespace := r.beforeGate()
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "narrow"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}
	if _, err := here.Kube.CoreV1().ResourceQuotas(namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		q, err := here.Kube.CoreV1().ResourceQuotas(namespace).Get(t.Context(), quota.Name, metav1.GetOptions{})
		if used := q.Status.Used[corev1.ResourcePods]; err == nil && used.IsZero() {
			err = fmt.Errorf("nothing is counted yet")
		}
		return err
	})
	r.open(namespace)
}

// holder is a finalizer that no controller removes.
const holder = "example.com/hold"

func held(t *testing.T, r *repo) {
	run := r.until("in its namespace", func(run *v1alpha1.Run) bool { return run.Status.Namespace != "" })
	maps := here.Kube.CoreV1().ConfigMaps(run.Status.Namespace)
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{holder}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release(run.Status.Namespace) })
}

func release(namespace string) {
	_, _ = here.Kubectl(context.Background(), "-n", namespace, "patch", "configmap", "held", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

func reportsFinalizer(t *testing.T, r *repo) {
	kept := func(run *v1alpha1.Run) *metav1.Condition {
		return apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackKept)
	}
	run := r.until("stuck", func(run *v1alpha1.Run) bool { c := kept(run); return c != nil && c.Reason == v1alpha1.ReasonStuck })
	contains(t, "condition", kept(run).Message, "the namespace "+run.Status.Namespace+" is stuck in Terminating", holder, "remove the finalizers")
	release(run.Status.Namespace)
	r.gone(run)
}

// fragile is a stack whose service does not recover once it is broken.
const fragile = `services:
  web:
    image: busybox:1.36
    restart: always
    tmpfs: /state
    stop_grace_period: 1s
    command:
      - sh
      - -c
      - |
        [ -e /state/broken ] && { echo the disk is broken; exit 9; }
        trap 'exit 1' TERM
        sleep 3600 & wait
`

func broken(t *testing.T, r *repo) {
	run := r.until("finished", lab.Settled)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	if _, err := here.Kubectl(t.Context(), "-n", run.Status.Namespace, "exec", "deployment/web", "--", "sh", "-c", "touch /state/broken && kill 1"); err != nil {
		t.Logf("the container may end before the answer: %v", err)
	}
}

// reportsDegraded checks the report on a stack that broke after the run passed, and that it does not change.
func reportsDegraded(t *testing.T, r *repo) {
	run := r.until("degraded", func(run *v1alpha1.Run) bool {
		return apimeta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionStackHealthy)
	})
	c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackHealthy)
	if c.Reason != v1alpha1.ReasonDegraded {
		t.Errorf("the reason is %s", c.Reason)
	}
	contains(t, "condition", c.Message, "The service web is not up any more: it crashed", "exit code 9", "the disk is broken")
	eventually(t, patience, func() error {
		comment := plain(r.comment(run))
		if n := strings.Count(comment, "The stack has degraded"); n != 1 || !strings.Contains(comment, "The service web is not up any more") {
			return fmt.Errorf("the comment says %d times that the stack has degraded:\n%s", n, comment)
		}
		return nil
	})
	if n := len(r.comments(r.Issue)); n != 1 {
		t.Errorf("%d comments, want one that is kept up to date", n)
	}
}
