package run

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// TestServicesWithoutPodsAreFound: a Deployment has the service's name as a DNS label, and none of its pods may be wanted.
func TestServicesWithoutPodsAreFound(t *testing.T) {
	none := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "stack", Name: "my-api"}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(0))}}
	job := func(name string, succeeded int32) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "stack", Name: name}, Status: batchv1.JobStatus{Succeeded: succeeded}}
	}
	r := &Reconciler{Kube: fake.NewClientset(none, job("seed", 1), job("worker", 0))}
	s := &state{run: &v1alpha1.Run{}, now: noon}
	s.run.Status.Namespace = "stack"
	for name, want := range map[string]string{"my_api": "", "Web": "It: it was deleted", "seed": "", "worker": "It: it has no pod"} {
		if got, err := r.explainNoPods(t.Context(), s, name, "It"); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// newKept is a Run whose stack is kept with a database that was up.
func newKept(t *testing.T) *rig {
	t.Helper()
	w := newShop(t)
	w.setService("db", v1alpha1.ServiceReady, "")
	w.setService("cache", v1alpha1.ServiceStarting, "")
	return w
}

// What is wrong must be wrong in two checks, unless a crash loop proves it; being healthy again is reported with its time.
func TestTheHealthOfAKeptStackIsJudgedTwice(t *testing.T) {
	type check struct {
		after   time.Duration
		pod     podChange
		status  metav1.ConditionStatus
		reason  string
		message string
	}
	up := func(after time.Duration, message string) check {
		return check{after, ready, metav1.ConditionTrue, v1alpha1.ReasonDone, message}
	}
	for _, tc := range []struct {
		name   string
		checks []check
	}{
		{"it stays up", []check{up(0, "Every service is up"), up(time.Minute, "Every service is up")}},
		{"down in one check only", []check{up(0, "up"), {time.Minute, running, metav1.ConditionUnknown, v1alpha1.ReasonPending, "not up"},
			up(2*time.Minute, "Every service is up")}},
		{"down in two", []check{
			{0, running, metav1.ConditionUnknown, v1alpha1.ReasonPending, "not up"},
			{20 * time.Second, running, metav1.ConditionUnknown, v1alpha1.ReasonPending, "not up"}, // Something else woke the Run.
			{time.Minute, running, metav1.ConditionFalse, v1alpha1.ReasonDegraded, "The service db is not up any more: its pod is not ready"},
			{2 * time.Minute, exited(1, "Error", 0), metav1.ConditionFalse, v1alpha1.ReasonDegraded, "its pod is not ready"},
			up(3*time.Minute, "up again, since 2026-11-21 12:03 UTC"),
			up(4*time.Minute, "up again, since 2026-11-21 12:03 UTC"),
		}},
		{"a crash loop", []check{up(0, "up"), {time.Minute, crashed(3, 1), metav1.ConditionFalse, v1alpha1.ReasonDegraded, "crashed 3 times"}}},
		{"two crashes", []check{{0, crashed(2, 1), metav1.ConditionUnknown, v1alpha1.ReasonPending, "not up"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newKept(t)
			for _, check := range tc.checks {
				w.now = noon.Add(check.after)
				w.setPods(w.podOf("db", "db-1", check.pod))
				s := w.state()
				if err := w.checkHealth(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				c := condition(s, v1alpha1.ConditionStackHealthy)
				if wantText(t, c.Message, check.message); c.Status != check.status || c.Reason != check.reason || s.requeue != healthInterval {
					t.Errorf("after %s: %s, %s: %q, requeue after %s", check.after, c.Status, c.Reason, c.Message, s.requeue)
				}
			}
		})
	}
}

func TestAKeptStackIsCheckedUntilItExpires(t *testing.T) {
	for _, tc := range []struct {
		name    string
		left    time.Duration
		none    bool
		err     error
		requeue time.Duration
		checked bool
	}{
		{name: "hours to go", left: time.Hour, requeue: healthInterval, checked: true},
		{name: "it expires before the next check", left: time.Second, requeue: time.Second, checked: true},
		{name: "no service was up", left: time.Hour, none: true, requeue: time.Hour},
		{name: "its pods cannot be listed", left: time.Hour, err: errors.New("etcd is away"), requeue: healthInterval},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newKept(t)
			if tc.none {
				w.setService("db", v1alpha1.ServiceFailed, "it crashed")
			}
			w.setPods(w.podOf("db", "db-1", ready))
			if tc.err != nil {
				w.refuse("list", "pods", tc.err)
			}
			w.run.Status.ExpiresAt = &metav1.Time{Time: noon.Add(tc.left)}
			s := w.state()
			if err := w.checkHealth(t.Context(), s); !errors.Is(err, tc.err) {
				t.Errorf("error %v", err)
			}
			if c := condition(s, v1alpha1.ConditionStackHealthy); (c.Status == metav1.ConditionTrue) != tc.checked || s.requeue != tc.requeue {
				t.Errorf("%+v, requeue after %s", c, s.requeue)
			}
		})
	}
}

func TestAServiceThatIsNotUpAnyMoreIsExplained(t *testing.T) {
	deployment := func(w *rig, change func(*appsv1.Deployment)) runtime.Object {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: jobs.StackName(w.run)}}
		change(d)
		return d
	}
	for _, tc := range []struct {
		name  string
		pods  []podChange
		event [2]string
		set   func(*appsv1.Deployment)
		want  string // "" when nothing is wrong
		log   bool
	}{
		{name: "one of its pods is ready", pods: []podChange{crashed(5, 1), ready}},
		{name: "it crashed", pods: []podChange{crashed(1, 2)}, want: "crashed once, the last time: it ended with exit code 2", log: true},
		{name: "its image is gone", pods: []podChange{waits("ErrImagePull", "manifest unknown")}, want: "manifest unknown", log: true},
		{name: "it was evicted", pods: []podChange{func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on resource: memory. "
		}}, want: "low on memory", log: true},
		{name: "its probe fails", pods: []podChange{running}, event: [2]string{"Unhealthy", "connection refused"}, want: "connection refused", log: true},
		{name: "nothing explains it", pods: []podChange{running}, want: "its pod is not ready", log: true},
		{name: "its Deployment was deleted", want: "it was deleted"},
		{name: "it was scaled down", set: func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) }},
		{name: "its pod is refused", set: func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{{
				Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "pods is forbidden: no room",
			}}
		}, want: "its pod was refused: no room"},
		{name: "it has no pod", set: func(*appsv1.Deployment) {}, want: "it has no pod"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newKept(t)
			var pods []*corev1.Pod
			for i, change := range tc.pods {
				pods = append(pods, w.podOf("db", "db-"+string(rune('a'+i)), change))
			}
			w.add(w.eventOf(tc.event[0], tc.event[1]))
			if tc.set != nil {
				w.add(deployment(w, tc.set))
			}
			got, err := w.explainUnhealthy(t.Context(), w.state(), "db", pods)
			if err != nil || (got == "") != (tc.want == "") || strings.Contains(got, "fake logs") != tc.log {
				t.Errorf("%q, %v", got, err)
			}
			if tc.want != "" {
				wantText(t, got, "The service db is not up any more: ", tc.want)
			}
		})
	}
}

func TestADeploymentThatCannotBeReadIsNotAnExplanation(t *testing.T) {
	w := newKept(t)
	w.refuse("get", "deployments", errors.New("etcd is away"))
	if got, err := w.explainUnhealthy(t.Context(), w.state(), "db", nil); got != "" || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A service that ends by itself has completed, in the tests and in a kept stack: it is not unhealthy, and its Deployment is scaled down.
func TestAServiceMayCompleteAfterTheStackIsUp(t *testing.T) {
	for _, tc := range []struct {
		name, service string
		was           string
		pods          []podChange
		state         v1alpha1.ServiceState
		replicas      int32
	}{
		{name: "a Job serves", service: "command: [work]", pods: []podChange{ready}, state: v1alpha1.ServiceReady, replicas: 1},
		{name: "a Job ends", service: "command: [work]", was: "It crashed once", pods: []podChange{exited(0, "Completed", 0)}, state: v1alpha1.ServiceCompleted,
			replicas: 1},
		{name: "a Job ends in a second pod", service: "command: [work]", pods: []podChange{exited(1, "Error", 0), exited(0, "Completed", 0)},
			state: v1alpha1.ServiceCompleted, replicas: 1},
		{name: "a Deployment ends", service: "expose: [80]", was: "It crashed once", pods: []podChange{restarted(1, 0)}, state: v1alpha1.ServiceCompleted},
		{name: "one of two ends", service: "expose: [80], scale: 2", pods: []podChange{crashed(1, 0), ready}, state: v1alpha1.ServiceReady, replicas: 1},
		{name: "one that is restarted always ends", service: "restart: always", pods: []podChange{restarted(1, 0)}, state: v1alpha1.ServiceReady, replicas: 1},
	} {
		for stage, check := range map[string]func(*rig, *state) error{
			"tests": func(w *rig, s *state) error { return w.reportCrashes(w.t.Context(), s) },
			"kept":  func(w *rig, s *state) error { return w.checkHealth(w.t.Context(), s) },
		} {
			t.Run(stage+"/"+tc.name, func(t *testing.T) {
				w := newRig(t, map[string]string{"docker-compose.qa.yml": "services: {work: {image: x, " + tc.service + "}}\n"})
				w.begin()
				w.add(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "work", Namespace: jobs.StackName(w.run)}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(1))}})
				w.setService("work", v1alpha1.ServiceReady, tc.was)
				pods := []*corev1.Pod{w.agentUp()}
				for i, change := range tc.pods {
					pods = append(pods, w.podOf("work", "work-"+string(rune('a'+i)), change))
				}
				w.setPods(pods...)
				for range 2 {
					s := w.state()
					if stage == "kept" {
						s.plan = nil
					}
					if err := check(w, s); err != nil {
						t.Fatal(err)
					}
				}
				s := w.state()
				noteCrashes(s)
				st := serviceStatus(s.status(), "work")
				if st.State != tc.state || st.State == v1alpha1.ServiceCompleted && (st.Message != "" || len(s.status().Notes) > 0) {
					t.Errorf("%s: %q, notes %q", st.State, st.Message, s.status().Notes)
				}
				if c := condition(s, v1alpha1.ConditionStackHealthy); stage == "kept" && c.Status != metav1.ConditionTrue {
					t.Errorf("the stack's health: %s: %s", c.Status, c.Message)
				}
				d, err := w.Kube.AppsV1().Deployments(jobs.StackName(w.run)).Get(t.Context(), "work", metav1.GetOptions{})
				if err != nil || *d.Spec.Replicas != tc.replicas {
					t.Errorf("%v, %d replicas, want %d", err, *d.Spec.Replicas, tc.replicas)
				}
			})
		}
	}
}

// A crash while the tests run is reported with its log at once and ends nothing; when the tests have ended it is a note of the Run.
func TestCrashesDuringTheTestsAreReported(t *testing.T) {
	for _, tc := range []struct {
		name    string
		was     v1alpha1.ServiceState
		pod     podChange
		state   v1alpha1.ServiceState
		message []string
		note    string
	}{
		{name: "no crash", was: v1alpha1.ServiceReady, pod: ready, state: v1alpha1.ServiceReady},
		{name: "it is down", was: v1alpha1.ServiceReady, pod: crashed(2, 137), state: v1alpha1.ServiceStarting,
			message: []string{"crashed twice", "SIGKILL", "\nshut down by the tests"},
			note:    "Service db was unhealthy when the tests finished: It crashed twice"},
		{name: "it is up again", was: v1alpha1.ServiceStarting, pod: func(p *corev1.Pod) {
			crashed(2, 1)(p)
			ready(p)
		}, state: v1alpha1.ServiceReady, message: []string{"crashed once"}, note: "It crashed once"},
		{name: "a service that has failed", was: v1alpha1.ServiceFailed, pod: crashed(2, 1), state: v1alpha1.ServiceFailed, message: []string{"before"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newKept(t)
			message := ""
			if tc.was == v1alpha1.ServiceFailed {
				message = "before"
			}
			w.setService("db", tc.was, message)
			w.setPods(w.agentUp(), w.podOf("db", "db-1", tc.pod))
			w.agent.tail = "shut down by the tests"
			s := w.state()
			for range 2 {
				if err := w.reportCrashes(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				w.agent.tail = "another end" // The same crash keeps its log.
			}
			noteCrashes(s)
			st := serviceStatus(s.status(), "db")
			if wantText(t, st.Message, tc.message...); st.State != tc.state || len(tc.message) == 0 && st.Message != "" || s.hasOutcome() {
				t.Errorf("%s: %q, outcome %q", st.State, st.Message, s.status().Outcome)
			}
			notes := strings.Join(s.status().Notes, "\n")
			if wantText(t, notes, tc.note); (tc.note == "") != (notes == "") || strings.Contains(notes, "shut down") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}
