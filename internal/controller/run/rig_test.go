package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// rig is one Run with a plan, in a cluster in memory. Its stages are called one by one; pods, agent, registry and GitHub are as the test
// sets them. Namespaces and Jobs that the Reconciler creates are in both fake clients, what it applies is recorded by kind and name.
type rig struct {
	*cluster
	t      *testing.T
	run    *v1alpha1.Run
	plan   *loaded
	now    time.Time
	agent  *puppet
	shelf  *rigRegistry
	github *tokenMaker
	// planner is for the tests of planning; the other stages have plan.
	planner *planServer

	mu      sync.Mutex
	applied []string
	refuses map[string]error
}

const (
	rigConfig  = "version: 1\ntests: {e2e: {image: busybox, command: run, timeout: 10m}}\n"
	rigCompose = "services: {db: {image: 'postgres:17'}}\n"
)

// newRig plans files, of which .conductor.yaml and the compose file have defaults. Settings are changed before that.
func newRig(t *testing.T, files map[string]string, change ...func(*settings.Settings)) *rig {
	t.Helper()
	set := settings.Default()
	set.Image, set.Registry.Host = "conductor", "registry.example"
	for _, c := range change {
		c(&set)
	}
	w := &rig{
		t: t, run: testRun("shop-1", "1"), now: noon, refuses: map[string]error{}, agent: &puppet{}, github: &tokenMaker{},
		shelf: &rigRegistry{imageServer: &imageServer{tags: map[string]string{}}, sourceShelf: &sourceShelf{kept: map[string]*keptSource{}}},
	}
	w.run.Namespace, w.run.Spec.Repository.Owner, w.run.Spec.Repository.Name = "conductor", "acme", "shop"
	w.run.Spec.Ceilings.Keep.Duration, w.run.Spec.Ceilings.KeepMax.Duration = 24*time.Hour, 48*time.Hour
	w.run.Status.StartedAt = w.at(0)
	w.cluster = newCluster(t, interceptor.Funcs{Create: w.create, Patch: w.patch}, w.run)
	w.Settings = set
	w.Registry, w.GitHub, w.Agents, w.Live = w.shelf, w.github, w.agent, w.Client
	w.planner = &planServer{answer: func(in plan.Input) plan.Answer { return plan.Answered(plan.Make(in)) }}
	w.Planner = w.planner
	w.Now = func() time.Time { return w.now }
	w.open()
	t.Cleanup(w.close)
	if err := w.guard.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.makePlan(files, plan.Images{AllKnown: true})
	w.setPods()
	return w
}

// makePlan plans files with what is known of the images.
func (w *rig) makePlan(files map[string]string, images plan.Images) {
	w.t.Helper()
	all := map[string]string{".conductor.yaml": rigConfig, "docker-compose.qa.yml": rigCompose, "Dockerfile": "FROM scratch\n"}
	for name, content := range files {
		all[name] = content
	}
	made, err := plan.Make(plan.Input{Dir: checkout(w.t, all), Run: planned(w.run), Settings: w.Settings, Images: images})
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(w.t.TempDir(), "plan"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if err := (plan.Answer{Plan: made}).Write(f); err != nil {
		w.t.Fatal(err)
	}
	w.plan = &loaded{Plan: made, file: f.Name(), release: func() {}}
}

// state is what the next reconcile begins with.
func (w *rig) state() *state {
	return &state{
		run: w.run, plan: w.plan, images: w.knownImages(w.run, nil), noted: w.run.Status.Step.DeepCopy(), now: w.now, deadlines: w.Settings.Deadlines,
	}
}

// reconcile calls a stage until no step of the Run is in its way, as reconciles would that follow each other.
func (w *rig) reconcile(stage func(context.Context, *state) error) (*state, error) {
	w.t.Helper()
	for range 100 {
		s := w.state()
		err := stage(w.t.Context(), s)
		w.steps.stored(w.run.UID, w.now)
		if !errors.Is(err, errRunning) && !errors.Is(err, errOtherRuns) {
			return s, err
		}
		if s.requeueAfter(failure.Of(err).After); s.requeue >= runningPause {
			<-w.stacks.wake
		}
	}
	w.t.Fatal("a step of the Run does not end")
	return nil, nil
}

func (w *rig) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if err := w.refused("create " + kindOf(o)); err != nil {
		return err
	}
	switch o := o.(type) {
	case *corev1.Namespace:
		_, err := w.kube.CoreV1().Namespaces().Create(ctx, o, metav1.CreateOptions{})
		return err
	case *batchv1.Job:
		if _, err := w.kube.BatchV1().Jobs(o.Namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return c.Create(ctx, o, opts...)
}

func (w *rig) patch(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if p.Type() != types.ApplyPatchType {
		return c.Patch(ctx, o, p, opts...)
	}
	if err := w.refused("apply " + kindOf(o)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied = append(w.applied, kindOf(o)+" "+o.GetName())
	return nil
}

// kindOf is the kind of an object, which typed ones may not name.
func kindOf(o client.Object) string {
	if kind := o.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	name := fmt.Sprintf("%T", o)
	return name[strings.LastIndex(name, ".")+1:]
}

// refused is the error that the API server is set to answer with, by verb and kind.
func (w *rig) refused(request string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuses[request]
}

// takeApplied returns what was applied since the last call, sorted.
func (w *rig) takeApplied() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.applied
	w.applied = nil
	slices.Sort(out)
	return out
}

// add puts objects into the API server as others would.
func (w *rig) add(objects ...runtime.Object) {
	w.t.Helper()
	for _, o := range objects {
		if err := w.kube.Tracker().Add(o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// begin makes the stack's namespace part of the Run.
func (w *rig) begin() {
	w.t.Helper()
	w.add(stackOf(w.run))
	w.run.Status.Namespace = jobs.StackName(w.run)
}

// at is a moment after noon.
func (w *rig) at(after time.Duration) *metav1.MicroTime {
	return new(metav1.NewMicroTime(noon.Add(after)))
}

// ended notes a stage as done at a moment.
func (w *rig) ended(condition string, after time.Duration) {
	s := w.state()
	s.now = noon.Add(after)
	s.done(condition, v1alpha1.ReasonDone, "done")
}

// listed is the informer of a stack's pods; the test sets what is in its store.
type listed struct {
	cache.SharedIndexInformer
	store cache.Store
}

func (l listed) HasSynced() bool       { return true }
func (l listed) GetStore() cache.Store { return l.store }

// setPods replaces the pods of the stack, in the watch and in the API server.
func (w *rig) setPods(pods ...*corev1.Pod) {
	w.t.Helper()
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	have, err := w.kube.CoreV1().Pods(jobs.StackName(w.run)).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range have.Items {
		if err := w.kube.CoreV1().Pods(p.Namespace).Delete(w.t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, p := range pods {
		w.add(p)
		if err := store.Add(p); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sessions.mu.Lock()
	defer w.sessions.mu.Unlock()
	w.sessions.of(w.run.UID).pods = &podWatch{pods: listed{store: store}, stop: make(chan struct{}), startedAt: time.Now()}
}

// pods are those of the stack by service.
func (w *rig) podsByService() map[string][]*corev1.Pod {
	w.t.Helper()
	pods, err := w.stacks.pods(w.t.Context(), w.run)
	if err != nil {
		w.t.Fatal(err)
	}
	return pods
}

// podChange makes a pod another one.
type podChange func(*corev1.Pod)

// podOf is a pod of a service that was scheduled at noon, with the restart policy and the annotations of its template.
func (w *rig) podOf(service, name string, changes ...podChange) *corev1.Pod {
	labels := jobs.Labels(w.run, jobs.StageStack)
	labels[v1alpha1.LabelService] = names.LabelValue(service)
	return w.podWith(name, labels, service, append([]podChange{func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
		for _, svc := range w.plan.Services {
			if d, ok := svc.Workload.(*appsv1.Deployment); ok && svc.Name == service {
				p.Annotations = d.Spec.Template.Annotations
			} else if svc.Name == service {
				p.Spec.RestartPolicy = svc.Workload.(*batchv1.Job).Spec.Template.Spec.RestartPolicy
			}
		}
	}}, changes...))
}

func (w *rig) podWith(name string, labels map[string]string, container string, changes []podChange) *corev1.Pod {
	start := metav1.NewTime(noon)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: jobs.StackName(w.run), Labels: labels, CreationTimestamp: start},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: container, Image: "postgres:17"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &start, ContainerStatuses: []corev1.ContainerStatus{{
			Name: container, Image: "postgres:17", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}}},
	}
	for _, c := range changes {
		c(p)
	}
	return p
}

// testPod is the pod of an attempt.
func (w *rig) testPod(suite string, shard, number int, changes ...podChange) *corev1.Pod {
	labels := jobs.Labels(w.run, jobs.StageTest)
	labels[v1alpha1.LabelSuite], labels[v1alpha1.LabelShard], labels[v1alpha1.LabelAttempt] = names.LabelValue(suite), strconv.Itoa(shard), strconv.Itoa(number)
	return w.podWith(fmt.Sprintf("test-%s-%d-%d", suite, shard, number), labels, "test", changes)
}

// agentPod is the pod of the stack's agent.
func (w *rig) agentPod(changes ...podChange) *corev1.Pod {
	return w.podWith("agent", map[string]string{v1alpha1.LabelStage: jobs.StageAgent}, "agent", changes)
}

// agentUp is an agent's pod that answers.
func (w *rig) agentUp() *corev1.Pod {
	return w.agentPod(running, func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.9" })
}

func running(p *corev1.Pod) {
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}}
}

func ready(p *corev1.Pod) {
	running(p)
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
}

// exited is a pod whose container has ended.
func exited(code int32, reason string, after time.Duration) podChange {
	return func(p *corev1.Pod) {
		if p.Status.Phase = corev1.PodFailed; code == 0 {
			p.Status.Phase = corev1.PodSucceeded
		}
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, FinishedAt: metav1.NewTime(noon.Add(after)), Message: "last words",
		}}
	}
}

// crashed is a pod whose container is restarted after it crashed so often.
func crashed(times int32, code int32) podChange {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses[0].RestartCount = times - 1
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
		p.Status.ContainerStatuses[0].LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, FinishedAt: metav1.NewTime(noon),
		}}
	}
}

// waits is a pod whose container waits.
func waits(reason, message string) podChange {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
}

// unschedulable is a pod that no node takes since noon.
func unschedulable(message string) podChange {
	return func(p *corev1.Pod) {
		p.Spec.NodeName = ""
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message, LastTransitionTime: metav1.NewTime(noon),
		})
	}
}

// eventOf is an event about an object of the stack, of noon.
func (w *rig) eventOf(reason, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: jobs.StackName(w.run), Name: strings.ToLower(reason)}, Reason: reason, Message: message,
		FirstTimestamp: metav1.NewTime(noon), LastTimestamp: metav1.NewTime(noon),
	}
}

// puppet is the agent of every stack. It does not answer while err is set.
type puppet struct {
	mu       sync.Mutex
	err      error
	state    evidence.AgentState
	released []evidence.AttemptKey
	tail     string
	cases    map[evidence.AttemptKey][]evidence.Case
	noTokens error
}

func (a *puppet) At(*v1alpha1.Run, string) Agent { return a }

func (a *puppet) Tokens(*v1alpha1.Run) (evidence.AgentTokens, error) {
	return evidence.AgentTokens{Conductor: "c", Wrapper: "w", Source: "s"}, a.noTokens
}

func (a *puppet) Go(_ context.Context, key evidence.AttemptKey) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.released = append(a.released, key)
	}
	return a.err
}

func (a *puppet) State(ctx context.Context, since int64, wait time.Duration) (evidence.AgentState, error) {
	a.mu.Lock()
	state, err := a.state, a.err
	a.mu.Unlock()
	if wait > 0 && since == state.Version { // Nothing changes in these tests while it is followed.
		<-ctx.Done()
		return evidence.AgentState{}, ctx.Err()
	}
	state.Attempts, state.Logs = slices.Clone(state.Attempts), slices.Clone(state.Logs)
	for i := range state.Attempts {
		if seen := state.Attempts[i].Attempt; seen != nil {
			state.Attempts[i].Attempt = new(*seen)
		}
	}
	return state, err
}

func (a *puppet) Cases(_ context.Context, key evidence.AttemptKey, each func(evidence.Case)) ([]string, error) {
	for _, c := range a.cases[key] {
		each(c)
	}
	return nil, nil
}

func (a *puppet) Blob(_ context.Context, path string) (io.ReadCloser, int64, string, error) {
	return nil, 0, "", fmt.Errorf("get %s: %w", path, evidence.ErrAbsent)
}

func (a *puppet) Tail(context.Context, evidence.Tail) (string, error) { return a.tail, a.err }

func (a *puppet) Usage(context.Context) (map[string]evidence.Usage, error) { return nil, nil }

// seen has the agent know how attempts ended.
func (a *puppet) seen(attempts ...evidence.AttemptState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Version++
	a.state.Attempts = attempts
}

// endedAt is an attempt whose process has ended, as its wrapper reports it.
func endedAt(suite string, shard, number, code int, after time.Duration) evidence.AttemptState {
	key := evidence.AttemptKey{Suite: suite, Shard: shard, Number: number}
	return evidence.AttemptState{Key: key, Ready: true, Allowed: true, Ended: true, Complete: true, Attempt: &evidence.Attempt{
		AttemptKey: key, ExitCode: code, StartedAt: noon, FinishedAt: noon.Add(after),
	}}
}

// watched has a Run's agent followed already, with what the agent knows now.
func (w *rig) watched() *agentWatch {
	w.sessions.mu.Lock()
	defer w.sessions.mu.Unlock()
	a := &agentWatch{Agent: w.agent, sessions: w.sessions, address: "10.0.0.9", stop: func() {}, state: w.agent.state}
	w.sessions.of(w.run.UID).agent = a
	return a
}

// rigRegistry is a registry. What it is asked to keep it keeps in memory, and each call fails with what the test sets for it.
type rigRegistry struct {
	*imageServer
	*sourceShelf
	fails   map[string]error
	records []v1alpha1.RecordStatus
	// layers are the names of what a record has, result is its result.json, and notes are its annotations.
	layers  []string
	result  string
	notes   map[string]string
	linked  []string
	history map[string]*evidence.History
}

func (s *rigRegistry) PushConfig(context.Context, string) ([]byte, error) {
	return []byte(`{"push":1}`), s.fails["PushConfig"]
}

func (s *rigRegistry) PullConfig(context.Context, v1alpha1.Repository) ([]byte, error) {
	return []byte(`{"pull":1}`), s.fails["PullConfig"]
}

func (s *rigRegistry) Ping(context.Context) error { return s.fails["Ping"] }

func (s *rigRegistry) PushRecord(_ context.Context, _ v1alpha1.Repository, run string, notes map[string]string, files []evidence.Layer,
	head func(missing []error) ([]evidence.Layer, error),
) (v1alpha1.RecordStatus, error) {
	if err := s.fails["PushRecord"]; err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	top, err := head(nil)
	if err != nil {
		return v1alpha1.RecordStatus{}, err
	}
	for _, l := range slices.Concat(files, top) {
		s.layers = append(s.layers, l.Name)
		if l.Name == evidence.ResultName {
			var text strings.Builder
			if err := l.Write(&text); err != nil {
				return v1alpha1.RecordStatus{}, err
			}
			s.result = text.String()
		}
	}
	kept := v1alpha1.RecordStatus{Reference: "registry.example/records/acme/shop:" + run, Digest: someDigest}
	s.records, s.notes = append(s.records, kept), notes
	return kept, nil
}

func (s *rigRegistry) OpenResult(context.Context, v1alpha1.RecordStatus) (io.ReadCloser, error) {
	return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "There is no record")
}

func (s *rigRegistry) LinkImages(_ context.Context, _ v1alpha1.RecordStatus, images []string) error {
	if err := s.fails["LinkImages"]; err != nil {
		return err
	}
	s.linked = append(s.linked, images...)
	return nil
}

func (s *rigRegistry) History(_ context.Context, _ v1alpha1.Repository, branch, suite string) (*evidence.History, error) {
	return s.history[branch+"/"+suite], s.fails["History"]
}

func (s *rigRegistry) UpdateHistory(_ context.Context, _ v1alpha1.Repository, branch, suite string, change func(*evidence.History) evidence.History) error {
	if err := s.fails["UpdateHistory"]; err != nil {
		return err
	}
	if s.history == nil {
		s.history = map[string]*evidence.History{}
	}
	s.history[branch+"/"+suite] = new(change(s.history[branch+"/"+suite]))
	return nil
}

// tokenMaker is a GitHub that makes clone tokens, unless err is set.
type tokenMaker struct {
	GitHub
	err  error
	made int
}

func (g *tokenMaker) CloneToken(context.Context, int64, v1alpha1.Repository) (string, time.Time, error) {
	if g.err != nil {
		return "", time.Time{}, g.err
	}
	g.made++
	return fmt.Sprint("token-", g.made), noon.Add(time.Hour), nil
}

// wantFailure checks an error: reason "" means that there is none, and parts are in the sentence that people read.
func wantFailure(t *testing.T, err error, kind failure.Kind, reason string, parts ...string) {
	t.Helper()
	f := failure.Of(err)
	if reason == "" {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	if f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error %v (%+v), want kind %d and reason %s", err, f, kind, reason)
		return
	}
	wantText(t, f.Sentence, parts...)
}

// wantText checks that facts are in a text.
func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
}
