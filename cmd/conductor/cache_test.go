//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/stage"
)

// cached is Conductor's own cache, filled with count Runs by a fake API server; each returns the Run of an index.
func cached(tb testing.TB, options cache.Options, count int, each func(int) *v1alpha1.Run) cache.Cache {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		if r.FormValue("watch") != "true" || r.FormValue("sendInitialEvents") != "true" {
			http.Error(w, "this server only streams its lists", http.StatusNotImplemented)
			return
		}
		for i := range count {
			if err := out.Encode(map[string]any{"type": watch.Added, "object": each(i)}); err != nil {
				return
			}
		}
		end := &v1alpha1.Run{TypeMeta: runKind, ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
		_ = out.Encode(map[string]any{"type": watch.Bookmark, "object": end})
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	kinds, err := scheme()
	if err != nil {
		tb.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []schema.GroupVersionKind{v1alpha1.GroupVersion.WithKind("Run"), v1alpha1.GroupVersion.WithKind("RunList"), v1alpha1.GroupVersion.WithKind("Delivery"), corev1.SchemeGroupVersion.WithKind("Pod")} {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	options.Scheme, options.Mapper = kinds, mapper
	c, err := cache.New(&rest.Config{Host: server.URL}, options)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Start(ctx)
	}()
	tb.Cleanup(func() {
		stop()
		<-ended
		server.CloseClientConnections()
		server.Close()
	})
	if err := runs.Index(ctx, c); err != nil {
		tb.Fatal(err)
	}
	if !c.WaitForCacheSync(ctx) {
		tb.Fatal("the cache was not filled")
	}
	return c
}

var runKind = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Run"}

// madeBy are the managed fields of a Run as an API server writes them: Conductor's for the spec, and for the status.
const madeBy = `{"f:metadata":{"f:finalizers":{".":{},"v:\"conductor.digitalservic.es/run\"":{}},"f:labels":{".":{},"f:conductor.digitalservic.es/repository-id":{}}},"f:spec":{".":{},"f:actor":{".":{},"f:id":{},"f:login":{},"f:type":{}},"f:ceilings":{".":{},"f:cpu":{},"f:keep":{},"f:keepMax":{},"f:memory":{},"f:pods":{},"f:registries":{},"f:runTimeout":{}},"f:installationID":{},"f:object":{},"f:ref":{},"f:repository":{".":{},"f:cloneURL":{},"f:defaultBranch":{},"f:htmlURL":{},"f:id":{},"f:name":{},"f:owner":{},"f:private":{}},"f:sha":{},"f:trigger":{".":{},"f:delivery":{},"f:kind":{},"f:receivedAt":{}},"f:trust":{}}}`

func statusMadeBy() string {
	var b strings.Builder
	b.WriteString(`{"f:status":{".":{},"f:branch":{},"f:conditions":{".":{}`)
	for _, st := range stage.Table {
		c := st.Condition
		fmt.Fprintf(&b, `,"k:{\"type\":\"%s\"}":{".":{},"f:lastTransitionTime":{},"f:message":{},"f:observedGeneration":{},"f:reason":{},"f:status":{},"f:type":{}}`, c)
	}
	b.WriteString(`},"f:expiresAt":{},"f:finishedAt":{},"f:images":{},"f:issue":{},"f:issueSource":{},"f:keep":{},"f:message":{},"f:namespace":{},"f:notes":{},"f:observedGeneration":{},"f:outcome":{},"f:phase":{},"f:record":{".":{},"f:digest":{},"f:folded":{},"f:reference":{},"f:size":{}},"f:report":{".":{},"f:checkRuns":{},"f:commentID":{},"f:digest":{},"f:final":{}},"f:services":{},"f:stackImages":{},"f:stages":{},"f:startedAt":{},"f:suites":{}}}`)
	return b.String()
}

// finishedRun is the finished Run number i, spread over a number of repositories: six services, four of them built, and two suites. A
// failed one has the ends of the logs and ten failing tests of each suite.
func finishedRun(i, repositories int, failed bool) *v1alpha1.Run {
	at := metav1.NewMicroTime(time.Date(2026, 11, 29, 12, 0, i%60, 0, time.UTC))
	digest := fmt.Sprintf("sha256:%064x", i)
	run := &v1alpha1.Run{
		TypeMeta: runKind,
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("shop-%010x", i), Namespace: "conductor", UID: types.UID(fmt.Sprintf("5c0fa3f3-3f8b-4b8e-8a6c-%012x", i)), ResourceVersion: fmt.Sprint(1000 + i),
			CreationTimestamp: metav1.NewTime(at.Time), Finalizers: []string{v1alpha1.Finalizer}, Labels: map[string]string{v1alpha1.LabelRepository: fmt.Sprint(i % repositories)},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Manager: "conductor", Operation: "Update", APIVersion: v1alpha1.GroupVersion.String(), FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(madeBy)}},
				{Manager: "conductor", Operation: "Update", APIVersion: v1alpha1.GroupVersion.String(), FieldsType: "FieldsV1", Subresource: "status", FieldsV1: &metav1.FieldsV1{Raw: []byte(statusMadeBy())}},
			},
		},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{ID: int64(i % repositories), Owner: "acme", Name: "shop", DefaultBranch: "main", CloneURL: "https://github.com/acme/shop.git", HTMLURL: "https://github.com/acme/shop"},
			Ref:        "refs/tags/run-integration-tests", SHA: fmt.Sprintf("%040x", i), Object: fmt.Sprintf("%040x", i), Trust: v1alpha1.TrustProtected,
			Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag, Delivery: "0e26f9b0-0000-11ef-8000-000000000000", ReceivedAt: &at}, Actor: v1alpha1.Actor{Login: "ada", ID: 99, Type: "User"},
		},
	}
	st := &run.Status
	*st = v1alpha1.RunStatus{
		Phase: v1alpha1.PhaseFinished, Outcome: v1alpha1.OutcomePassed, Message: "All tests passed", Issue: 12, IssueSource: "branch", Branch: "main", Namespace: "stack-" + run.Name,
		StartedAt: &at, FinishedAt: &at, Keep: "24h0m0s", Record: &v1alpha1.RecordStatus{Reference: "registry.example.com/records/acme/shop:" + run.Name, Digest: digest, Size: 1e6},
		Report: &v1alpha1.ReportStatus{CommentID: int64(i), CheckRuns: map[string]int64{run.Name + "/e2e": 1, run.Name + "/unit": 2}, Digest: digest[7:], Final: true},
		Notes:  []string{"docker-compose.qa.yml:12: note: restart: always is what a Deployment does anyway", "docker-compose.qa.yml:31: note: container_name is not used"},
	}
	for _, known := range stage.Table {
		c := known.Condition
		st.Conditions = append(st.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, Message: "6 services up, and what else there is to say of it", LastTransitionTime: metav1.NewTime(at.Time)})
		st.Stages = append(st.Stages, v1alpha1.StageTime{Name: strings.ToLower(c), StartedAt: &at, FinishedAt: &at})
	}
	for n := range 6 {
		name := fmt.Sprint("service-", n)
		st.Services = append(st.Services, v1alpha1.ServiceStatus{Name: name, State: v1alpha1.ServiceReady})
		if n < 4 {
			st.Images = append(st.Images, v1alpha1.ImageStatus{Name: name, Repository: "registry.example.com/acme/shop/" + name, Digest: digest, Job: run.Name + "-" + name + "-0123456789", StartedAt: &at, FinishedAt: &at})
		} else {
			st.StackImages = append(st.StackImages, v1alpha1.StackImage{Name: "postgres:16.3-alpine", Digest: digest})
		}
	}
	for _, name := range []string{"e2e", "unit"} {
		suite := v1alpha1.SuiteStatus{
			Name: name, Outcome: v1alpha1.OutcomePassed, ExitCode: new(int32(0)), StartedAt: &at, FinishedAt: &at, Shards: 1, Log: strings.Repeat("a line of the log\n", 440),
			Totals: &v1alpha1.TestTotals{Tests: 41, Passed: 41}, NewlyFailing: new(int32(0)), NewlyFixed: new(int32(0)),
			Attempts: []v1alpha1.AttemptStatus{{Number: 1, Outcome: v1alpha1.OutcomePassed, ExitCode: new(int32(0)), CreatedAt: &at, StartedAt: &at, FinishedAt: &at}},
		}
		if failed {
			suite.Outcome, st.Outcome = v1alpha1.OutcomeFailed, v1alpha1.OutcomeFailed
			for n := range 10 {
				suite.Failures = append(suite.Failures, v1alpha1.TestFailure{Name: fmt.Sprint("checkout › pays with a card ", n), File: "e2e/checkout.spec.ts", Line: 42, Message: strings.Repeat("expected 200, got 502. ", 20)})
			}
		}
		st.Suites = append(st.Suites, suite)
	}
	return run
}

// The allocations of a List of one repository's Runs depend neither on the number of other Runs nor on the size of Runs.
func TestAListCopiesNoRun(t *testing.T) {
	const all, repositories = 2000, 20
	c := cached(t, cacheOptions(settings.Settings{Namespace: "conductor"}), all, func(i int) *v1alpha1.Run { return finishedRun(i, repositories, true) })
	allocated := func(s *runs.Service, repository int64, want int) uint64 {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := s.List(t.Context(), repository)
		runtime.ReadMemStats(&after)
		if err != nil || len(list) != want {
			t.Fatalf("%d runs, %v, want %d", len(list), err, want)
		}
		for i := range list {
			if repository != 0 && list[i].Spec.Repository.ID != repository || i > 0 && runs.NewestFirst(&list[i-1], &list[i]) >= 0 {
				t.Fatalf("the list is wrong at %d: %s of repository %d", i, list[i].Name, list[i].Spec.Repository.ID)
			}
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	reads := readOnly{Reader: c}
	one := allocated(&runs.Service{Client: reads, Indexed: true, Namespace: "conductor"}, 7, all/repositories)
	filtered := allocated(&runs.Service{Client: reads, Namespace: "conductor"}, 7, all/repositories)
	every := allocated(&runs.Service{Client: reads, Indexed: true, Namespace: "conductor"}, 0, all)
	t.Logf("of %d runs, the %d of a repository: %d KiB by the index, %d KiB without; all: %d KiB", all, all/repositories, one>>10, filtered>>10, every>>10)
	if most := uint64(all / repositories * 8 << 10); one > most {
		t.Errorf("a List of %d of %d runs allocated %d KiB, want less than %d KiB: it copies runs", all/repositories, all, one>>10, most>>10)
	}
	if most := uint64(all * 8 << 10); every > most {
		t.Errorf("a List of all runs allocated %d KiB, want less than %d KiB: it copies runs", every>>10, most>>10)
	}
}

// readOnly is a client that only reads from a cache.
type readOnly struct {
	client.Reader
	client.Client
}

func (r readOnly) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return r.Reader.Get(ctx, key, o, options...)
}

func (r readOnly) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return r.Reader.List(ctx, list, options...)
}

// TestTheHeapOfFinishedRuns measures the figures from which docs/install.md computes the memory limit.
func TestTheHeapOfFinishedRuns(t *testing.T) {
	const count = 1000
	heap := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	whole := cacheOptions(settings.Settings{Namespace: "conductor"})
	whole.DefaultTransform = nil
	for _, tc := range []struct {
		what    string
		options cache.Options
		run     func(int) *v1alpha1.Run
		// most is the maximum in bytes for each Run, as documented in docs/install.md; 0 for rows that are only for comparison.
		most uint64
	}{
		{"failed, with its texts, and the owners of its fields", whole, func(i int) *v1alpha1.Run { return finishedRun(i, 20, true) }, 0},
		{"failed, with its texts", cacheOptions(settings.Settings{Namespace: "conductor"}), func(i int) *v1alpha1.Run { return finishedRun(i, 20, true) }, 0},
		{"failed", cacheOptions(settings.Settings{Namespace: "conductor"}), func(i int) *v1alpha1.Run {
			run := finishedRun(i, 20, true)
			compact.Fold(&run.Status)
			return run
		}, 10 << 10},
		{"passed", cacheOptions(settings.Settings{Namespace: "conductor"}), func(i int) *v1alpha1.Run {
			run := finishedRun(i, 20, false)
			compact.Fold(&run.Status)
			return run
		}, 10 << 10},
	} {
		t.Run(tc.what, func(t *testing.T) {
			before := heap()
			c := cached(t, tc.options, count, tc.run)
			each := (heap() - before) / count
			data, err := json.Marshal(tc.run(0))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.1f KiB of heap for each run of %.1f KiB", float64(each)/1024, float64(len(data))/1024)
			if tc.most > 0 && each > tc.most {
				t.Errorf("a finished run takes %d bytes of heap, docs/install.md counts on %d", each, tc.most)
			}
			runtime.KeepAlive(c)
		})
	}
}
