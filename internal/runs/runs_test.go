package runs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
)

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func service(t *testing.T, funcs interceptor.Funcs, runs ...*v1alpha1.Run) *Service {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Run{}).WithInterceptorFuncs(funcs)
	for _, r := range runs {
		b = b.WithObjects(r)
	}
	return &Service{Client: b.Build(), Namespace: "conductor", Now: func() time.Time { return now }}
}

func run(name string, repository int64, age time.Duration) *v1alpha1.Run {
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "conductor", UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(now.Add(-age))},
		Spec:       v1alpha1.RunSpec{Repository: v1alpha1.Repository{ID: repository, Owner: "acme", Name: "shop"}, SHA: strings.Repeat("a", 40), Ref: "refs/tags/x"},
	}
}

// by cancels in the name of someone with access to the cluster.
func by(name string) Cancellation { return Cancellation{By: authority.OperatorNamed(name)} }

// commits is a GitHub where every object names one commit, which a protected branch has. asked counts the calls.
type commits struct {
	err   error
	head  v1alpha1.Head
	pull  []string
	asked int
}

func (c *commits) PullCommits(context.Context, int64, v1alpha1.Repository, int) ([]string, error) {
	c.asked++
	return c.pull, c.err
}

func (c *commits) Head(context.Context, int64, v1alpha1.Repository, int) (v1alpha1.Head, error) {
	c.asked++
	return c.head, c.err
}

func (c *commits) Commit(context.Context, int64, v1alpha1.Repository, string) (string, error) {
	c.asked++
	return strings.Repeat("a", 40), c.err
}

func (c *commits) Protected(_ context.Context, _ int64, _ v1alpha1.Repository, sha string) (bool, error) {
	c.asked++
	return sha == strings.Repeat("a", 40), c.err
}

func TestARunIsNotStartedOfACommitThatIsNotKnown(t *testing.T) {
	s := service(t, interceptor.Funcs{})
	away := errors.New("GitHub is away")
	s.GitHub, s.Ceilings = &commits{err: away}, func() v1alpha1.Ceilings { return v1alpha1.Ceilings{} }
	for _, req := range []Request{{Ref: "refs/tags/x"}, {Ref: "refs/tags/x", SHA: strings.Repeat("a", 40)}, {Issue: 12}} {
		req.By, req.Name, req.Trigger.Kind = authority.TagPoll(), "r1", v1alpha1.TriggerPoll
		if _, err := s.Start(t.Context(), req); !errors.Is(err, away) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	if list, err := s.List(t.Context(), 0); err != nil || len(list) != 0 {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

func TestStartTwiceIsOneRun(t *testing.T) {
	s := service(t, interceptor.Funcs{})
	github := &commits{}
	s.GitHub, s.Ceilings = github, func() v1alpha1.Ceilings { return v1alpha1.Ceilings{Pods: 5} }
	spec := run("", 7, 0).Spec
	req := Request{
		By: authority.Pusher(v1alpha1.Actor{Login: "ada", ID: 3}), Name: "r1", Repository: spec.Repository, Ref: spec.Ref, Object: strings.Repeat("c", 40),
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, Delivery: "guid-1"},
	}
	first, err := s.Start(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if first.Labels[v1alpha1.LabelRepository] != "7" {
		t.Errorf("labels %v", first.Labels)
	}
	if first.Spec.SHA != strings.Repeat("a", 40) || first.Spec.Object != req.Object || first.Spec.Trust != v1alpha1.TrustProtected || first.Spec.Ceilings.Pods != 5 ||
		first.Spec.Actor.ID != 3 || v1alpha1.TraceOf(first) != "guid-1" {
		t.Errorf("%+v", first.Spec)
	}
	req.SHA = strings.Repeat("b", 40)
	second, err := s.Start(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if second.Spec.SHA != first.Spec.SHA {
		t.Errorf("the second start changed the SHA to %s", second.Spec.SHA)
	}
	if list, err := s.List(t.Context(), 0); err != nil || len(list) != 1 {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

func TestListIsNewestFirstAndOfOneRepository(t *testing.T) {
	other := run("other", 8, time.Minute)
	elsewhere := run("elsewhere", 7, 0)
	elsewhere.Namespace = "default"
	s := service(t, interceptor.Funcs{}, run("old", 7, time.Hour), run("new", 7, time.Second), other, elsewhere)
	for repository, want := range map[int64]string{7: "new old", 8: "other", 0: "new other old", 9: ""} {
		list, err := s.List(t.Context(), repository)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range list {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("List(%d) = %q, want %q", repository, got, want)
		}
	}
}

func TestARunThatIsNotThereIsErrNotFound(t *testing.T) {
	s := service(t, interceptor.Funcs{})
	if _, err := s.Get(t.Context(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Cancel(t.Context(), "x", by("me")); !errors.Is(err, ErrNotFound) {
		t.Errorf("Cancel: %v", err)
	}
	if _, err := s.Watch(t.Context(), "x", func(*v1alpha1.Run) {}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Watch: %v", err)
	}
	if _, err := s.Log(t.Context(), "x", "test", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("Log: %v", err)
	}
}

func TestTheFirstCancelCounts(t *testing.T) {
	over := run("over", 7, 0)
	over.Status.Outcome = v1alpha1.OutcomePassed
	kept := run("kept", 7, 0)
	kept.Status.Outcome = v1alpha1.OutcomePassed
	meta.SetStatusCondition(&kept.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	meta.SetStatusCondition(&over.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStackKept, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonExpired})
	s := service(t, interceptor.Funcs{}, run("r1", 7, 0), over, kept)
	for _, who := range []string{"ada", "bob"} {
		if err := s.Cancel(t.Context(), "r1", Cancellation{By: authority.OperatorNamed(who), Reason: strings.Repeat("é", 600)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Get(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Spec.Cancel; c == nil || c.By != "ada" || len(c.Reason) != 1024 || !c.At.Time.Equal(now) {
		t.Errorf("cancel = %+v", c)
	}
	if err := s.Cancel(t.Context(), "over", by("ada")); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), "over"); got.Spec.Cancel != nil {
		t.Error("a run of which nothing is left was canceled")
	}
	if err := s.Cancel(t.Context(), "kept", by("ada")); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), "kept"); got.Spec.Cancel == nil {
		t.Error("a run whose stack is kept was not canceled")
	}
}

func TestCancelTriesAgainWhenTheRunMoved(t *testing.T) {
	var patches atomic.Int32
	s := service(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if patches.Add(1) == 1 {
			// Another client writes between the read and the patch.
			moved := &v1alpha1.Run{}
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), moved); err != nil {
				return err
			}
			moved.Annotations = map[string]string{"moved": "true"}
			if err := c.Update(ctx, moved); err != nil {
				return err
			}
		}
		return c.Patch(ctx, o, p, opts...)
	}}, run("r1", 7, 0))
	if err := s.Cancel(t.Context(), "r1", by("ada")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "r1")
	if err != nil || got.Spec.Cancel == nil || got.Annotations["moved"] != "true" || patches.Load() != 2 {
		t.Errorf("after %d patches: %+v, %v", patches.Load(), got, err)
	}
}

func TestWatchEndsWithTheOutcome(t *testing.T) {
	s := service(t, interceptor.Funcs{}, run("r1", 7, 0))
	steps := []func(*v1alpha1.RunStatus){
		func(st *v1alpha1.RunStatus) { st.Phase = v1alpha1.PhaseBuilding },
		func(st *v1alpha1.RunStatus) { st.Phase, st.Outcome = v1alpha1.PhaseReporting, v1alpha1.OutcomeFailed },
	}
	var seen []v1alpha1.RunPhase
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := s.Watch(ctx, "r1", func(r *v1alpha1.Run) {
		seen = append(seen, r.Status.Phase)
		if len(steps) > 0 {
			r = r.DeepCopy()
			steps[0](&r.Status)
			steps = steps[1:]
			if err := s.Client.Status().Update(ctx, r); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || got.Status.Outcome != v1alpha1.OutcomeFailed {
		t.Fatalf("Watch = %+v, %v", got, err)
	}
	if diff := gocmp.Diff([]v1alpha1.RunPhase{"", v1alpha1.PhaseBuilding, v1alpha1.PhaseReporting}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := service(t, interceptor.Funcs{}, run("r1", 7, 0))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Watch(ctx, "r1", func(*v1alpha1.Run) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

// fakeLogs has one log for each set of labels.
type fakeLogs map[string]string

func (f fakeLogs) Open(_ context.Context, namespace string, with map[string]string) (io.ReadCloser, error) {
	var of string
	for k, v := range with {
		if k != v1alpha1.LabelRunUID {
			of = namespace + " " + k + "=" + v + " of " + with[v1alpha1.LabelRunUID]
		}
	}
	if s, ok := f[of]; ok {
		return io.NopCloser(strings.NewReader(s)), nil
	}
	return nil, ErrNoLog
}

func TestLog(t *testing.T) {
	r := run("r1", 7, 0)
	r.Status.Namespace, r.Status.BuildsNamespace = "stack-r1", "kaniko-jobs"
	r.Status.Suites = []v1alpha1.SuiteStatus{{Name: "e2e", Log: "kept"}, {Name: "unit"}}
	r.Status.Services = []v1alpha1.ServiceStatus{{Name: "web_1"}}
	r.Status.Images = []v1alpha1.ImageStatus{{Name: "web", Log: "kept build"}, {Name: "api"}}
	s := service(t, interceptor.Funcs{}, r)
	s.Logs = fakeLogs{
		"stack-r1 " + v1alpha1.LabelSuite + "=unit of uid-r1":    "live unit",
		"stack-r1 " + v1alpha1.LabelService + "=web_1 of uid-r1": "live web",
		"kaniko-jobs " + v1alpha1.LabelImage + "=api of uid-r1":  "live build",
	}
	for _, tt := range []struct{ what, name, want string }{
		{"test", "unit", "live unit"}, {"test", "e2e", "kept"}, {"service", "", "live web"}, {"build", "web", "kept build"}, {"build", "api", "live build"},
	} {
		stream, err := s.Log(t.Context(), "r1", tt.what, tt.name)
		if err != nil {
			t.Errorf("%s %s: %v", tt.what, tt.name, err)
			continue
		}
		if data, err := io.ReadAll(stream); err != nil || string(data) != tt.want {
			t.Errorf("%s %s = %q, %v", tt.what, tt.name, data, err)
		}
	}
	for _, bad := range [][2]string{{"test", ""}, {"test", "nope"}, {"service", "redis"}} {
		if _, err := s.Log(t.Context(), "r1", bad[0], bad[1]); !errors.Is(err, ErrNoLog) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := s.Log(t.Context(), "r1", "node", ""); err == nil || errors.Is(err, ErrNoLog) {
		t.Errorf("a kind that is not there: %v", err)
	}
	s.Logs = nil
	if _, err := s.Log(t.Context(), "r1", "test", "unit"); !errors.Is(err, ErrNoLog) {
		t.Errorf("no log at all: %v", err)
	}
}

func TestALogThatIsInTheRecordAloneIsPointedTo(t *testing.T) {
	r := run("r1", 7, 0)
	r.Status.Namespace = "stack-r1"
	r.Status.Suites = []v1alpha1.SuiteStatus{{Name: "e2e"}, {Name: "unit"}}
	r.Status.Record = &v1alpha1.RecordStatus{Reference: "registry.example.com/records/acme/shop:r1", Folded: true}
	s := service(t, interceptor.Funcs{}, r)
	s.Logs = fakeLogs{"stack-r1 " + v1alpha1.LabelSuite + "=unit of uid-r1": "live unit"}
	stream, err := s.Log(t.Context(), "r1", "test", "unit")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(stream); err != nil || string(data) != "live unit" {
		t.Errorf("while its pod is there: %q, %v", data, err)
	}
	_, err = s.Log(t.Context(), "r1", "test", "e2e")
	if !errors.Is(err, ErrNoLog) || !strings.Contains(err.Error(), "registry.example.com/records/acme/shop:r1") || !strings.Contains(err.Error(), "conductor runs record r1 --extract DIR") {
		t.Errorf("once its pod is gone: %v", err)
	}
}

// Runs of the same second have one order, for everyone who compares them.
func TestRunsOfOneSecondHaveAnOrder(t *testing.T) {
	at := func(r *v1alpha1.Run, d time.Duration) *v1alpha1.Run {
		r.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(now.Add(d)))
		return r
	}
	want := []*v1alpha1.Run{
		run("young", 7, -time.Second), at(run("last", 7, 0), 900*time.Millisecond), at(run("first", 7, 0), 100*time.Millisecond),
		run("a", 7, 0), run("b", 7, 0), at(run("early", 7, 0), -time.Second), at(run("old", 7, time.Second), time.Hour),
	}
	for i, a := range want {
		for j, b := range want {
			if got := NewestFirst(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%s against %s: %d, want %d", a.Name, b.Name, got, cmp.Compare(i, j))
			}
		}
	}
}

// TestPodLogsReadsTheNewestPod lets the real client talk to a false API server.
func TestPodLogsReadsTheNewestPod(t *testing.T) {
	pods := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for i, age := range []time.Duration{time.Hour, time.Minute, 2 * time.Hour} {
		pods.Items = append(pods.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), CreationTimestamp: metav1.NewTime(now.Add(-age))},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/ns/pods", func(w http.ResponseWriter, r *http.Request) {
		answer := pods
		if r.FormValue("labelSelector") != "a=b" {
			answer.Items = nil
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /api/v1/namespaces/ns/pods/{pod}/log", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the log of %s in %s", r.FormValue("container"), r.PathValue("pod"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := PodLogs(kube).Open(t.Context(), "ns", map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if data, err := io.ReadAll(stream); err != nil || string(data) != "the log of main in p1" {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := PodLogs(kube).Open(t.Context(), "ns", map[string]string{"a": "c"}); !errors.Is(err, ErrNoLog) {
		t.Errorf("without a pod: %v", err)
	}
}
