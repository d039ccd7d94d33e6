//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// refuse reports a refused pod as the controllers do: in a Deployment's condition, or in a Job's event.
func refuse(ctx context.Context, o client.Object, message string) error {
	if d, ok := o.(*appsv1.Deployment); ok {
		if len(d.Status.Conditions) > 0 {
			return nil
		}
		d.Status.Conditions = []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: message, LastTransitionTime: metav1.Now(),
		}}
		return ignoreRaces(admin.Status().Update(ctx, d))
	}
	now := metav1.Now()
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName() + ".refused"},
		InvolvedObject: corev1.ObjectReference{Kind: "Job", Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()},
		Reason:         "FailedCreate", Type: corev1.EventTypeWarning, Message: "Error creating: " + message, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := admin.Create(ctx, e); !apierrors.IsAlreadyExists(err) {
		return ignoreRaces(err)
	}
	return nil
}

// container is the status of a pod whose main container has these states.
func container(phase corev1.PodPhase, restarts int32, now, last corev1.ContainerState) func(*corev1.Pod) corev1.PodStatus {
	return func(p *corev1.Pod) corev1.PodStatus {
		start := metav1.Now()
		c := p.Spec.Containers[0]
		return corev1.PodStatus{
			Phase: phase, StartTime: &start,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: start}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: c.Name, Image: c.Image, RestartCount: restarts, State: now, LastTerminationState: last}},
		}
	}
}

func stoppedBy(code int32, reason, message string) corev1.ContainerState {
	now := metav1.Now()
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, StartedAt: now, FinishedAt: now}}
}

// loops is a container that crashed several times and waits for its restart.
func loops(times int32, code int32, reason, message string) fate {
	wait := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 20s restarting failed container"}}
	return fate{name: fmt.Sprint("loops ", times, " ", reason), as: container(corev1.PodRunning, times-1, wait, stoppedBy(code, reason, message))}
}

// dies is a container that ended with a reason from the runtime.
func dies(code int32, reason string) fate {
	return fate{name: "dies " + reason, as: container(corev1.PodFailed, 0, stoppedBy(code, reason, ""), corev1.ContainerState{})}
}

// lost is a pod that the cluster disrupted.
func lost(disruption, reason, message string) fate {
	return fate{name: "lost " + disruption + reason, as: func(p *corev1.Pod) corev1.PodStatus {
		s := container(corev1.PodFailed, 0, stoppedBy(137, "Error", ""), corev1.ContainerState{})(p)
		if s.Reason, s.Message = reason, message; disruption == "" {
			return s
		}
		s.Conditions = append(s.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: disruption, Message: message, LastTransitionTime: metav1.Now(),
		})
		return s
	}}
}

func unschedulable(message string) fate {
	return fate{name: "unschedulable", as: func(*corev1.Pod) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message, LastTransitionTime: metav1.Now(),
		}}}
	}}
}

// looking waits for a Run while Conductor reconciles it twice a second. (More often, and its status writes would always conflict.)
func (w *world) looking(run *v1alpha1.Run, what string, ok func(*v1alpha1.Run) bool) *v1alpha1.Run {
	w.t.Helper()
	var last time.Time
	return w.until(run, what, func(r *v1alpha1.Run) bool {
		if time.Since(last) > 500*time.Millisecond {
			w.poke(run)
			last = time.Now()
		}
		return ok(r)
	})
}

const noRoom = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."

func TestWhatKeepsAServiceFromComingUpIsReported(t *testing.T) {
	for _, tc := range []struct {
		name string
		fate fate
		// first is the service's message before its grace period has passed.
		first string
		after time.Duration
		why   string
		words []string
	}{
		{"it crashes", loops(3, 1, "Error", "no DATABASE_URL"), "", 0, v1alpha1.ReasonCrashed, []string{"redis", "crashed 3 times", "exit code 1"}},
		{"it runs out of memory", loops(3, 137, "OOMKilled", ""), "", 0, v1alpha1.ReasonOutOfMemory, []string{"redis", "ran out of memory", "deploy.resources.limits.memory"}},
		{"it ends, and others wait for its health", loops(1, 0, "Completed", ""), "", 0, v1alpha1.ReasonUnhealthy,
			[]string{"backend", "it waits until redis is healthy, but redis ended with exit code 0", "service_completed_successfully"}},
		{"no such command", loops(3, 128, "StartError", "exec: serve: executable file not found"), "", 0, v1alpha1.ReasonCrashed, []string{"could not be started", "executable file not found"}},
		{"no room", unschedulable(noRoom), "Insufficient memory", 3 * time.Minute, v1alpha1.ReasonUnschedulable, []string{"redis", "1 Insufficient memory", "It requests"}},
		{"no volume", unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."), "unbound", 3 * time.Minute,
			v1alpha1.ReasonUnschedulable, []string{"unbound immediate PersistentVolumeClaims", "storage class"}},
		{"no secret", fate{waiting: "CreateContainerConfigError", message: `secret "stack-secrets" not found`}, "stack-secrets", 30 * time.Second,
			v1alpha1.ReasonCrashed, []string{"cannot be created", "stack-secrets"}},
		{"no image name", fate{waiting: "InvalidImageName"}, "", 0, v1alpha1.ReasonImageUnavailable, []string{"redis:7", "not valid"}},
		{"its quota", fate{refused: `pods "redis-1" is forbidden: exceeded quota: conductor, requested: pods=1, used: pods=4, limited: pods=4`}, "exceeded quota", 3 * time.Minute,
			v1alpha1.ReasonQuotaExceeded, []string{"redis", "stacks.pods (4)"}},
		{"Pod Security", fate{refused: `pods "redis-1" is forbidden: violates PodSecurity "baseline:latest": privileged`}, "violates", 30 * time.Second,
			v1alpha1.ReasonRefused, []string{"redis", "violates PodSecurity"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.node.set("service/redis", tc.fate)
			w.process()
			run := w.start()
			if tc.after > 0 {
				run = w.looking(run, "the service says so", func(r *v1alpha1.Run) bool { return strings.Contains(w.messages(r), tc.first) })
				if run.Status.Outcome != "" {
					t.Errorf("the run ended before its time: %s", run.Status.Message)
				}
				w.later(tc.after, run)
			}
			run = w.until(run, "the run ends", reported)
			w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, tc.why, tc.words...)
		})
	}
}

// A crashing service may depend on one that is still starting.
func TestACrashThatMayPassIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.node.set("build/backend", running)
	w.node.set("service/redis", loops(3, 1, "Error", ""))
	w.process()
	run := w.until(w.start(), "the crashes are seen", func(r *v1alpha1.Run) bool { return strings.Contains(w.messages(r), "crashed 3 times") })
	if run.Status.Outcome != "" {
		t.Fatalf("the run ended: %s", run.Status.Message)
	}
	w.node.set("service/redis", ready)
	w.until(run, "it is up at last", func(r *v1alpha1.Run) bool { return state(r, "redis") == v1alpha1.ServiceReady })
	w.node.set("build/backend", exits(0, digest("build/backend")))
	if run = w.until(run, "the run passes", kept); run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
}

// A service without a health check counts as up while it runs, so it may crash repeatedly during the tests.
func TestACrashLoopDuringTheTestsIsReportedAtOnceAndEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.node.set("test", running)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.node.set("service/backend", loops(3, 7, "Error", ""))
	w.eventually("the comment says how it ended, with its last lines", func() bool {
		comment := w.github.commentsOn(issueNumber)[0]
		return strings.Contains(comment, "crashed 3 times") && strings.Contains(comment, "exit code 7") && strings.Contains(comment, "the end of the log")
	})
	if run = w.get(run); run.Status.Outcome != "" {
		t.Fatalf("the run ended: %s", run.Status.Message)
	}
	w.node.set("test", exits(0, ""))
	run = w.until(run, "the run passes", kept)
	if run.Status.Outcome != v1alpha1.OutcomePassed || !strings.Contains(strings.Join(run.Status.Notes, "\n"), "Service backend was unhealthy when the tests finished: It crashed 3 times") {
		t.Errorf("outcome %q, notes %q", run.Status.Outcome, run.Status.Notes)
	}
}

func TestAHealthCheckThatNeverPassesIsReportedInTheKubeletsWords(t *testing.T) {
	w := newWorld(t)
	w.node.set("service/redis", running)
	w.process()
	run := w.until(w.start(), "only redis is waited for", func(r *v1alpha1.Run) bool {
		return is(r, v1alpha1.ConditionImagesBuilt, metav1.ConditionTrue) && strings.Contains(w.messages(r), "health check")
	})
	var pods corev1.PodList
	w.must(admin.List(t.Context(), &pods, client.InNamespace(jobs.StackName(run)), client.MatchingLabels{v1alpha1.LabelService: "redis"}))
	w.must(admin.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: jobs.StackName(run), Name: "unhealthy"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: jobs.StackName(run), Name: pods.Items[0].Name},
		Reason:         "Unhealthy", Type: corev1.EventTypeWarning, Message: "Readiness probe failed: Could not connect to Redis", LastTimestamp: metav1.Now(),
	}))
	w.later(11*time.Minute, run)
	run = w.until(run, "the run ends", reported)
	w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionStackReady, v1alpha1.ReasonUnhealthy, "redis", "Readiness probe failed: Could not connect to Redis", "stack.ready.timeout")
}

func TestWhatEndsABuildIsReported(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fate  fate
		after time.Duration
		why   string
		words []string
	}{
		{"memory", dies(137, "OOMKilled"), 0, v1alpha1.ReasonOutOfMemory, []string{"backend", "memory", "builds.memory"}},
		{"eviction", lost("TerminationByKubelet", "Evicted", "The node was low on resource: memory. "), 0, v1alpha1.ReasonEvicted, []string{"backend", "evicted", "low on memory"}},
		{"a full disk", lost("TerminationByKubelet", "Evicted", "The node was low on resource: ephemeral-storage. "), 0, v1alpha1.ReasonDiskFull, []string{"backend", "disk"}},
		{"a lost node", lost("DeletionByTaintManager", "", "Taint manager: deleting due to NoExecute taint"), 0, v1alpha1.ReasonNodeLost, []string{"backend", "node"}},
		{"a deadline", lost("", "DeadlineExceeded", ""), 0, v1alpha1.ReasonTimeout, []string{"backend", "30m0s", "builds.timeout"}},
		{"no room", unschedulable(noRoom), 3 * time.Minute, v1alpha1.ReasonUnschedulable, []string{"backend", "Insufficient memory"}},
		{"a quota", fate{refused: `pods "b" is forbidden: exceeded quota: builds, requested: pods=1, used: pods=9, limited: pods=9`}, 3 * time.Minute,
			v1alpha1.ReasonQuotaExceeded, []string{"backend", "exceeded quota: builds"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.node.set("build/backend", tc.fate)
			w.process()
			run := w.start()
			if tc.after > 0 {
				run = w.until(run, "the other images are built", func(r *v1alpha1.Run) bool {
					return len(r.Status.Images) == 3 && r.Status.Images[1].Digest != "" && r.Status.Images[2].Digest != "" && w.tried(r)
				})
				w.later(tc.after, run)
			}
			run = w.until(run, "the run ends", reported)
			w.ended(run, v1alpha1.OutcomeError, v1alpha1.ConditionImagesBuilt, tc.why, tc.words...)
		})
	}
}

// tried reports whether the backend's build has a pod, or its pod was refused.
func (w *world) tried(run *v1alpha1.Run) bool {
	w.t.Helper()
	var pods corev1.PodList
	w.must(admin.List(w.t.Context(), &pods, client.InNamespace(w.set.Builds.Namespace), client.MatchingLabels{v1alpha1.LabelImage: "backend"}))
	var events corev1.EventList
	w.must(admin.List(w.t.Context(), &events, client.InNamespace(w.set.Builds.Namespace)))
	return len(events.Items) > 0 || len(pods.Items) > 0 && len(pods.Items[0].Status.Conditions) > 0
}

func healthy(run *v1alpha1.Run, status metav1.ConditionStatus) bool {
	return is(run, v1alpha1.ConditionStackHealthy, status)
}

// A kept stack that degrades is reported once, after two checks found it degraded, and so is its recovery.
func TestAKeptStackThatDegradesIsReportedOnce(t *testing.T) {
	w := newWorld(t)
	w.process()
	run := w.until(w.start(), "the run passes and its stack is healthy", func(r *v1alpha1.Run) bool { return kept(r) && healthy(r, metav1.ConditionTrue) })
	w.node.set("service/backend", running)
	run = w.looking(run, "one look is no proof", func(r *v1alpha1.Run) bool { return healthy(r, metav1.ConditionUnknown) })
	w.later(time.Minute, run)
	run = w.until(run, "two are", func(r *v1alpha1.Run) bool { return healthy(r, metav1.ConditionFalse) })
	c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackHealthy)
	if c.Reason != v1alpha1.ReasonDegraded || !strings.Contains(c.Message, "backend") || run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %q, %s: %s", run.Status.Outcome, c.Reason, c.Message)
	}
	w.later(10*time.Minute, run)
	again := w.until(run, "a further look says nothing new", func(r *v1alpha1.Run) bool { return healthy(r, metav1.ConditionFalse) })
	if now := meta.FindStatusCondition(again.Status.Conditions, v1alpha1.ConditionStackHealthy); *now != *c {
		t.Errorf("it was said again: %+v, before %+v", now, c)
	}
	w.node.set("service/backend", ready)
	run = w.looking(run, "it recovers", func(r *v1alpha1.Run) bool { return healthy(r, metav1.ConditionTrue) })
	if c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionStackHealthy); !strings.Contains(c.Message, "again") {
		t.Errorf("the recovery is not reported: %s", c.Message)
	}
}

func TestAKeptStackThatCrashesIsDegradedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.process()
	run := w.until(w.start(), "the run passes and its stack is healthy", func(r *v1alpha1.Run) bool { return kept(r) && healthy(r, metav1.ConditionTrue) })
	w.node.set("service/backend", loops(3, 1, "Error", ""))
	w.looking(run, "the crash is reported", func(r *v1alpha1.Run) bool {
		c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionStackHealthy)
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "crashed 3 times") && strings.Contains(c.Message, "the end of the log")
	})
}

func TestAStackThatExpiresIsNotDegraded(t *testing.T) {
	w := newWorld(t)
	w.keeping("1h")
	w.process()
	run := w.until(w.start(), "the run passes and its stack is healthy", func(r *v1alpha1.Run) bool { return kept(r) && healthy(r, metav1.ConditionTrue) })
	w.later(2*time.Hour, run)
	if run = w.until(run, "the stack goes", over); !healthy(run, metav1.ConditionTrue) {
		t.Errorf("an expired stack is said to be degraded: %s", reason(run, v1alpha1.ConditionStackHealthy))
	}
}

// A namespace stuck in Terminating is reported with its own conditions.
func TestANamespaceThatIsStuckHasTheCause(t *testing.T) {
	w := newWorld(t)
	w.keeping("1h")
	w.process()
	run := w.until(w.start(), "the run passes", kept)
	w.node.keepNamespaces(true)
	w.later(2*time.Hour, run)
	ns := &corev1.Namespace{}
	w.eventually("the namespace is on its way", func() bool {
		return !w.gone(ns, "", jobs.StackName(run)) && ns.DeletionTimestamp != nil
	})
	ns.Status.Conditions = []corev1.NamespaceCondition{{
		Type: corev1.NamespaceFinalizersRemaining, Status: corev1.ConditionTrue, Reason: "SomeFinalizersRemain",
		Message: "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
	}}
	w.must(admin.Status().Update(t.Context(), ns))
	w.later(2*time.Minute, run)
	w.until(run, "the reason is reported", func(r *v1alpha1.Run) bool {
		c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionStackKept)
		return c.Reason == v1alpha1.ReasonStuck && strings.Contains(c.Message, "example.com/hold")
	})
	w.node.keepNamespaces(false)
	w.later(time.Minute, run)
	if run = w.until(run, "it goes", over); reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonExpired {
		t.Errorf("StackKept %s", reason(run, v1alpha1.ConditionStackKept))
	}
}

// If someone has deleted the namespace when the outcome is known, nothing more is created in it.
func TestANamespaceThatGoesAsTheRunEndsIsDeleted(t *testing.T) {
	w := newWorld(t)
	w.node.set("test", running)
	w.process()
	run := w.until(w.start(), "the tests run", halts[3].reached)
	w.node.keepNamespaces(true)
	w.must(admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: jobs.StackName(run)}}))
	w.must(admin.Patch(t.Context(), run.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"poke":"x"}}}`))))
	w.later(2*time.Hour, run)
	run = w.until(run, "the run ends", reported)
	w.node.keepNamespaces(false)
	w.later(time.Minute, run)
	run = w.until(run, "the namespace goes", over)
	if reason(run, v1alpha1.ConditionStackKept) != v1alpha1.ReasonDeleted {
		t.Errorf("StackKept %s", reason(run, v1alpha1.ConditionStackKept))
	}
	w.nothingLeft(run)
}
