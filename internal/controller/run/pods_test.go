package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubetesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

func waiting(reason, message string) *corev1.Pod {
	start := metav1.NewTime(noon)
	return &corev1.Pod{Status: corev1.PodStatus{StartTime: &start, ContainerStatuses: []corev1.ContainerStatus{{
		Image: "redis:7", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}}
}

func TestTerminatedKnowsPodsThatDiedWithoutTheirContainers(t *testing.T) {
	evicted := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory"}}
	if got := terminated(evicted); got == nil || got.ExitCode >= 0 || got.Reason != "Evicted" {
		t.Errorf("terminated = %+v", got)
	}
	if got := terminated(waiting("ContainerCreating", "")); got != nil {
		t.Errorf("a pod that starts has ended: %+v", got)
	}
}

func TestDependenciesAreMetByTheirCondition(t *testing.T) {
	for _, tc := range []struct {
		condition string
		state     v1alpha1.ServiceState
		started   bool
		want      bool
	}{
		{compose.ConditionHealthy, v1alpha1.ServiceStarting, true, false}, {compose.ConditionHealthy, v1alpha1.ServiceReady, true, true},
		{compose.ConditionCompleted, v1alpha1.ServiceReady, true, false}, {compose.ConditionCompleted, v1alpha1.ServiceCompleted, true, true},
		{compose.ConditionStarted, v1alpha1.ServiceWaiting, false, false}, {compose.ConditionStarted, v1alpha1.ServiceStarting, false, false},
		{compose.ConditionStarted, v1alpha1.ServiceStarting, true, true}, {compose.ConditionStarted, v1alpha1.ServiceCompleted, false, true},
		{compose.ConditionHealthy, v1alpha1.ServiceFailed, true, false},
	} {
		if got := isMet(tc.condition, tc.state, tc.started); got != tc.want {
			t.Errorf("met(%s, %s, %t) = %t", tc.condition, tc.state, tc.started, got)
		}
	}
}

// aged is a pod that was created some seconds after noon.
func aged(name string, second int, ended bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "conductor-builds", CreationTimestamp: metav1.NewTime(noon.Add(time.Duration(second) * time.Second)),
		Labels: map[string]string{v1alpha1.LabelRunUID: "1", v1alpha1.LabelImage: "api"},
	}}
	if ended {
		p.Status.Phase = corev1.PodFailed
	}
	return p
}

// Creation times have whole seconds: whichever order pods come in, the same one is the newest.
func TestTheNewestOfPodsOfOneSecond(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want string
	}{
		"the later one":              {[]*corev1.Pod{aged("b", 0, false), aged("a", 1, true)}, "a"},
		"the one that has not ended": {[]*corev1.Pod{aged("a", 0, true), aged("b", 0, false)}, "b"},
		"whatever it is called":      {[]*corev1.Pod{aged("b", 0, true), aged("a", 0, false)}, "a"},
		"else the last name":         {[]*corev1.Pod{aged("a", 0, true), aged("b", 0, true)}, "b"},
	} {
		for range 2 {
			slices.Reverse(tc.pods)
			if got := slices.MaxFunc(tc.pods, byAge).Name; got != tc.want {
				t.Errorf("%s: %s is the newest, want %s", name, got, tc.want)
			}
		}
		c := newCluster(t, interceptor.Funcs{}, run)
		for _, p := range tc.pods {
			if err := c.Client.Create(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		builds, err := c.buildPods(t.Context(), run)
		if err != nil || builds["api"].Name != tc.want {
			t.Errorf("%s: the build's pod is %s, want %s (%v)", name, builds["api"].Name, tc.want, err)
		}
	}
}

// A store of pods has no order. What is reported of a service with several pods must not change from one reconcile to the next.
func TestThePodsOfAStackAreAlwaysInTheSameOrder(t *testing.T) {
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "conductor", UID: "1"}}
	var objects []runtime.Object
	for _, name := range []string{"f", "b", "d", "a", "e", "c"} {
		p := aged(name, 0, false)
		p.Namespace = jobs.StackName(run)
		objects = append(objects, p)
	}
	c := newCluster(t, interceptor.Funcs{}, run, objects...)
	defer c.close()
	if _, err := c.stacks.pods(t.Context(), run); failure.Of(err).Kind != failure.Waiting {
		t.Fatalf("before the pods are listed: %v, want a wait", err)
	}
	<-c.stacks.wake
	if !cache.WaitForCacheSync(t.Context().Done(), c.stacks.current(run.UID).pods.HasSynced) {
		t.Fatal("the pods are not listed")
	}
	for range 20 {
		pods, err := c.stacks.pods(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		order := ""
		for _, p := range pods[""] {
			order += p.Name
		}
		if order != "abcdef" {
			t.Fatalf("order %s", order)
		}
	}
}

// The end of a log is the agent's, masked; else the kubelet's, or what it kept of it. None of them has a token.
func TestTheEndOfALogIsFound(t *testing.T) {
	token := "ghp_" + strings.Repeat("a", 36)
	lastWords := func(p *corev1.Pod) {
		crashed(1, 1)(p)
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "before: " + token
	}
	for _, tc := range []struct {
		name  string
		agent string // "" for none
		noPod bool   // the agent is gone
		log   string
		err   error
		pod   podChange
		want  string
	}{
		{name: "the agent has it", agent: "panic: " + token + "\n", pod: running, want: "panic: ***\n"},
		{name: "the agent has nothing", agent: "\n", log: "kubelet: " + token, pod: running, want: "kubelet: ***"},
		{name: "the agent is gone", noPod: true, log: "kubelet", pod: running, want: "kubelet"},
		{name: "the log cannot be read", err: errors.New("node lost"), pod: exited(1, "Error", 0), want: "last words"},
		{name: "it printed nothing", log: "", pod: lastWords, want: "before: ***"},
		{name: "nothing is known", err: errors.New("node lost"), pod: running, want: ""},
		{name: "a long one", agent: strings.Repeat("x", 2000) + "end", pod: running, want: "xend"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil)
			w.begin()
			if !tc.noPod {
				w.setPods(w.agentUp())
			}
			w.agent.tail = tc.agent
			w.kube.PrependReactor("get", "pods", func(a kubetesting.Action) (bool, runtime.Object, error) {
				return a.GetSubresource() == "log", &runtime.Unknown{Raw: []byte(tc.log)}, tc.err
			})
			got := w.stackTail(t.Context(), w.run, w.podOf("db", "db-1", tc.pod), 1500)
			if !strings.HasSuffix(got, tc.want) || tc.want == "" && got != "" || len(got) > 1600 || strings.Contains(got, token) {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if logged := strings.Contains(w.log.String(), "cannot be read"); logged != (tc.err != nil) {
				t.Errorf("log: %s", w.log)
			}
		})
	}
}

// A status that hides why an image is not pulled is completed by the pod's events; they decide nothing, so that an error is only logged.
func TestEventsCompleteWhatAStatusHides(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{{"events are there", nil, "no basic auth credentials"}, {"events cannot be read", errors.New("etcd is away"), "does not report why"}} {
		w := newRig(t, nil)
		w.begin()
		w.add(w.eventOf("Failed", `Failed to pull image "postgres:17": no basic auth credentials`))
		if tc.err != nil {
			w.refuse("list", "events", tc.err)
		}
		w.now = noon.Add(time.Minute)
		s := w.state()
		pod := w.podOf("db", "db-1", waits("ImagePullBackOff", `Back-off pulling image "postgres:17"`))
		f := w.explainBlocked(t.Context(), s, pod, w.subject(s, diagnose.Service, "db"))
		if f == nil {
			t.Fatalf("%s: nothing is wrong", tc.name)
		}
		wantText(t, f.Sentence, tc.want)
		if logged := strings.Contains(w.log.String(), "events of an object"); logged != (tc.err != nil) {
			t.Errorf("%s: log: %s", tc.name, w.log)
		}
	}
}

func TestSentencesBeginWithACapital(t *testing.T) {
	for in, want := range map[string]string{"": "", "it crashed": "It crashed", "It": "It", "ähnlich": "ähnlich"} {
		if got := capitalize(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestTheTailOfALogIsOfWhatTheStatusShows(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	for _, tc := range []struct {
		name string
		is   corev1.ContainerStatus
		want evidence.Tail
	}{
		{"pulls its image", corev1.ContainerStatus{State: waiting}, evidence.Tail{}},
		{"runs", corev1.ContainerStatus{State: running}, evidence.Tail{}},
		{"runs again", corev1.ContainerStatus{State: running, LastTerminationState: ended, RestartCount: 2}, evidence.Tail{Restarts: 2}},
		{"has ended", corev1.ContainerStatus{State: ended}, evidence.Tail{Ended: true}},
		{"backs off", corev1.ContainerStatus{State: waiting, LastTerminationState: ended, RestartCount: 1}, evidence.Tail{Restarts: 1, Ended: true}},
	} {
		tc.is.Name = "web"
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}
		pod.Spec.Containers = []corev1.Container{{Name: "web"}}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "sidecar", RestartCount: 9}, tc.is}
		tc.want.Pod, tc.want.Container, tc.want.Lines = "web-1", "web", 20
		if got := tailOf(pod, 20); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestNotesOnALostLogAreNotALog(t *testing.T) {
	const notes = "[conductor: the end of the log before this restart is lost]\n\n"
	if isPrinted(notes) || isPrinted("") || !isPrinted(notes+"schema is broken\n") {
		t.Error("notes count as a log, or a line does not")
	}
}
