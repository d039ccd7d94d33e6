//go:build apiserver

package apiserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// fate is what becomes of a pod.
type fate struct {
	// none: no pod is created.
	none bool
	// waiting is why the container waits, such as ErrImagePull; message belongs to it.
	waiting string
	running bool
	ready   bool
	exit    *int32
	message string
	// name and as set the pod's status as a cluster writes it.
	name string
	as   func(*corev1.Pod) corev1.PodStatus
	// refused is the API server's error for the creation of the pod.
	refused string
}

// Fates of pods.
var (
	absent  = fate{none: true}
	pending = fate{}
	running = fate{running: true}
	ready   = fate{running: true, ready: true}
)

func exits(code int32, message string) fate { return fate{exit: &code, message: message} }

// node replaces, for one world, the Job, Deployment, quota and namespace controllers and a kubelet: it creates the pods and sets their
// status according to their fates.
type node struct {
	// own is Conductor's namespace: this node serves the stacks of the Runs in it.
	own, builds string
	// agents decide which tests are permitted to start.
	agents *agents

	mu    sync.Mutex
	fates map[string]fate
	// keepsNamespaces leaves deleted namespaces Terminating.
	keepsNamespaces bool
	seen            map[types.UID]string
	runs            map[types.UID]bool
	// order lists the things whose pods were created, in order.
	order []string
	err   error
}

func startNode(t *testing.T, own, builds string, agents *agents) *node {
	n := &node{own: own, builds: builds, agents: agents, fates: map[string]fate{}, seen: map[types.UID]string{}, runs: map[types.UID]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := n.round(ctx)
			n.mu.Lock()
			n.err = err
			n.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(25 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return n
}

// set sets the fate of build/IMAGE, service/NAME or test/SUITE; build, service and test without a name set the default.
func (n *node) set(what string, f fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fates[what] = f
}

// keepNamespaces sets whether deleted namespaces stay Terminating.
func (n *node) keepNamespaces(keep bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keepsNamespaces = keep
}

// started lists the things whose pods were created, in order.
func (n *node) started() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.order...)
}

func (n *node) describe() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("started %s; last error: %v", strings.Join(n.order, " "), n.err)
}

// fate returns the fate of a thing: by default builds push an image, tests pass, one-shot services complete and others become ready.
func (n *node) fate(what string, oneShot bool) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	kind, _, _ := strings.Cut(what, "/")
	for _, key := range []string{what, kind} {
		if f, ok := n.fates[key]; ok {
			return f
		}
	}
	switch {
	case kind == "build":
		return exits(0, digest(what))
	case kind == "test" || oneShot:
		return exits(0, "")
	}
	return ready
}

// digest is a digest that depends on a name.
func digest(name string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
}

func (n *node) round(ctx context.Context) error {
	if err := n.namespace(ctx, n.builds); err != nil {
		return err
	}
	spaces, keep, err := n.stacks(ctx)
	if err != nil {
		return err
	}
	for i := range spaces {
		if ns := &spaces[i]; ns.DeletionTimestamp == nil {
			if err := n.namespace(ctx, ns.Name); err != nil {
				return err
			}
		} else if !keep {
			end(ctx, ns)
		}
	}
	return nil
}

// stacks lists the namespaces of this world's Runs, including deleted ones, and returns whether deleted ones stay Terminating.
func (n *node) stacks(ctx context.Context) (spaces []corev1.Namespace, keep bool, err error) {
	var runs v1alpha1.RunList
	if err := admin.List(ctx, &runs, client.InNamespace(n.own)); err != nil {
		return nil, false, err
	}
	var list corev1.NamespaceList
	if err := admin.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelManaged: v1alpha1.ManagedValue}); err != nil {
		return nil, false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range runs.Items {
		n.runs[r.UID] = true
	}
	spaces = slices.DeleteFunc(list.Items, func(ns corev1.Namespace) bool { return !n.runs[types.UID(ns.Labels[v1alpha1.LabelRunUID])] })
	return spaces, n.keepsNamespaces, nil
}

// end finalizes a namespace as the namespace controller does.
func end(ctx context.Context, ns *corev1.Namespace) {
	for _, o := range []client.Object{&batchv1.Job{}, &appsv1.Deployment{}, &corev1.Pod{}} {
		_ = admin.DeleteAllOf(ctx, o, client.InNamespace(ns.Name), client.PropagationPolicy(metav1.DeletePropagationBackground))
	}
	ns = ns.DeepCopy()
	ns.Spec.Finalizers = nil
	_ = admin.SubResource("finalize").Update(ctx, ns)
}

// namespace runs the workloads of a namespace.
func (n *node) namespace(ctx context.Context, name string) error {
	in := client.InNamespace(name)
	var quotas corev1.ResourceQuotaList
	var pods corev1.PodList
	var jobs batchv1.JobList
	var deployments appsv1.DeploymentList
	for _, list := range []client.ObjectList{&quotas, &pods, &jobs, &deployments} {
		if err := admin.List(ctx, list, in); err != nil {
			return err
		}
	}
	for i := range quotas.Items {
		if err := countQuota(ctx, &quotas.Items[i]); err != nil {
			return err
		}
	}
	owned := map[types.UID]*corev1.Pod{}
	for i := range pods.Items {
		owned[pods.Items[i].OwnerReferences[0].UID] = &pods.Items[i]
	}
	for i := range jobs.Items {
		o := &jobs.Items[i]
		if err := n.run(ctx, o, "Job", o.Spec.Template, owned[o.UID]); err != nil {
			return err
		}
		delete(owned, o.UID)
	}
	for i := range deployments.Items {
		o := &deployments.Items[i]
		if *o.Spec.Replicas == 0 {
			continue
		}
		if err := n.run(ctx, o, "Deployment", o.Spec.Template, owned[o.UID]); err != nil {
			return err
		}
		delete(owned, o.UID)
	}
	for _, orphan := range owned {
		if err := client.IgnoreNotFound(admin.Delete(ctx, orphan)); err != nil {
			return err
		}
	}
	return nil
}

// countQuota initializes a quota's status as the quota controller does: before that, nothing is admitted.
func countQuota(ctx context.Context, q *corev1.ResourceQuota) error {
	if len(q.Status.Hard) > 0 {
		return nil
	}
	q.Status.Hard, q.Status.Used = q.Spec.Hard, corev1.ResourceList{}
	for name := range q.Spec.Hard {
		zero := q.Spec.Hard[name].DeepCopy()
		zero.Set(0)
		q.Status.Used[name] = zero
	}
	return ignoreRaces(admin.Status().Update(ctx, q))
}

// run creates the pod of a Job or Deployment and applies its fate.
func (n *node) run(ctx context.Context, o client.Object, kind string, template corev1.PodTemplateSpec, pod *corev1.Pod) error {
	what := thing(template.Labels)
	f := n.fate(what, kind == "Job")
	if f.exit != nil && template.Labels[v1alpha1.LabelSuite] != "" && !n.agents.lets(o.GetNamespace(), o.GetName()) {
		f = running // Its wrapper waits for permission to start.
	}
	if f.refused != "" {
		return refuse(ctx, o, f.refused)
	}
	if f.none {
		if pod != nil {
			return client.IgnoreNotFound(admin.Delete(ctx, pod))
		}
		return nil
	}
	if pod == nil {
		version := "batch/v1"
		if kind == "Deployment" {
			version = "apps/v1"
		}
		pod = &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		pod.Namespace, pod.GenerateName = o.GetNamespace(), o.GetName()+"-"
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: o.GetName(), UID: o.GetUID(), Controller: new(true)}}
		if err := admin.Create(ctx, pod); err != nil {
			return ignoreRaces(err)
		}
		n.mu.Lock()
		n.order = append(n.order, what)
		n.mu.Unlock()
	}
	return n.move(ctx, pod, f)
}

// move sets a pod's status according to its fate, once.
func (n *node) move(ctx context.Context, pod *corev1.Pod, f fate) error {
	key := fmt.Sprintf("%s %s %s %t %t %v", f.name, f.waiting, f.message, f.running, f.ready, f.exit)
	n.mu.Lock()
	same := n.seen[pod.UID] == key
	n.mu.Unlock()
	if same {
		return nil
	}
	pod.Status = podStatus(pod, f)
	if err := admin.Status().Update(ctx, pod); err != nil {
		return ignoreRaces(err)
	}
	n.mu.Lock()
	n.seen[pod.UID] = key
	n.mu.Unlock()
	return nil
}

func podStatus(pod *corev1.Pod, f fate) corev1.PodStatus {
	if f.as != nil {
		return f.as(pod)
	}
	now := metav1.Now()
	c := corev1.ContainerStatus{Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image}
	s := corev1.PodStatus{Phase: corev1.PodPending, StartTime: &now, PodIP: "192.0.2.7", PodIPs: []corev1.PodIP{{IP: "192.0.2.7"}}}
	status := corev1.ConditionFalse
	switch {
	case f.exit != nil:
		s.Phase = corev1.PodSucceeded
		if *f.exit != 0 {
			s.Phase = corev1.PodFailed
		}
		c.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: *f.exit, Reason: "Completed", Message: f.message, StartedAt: now, FinishedAt: now}
	case f.running:
		s.Phase = corev1.PodRunning
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
		if c.Ready = f.ready; f.ready {
			status = corev1.ConditionTrue
		}
	default:
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: f.waiting, Message: f.message}
	}
	s.ContainerStatuses = []corev1.ContainerStatus{c}
	s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: now}}
	return s
}

// thing names what a pod belongs to.
func thing(labels map[string]string) string {
	for _, l := range []struct{ label, kind string }{
		{v1alpha1.LabelImage, "build"}, {v1alpha1.LabelSuite, "test"}, {v1alpha1.LabelService, "service"},
	} {
		if name := labels[l.label]; name != "" {
			return l.kind + "/" + name
		}
	}
	if labels[v1alpha1.LabelStage] == "agent" {
		return "agent"
	}
	return "unknown"
}

// ignoreRaces drops errors that mean that a concurrent change was faster; the next round tries again.
func ignoreRaces(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	return err
}
