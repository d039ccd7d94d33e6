package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/githubapp"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
	"github.com/w3evolutionsllc/conductor/internal/webhook"
	github "github.com/w3evolutionsllc/conductor/test/github"
)

const (
	opList    = "GET /app/hook/deliveries"
	opPayload = "GET /app/hook/deliveries/{delivery_id}"
	opComment = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments"
)

// outage is a GitHub that behaves, whose deliveries fail at first, and the objects in Conductor's namespace.
type outage struct {
	*github.Server
	t     *testing.T
	app   github.App
	issue int
	kube  client.WithWatch
}

// newOutage makes a GitHub whose App has a webhook at a port where nothing listens.
func newOutage(t *testing.T) *outage {
	t.Helper()
	s, err := github.New(github.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Check(t); s.Close() })
	o := &outage{Server: s, t: t, kube: newKube(t)}
	for _, login := range []string{"ada", "rob"} {
		_, err := s.CreateUser(login)
		o.must(err)
	}
	o.must(s.CreateOrg("acme", "ada"))
	_, err = s.CreateRepository("acme/shop", github.RepositoryOptions{Files: map[string]string{"f": "1"}})
	o.must(err)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	o.app, err = s.CreateApp(github.AppOptions{
		Slug: "conductor", Events: []string{"push", "issue_comment", "issues"}, WebhookURL: gone.URL, WebhookSecret: "secret",
		Permissions: github.Permissions{"contents": "read", "issues": "write", "pull_requests": "write", "checks": "write"},
	})
	o.must(err)
	_, err = s.InstallApp(o.app.ID, "acme", github.InstallOptions{})
	o.must(err)
	o.issue, err = s.CreateIssue("acme/shop", "ada", "It breaks", "")
	o.must(err)
	return o
}

func newKube(t *testing.T) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return withIndexes(fake.NewClientBuilder().WithScheme(scheme)).WithStatusSubresource(&v1alpha1.Delivery{}, &v1alpha1.Run{}).Build()
}

func (o *outage) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *outage) comment(body string) int64 {
	o.t.Helper()
	id, err := o.Comment("acme/shop", "ada", o.issue, body)
	o.must(err)
	return id
}

// settled waits until every delivery was attempted, and returns them.
func (o *outage) settled() []github.Delivery {
	o.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, done := o.Deliveries(o.app.ID), true
		for _, d := range all {
			done = done && d.Done
		}
		if done {
			return all
		}
	}
	o.t.Fatal("the deliveries were not attempted")
	return nil
}

// operations counts the requests of an operation.
func (o *outage) operations(names ...string) (n int) {
	for _, r := range o.Requests() {
		for _, name := range names {
			if r.Operation == name {
				n++
			}
		}
	}
	return n
}

// replica is one process of Conductor: its webhook, its controller of Deliveries, and CatchUp, which only the leader runs.
type replica struct {
	*CatchUp
	acts *Reconciler
	hook *webhook.Handler
}

type githubClock struct{ *github.Server }

func (c githubClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// replica starts a process, over a client that may fail.
func (o *outage) replica(kube client.WithWatch) *replica {
	o.t.Helper()
	gh, err := githubapp.New(githubapp.Options{
		BaseURL: o.APIURL(), AppID: o.app.ID, Clock: githubClock{o.Server}, PrivateKey: func() ([]byte, error) { return []byte(o.app.PrivateKey), nil },
	})
	o.must(err)
	log := slog.New(slog.DiscardHandler)
	rules := trigger.Rules{Tags: []string{"qa/*"}}
	inbox := Inbox{Client: kube, Live: kube, Indexed: true, Namespace: "conductor", Log: log}
	hook, err := webhook.New(webhook.Options{
		Secrets: func() ([][]byte, error) { return [][]byte{[]byte("secret")}, nil }, Inbox: inbox, IsWriter: inbox.IsWriter, Log: log,
		Relevant: func(e v1alpha1.Event) (bool, string) { return Relevant(e, rules) },
	})
	o.must(err)
	service := &runs.Service{
		Client: kube, Namespace: "conductor", GitHub: gh, Ceilings: func() v1alpha1.Ceilings { return v1alpha1.Ceilings{} }, Logger: log, Now: o.Now,
	}
	return &replica{
		CatchUp: &CatchUp{GitHub: gh, Intake: hook, Client: kube, Live: kube, Namespace: "conductor", Every: CatchUpEvery, Log: log, Now: o.Now},
		acts:    &Reconciler{Client: kube, GitHub: gh, Runs: service, Rules: rules, Log: log, Now: o.Now}, hook: hook,
	}
}

// deliveries returns the Deliveries that exist, by their names.
func (o *outage) deliveries() map[string]v1alpha1.Delivery {
	o.t.Helper()
	var list v1alpha1.DeliveryList
	o.must(o.kube.List(o.t.Context(), &list))
	all := map[string]v1alpha1.Delivery{}
	for _, d := range list.Items {
		all[d.Name] = d
	}
	return all
}

// act reconciles all Deliveries, in the order of the map, until none is left. Time passes as they ask for: GitHub's limits make them wait.
func (o *outage) act(r *replica) {
	o.t.Helper()
	for range 1000 {
		open, wait := false, time.Duration(0)
		for _, d := range o.deliveries() {
			if d.Status.ProcessedAt == nil {
				open = true
				res, err := r.acts.Reconcile(o.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&d)})
				o.must(err)
				wait = max(wait, res.RequeueAfter)
			}
		}
		if !open {
			return
		}
		o.Advance(wait)
	}
	o.t.Fatal("not all deliveries are processed")
}

func (o *outage) runs() int {
	o.t.Helper()
	var list v1alpha1.RunList
	o.must(o.kube.List(o.t.Context(), &list))
	return len(list.Items)
}

// point returns the stored point.
func (o *outage) point() string {
	o.t.Helper()
	cm := &corev1.ConfigMap{}
	o.must(o.kube.Get(o.t.Context(), client.ObjectKey{Namespace: "conductor", Name: stateName}, cm))
	return cm.Data[keyPoint]
}

// Conductor is away while GitHub makes 7,000 deliveries, of which 270 are of a kind that it acts on and 90 have a command.
func TestAnOutageLosesNothing(t *testing.T) {
	o := newOutage(t)
	const tests, helps, talks, pushes, all = 45, 45, 100, 80, 7000
	kinds := make([]string, 0, all)
	for kind, n := range map[string]int{"test": tests, "help": helps, "talk": talks, "push": pushes} {
		for range n {
			kinds = append(kinds, kind)
		}
	}
	for len(kinds) < all-len(o.settled()) {
		kinds = append(kinds, "edit")
	}
	rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	edited, wanted := o.comment("first"), map[string]bool{} // This one is among the talk.
	kinds = slices.Delete(kinds, slices.Index(kinds, "talk"), slices.Index(kinds, "talk")+1)
	for i, kind := range kinds {
		switch kind {
		case "push":
			o.must(o.PushTag("acme/shop", "ada", fmt.Sprintf("v%d", i), "main", ""))
		case "edit":
			o.must(o.EditComment("acme/shop", "ada", o.issue, edited, fmt.Sprint("/conductor test ", i)))
		case "talk":
			o.comment("nice")
		default:
			o.comment("/conductor " + kind)
		}
		if i%70 == 69 {
			o.Advance(10 * time.Second)
		}
	}
	missed := o.settled()
	handledKinds := 0
	for _, d := range missed {
		if action, ok := handled[d.Event]; ok && action == d.Action {
			handledKinds++
		}
		if d.Event == "issue_comment" && d.Action == "created" && strings.Contains(string(d.Payload), `"body":"/conductor`) {
			wanted[d.GUID] = true
		}
	}
	o.ResetRequests()
	r := o.replica(o.kube)
	o.must(r.Pass(t.Context()))
	calls, budget := o.operations(opList, opPayload), (len(missed)+99)/100+handledKinds+5
	t.Logf("%d missed deliveries, %d of a handled kind, %d commands: %d calls, of %d allowed", len(missed), handledKinds, len(wanted), calls, budget)
	if calls > budget || len(wanted) != tests+helps {
		t.Errorf("%d calls for %d missed deliveries, %d of a handled kind, %d commands; allowed are %d", calls, len(missed), handledKinds, len(wanted), budget)
	}
	o.wantExactly(wanted)
	o.act(r)
	if n := o.runs(); n != tests {
		t.Errorf("%d runs, want %d", n, tests)
	}
	if n := o.operations(opComment); n != helps {
		t.Errorf("%d answers, want %d", n, helps)
	}
	// Conductor's own answers are in the log, too. After them, neither the next pass nor the next leader repeats anything. A leader that has
	// just started reads the last minute again.
	o.settled()
	o.must(r.Pass(t.Context()))
	point := o.point()
	for _, again := range []struct {
		*replica
		calls int
	}{{r, 10}, {o.replica(o.kube), helps + 30}} {
		before := o.operations(opList, opPayload)
		o.must(again.Pass(t.Context()))
		o.act(again.replica)
		if n := o.operations(opList, opPayload) - before; n > again.calls {
			t.Errorf("%d calls of the next pass, want at most %d", n, again.calls)
		}
	}
	if o.runs() != tests || o.operations(opComment) != helps || o.point() != point {
		t.Errorf("%d runs, %d answers, point %s after %s", o.runs(), o.operations(opComment), o.point(), point)
	}
	o.wantExactly(wanted)
}

// wantExactly compares the Deliveries with the GUIDs of the commands.
func (o *outage) wantExactly(guids map[string]bool) {
	o.t.Helper()
	have := o.deliveries()
	for guid := range guids {
		if _, ok := have[guid]; !ok {
			o.t.Errorf("the delivery %s is lost", guid)
		}
	}
	if len(have) != len(guids) {
		o.t.Errorf("%d deliveries are kept, want %d", len(have), len(guids))
	}
}

// The process dies after each of its calls to the API server in turn, of taking the deliveries and of acting on them; the next one
// completes the work and repeats nothing.
func TestAProcessMayDieAtAnyPoint(t *testing.T) {
	const most = 150
	for n := 1; ; n++ {
		if n > most {
			t.Fatalf("a pass needs more than %d calls", most)
		}
		o := newOutage(t)
		wanted := map[string]bool{}
		o.comment("/conductor help")
		o.comment("nice")
		o.Advance(2 * overlap)
		o.must(o.PushTag("acme/shop", "ada", "qa/1", "main", ""))
		for _, d := range o.settled() {
			if d.Event == "push" || strings.Contains(string(d.Payload), `"body":"/conductor`) {
				wanted[d.GUID] = true
			}
		}
		dying := o.replica(dies(o.kube, n))
		err := dying.Pass(t.Context())
		for name := range o.deliveries() {
			_, failed := dying.acts.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "conductor", Name: name}})
			err = errors.Join(err, failed)
		}
		next := o.replica(o.kube)
		o.must(next.Pass(t.Context()))
		o.act(next)
		o.wantExactly(wanted)
		if o.runs() != 1 || o.operations(opComment) != 1 {
			t.Errorf("after call %d: %d runs, %d answers", n, o.runs(), o.operations(opComment))
		}
		if err == nil {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

// dies returns a client whose calls take effect up to the nth, whose answer is lost; all calls after it fail.
func dies(kube client.WithWatch, n int) client.WithWatch {
	var mu sync.Mutex
	calls := 0
	call := func(do func() error) error {
		mu.Lock()
		calls++
		now := calls
		mu.Unlock()
		if now > n {
			return errDown
		}
		if err := do(); err != nil || now < n {
			return err
		}
		return errDown
	}
	return interceptor.NewClient(kube, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return call(func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return call(func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return call(func() error { return c.Create(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return call(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return call(func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

// Each delivery arrives three times under its GUID and once under another, shuffled, at two replicas at once, and is in the log, too.
func TestTriplicatesAtTwoReplicasHaveOneEffect(t *testing.T) {
	o := newOutage(t)
	const tests, helps = 10, 10
	for range tests {
		o.comment("/conductor test")
		o.comment("/conductor help")
	}
	replicas := []*replica{o.replica(o.kube), o.replica(o.kube)}
	type sending struct {
		guid string
		body json.RawMessage
	}
	var all []sending
	for i, d := range o.settled() {
		if d.Event == "issue_comment" {
			all = append(all, sending{d.GUID, d.Payload}, sending{d.GUID, d.Payload}, sending{d.GUID, d.Payload},
				sending{fmt.Sprintf("00000000-0000-4000-8000-%012d", i), d.Payload})
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var sent sync.WaitGroup
	for i, s := range all {
		sent.Go(func() {
			if word, err := replicas[i%2].hook.Take(t.Context(), s.guid, "issue_comment", o.Now(), s.body); err != nil || word != "accepted" {
				t.Errorf("%s, %v", word, err)
			}
		})
	}
	sent.Go(func() {
		if err := replicas[0].Pass(t.Context()); err != nil {
			t.Error(err)
		}
	})
	sent.Wait()
	o.act(replicas[1])
	if o.runs() != tests || o.operations(opComment) != helps || len(o.deliveries()) != 2*(tests+helps) {
		t.Errorf("%d runs, %d answers, %d deliveries", o.runs(), o.operations(opComment), len(o.deliveries()))
	}
}

// What the webhook answered with 202 is not read again. A proxy that answers in its place does not have the last word.
func TestOnlyWhatConductorDidNotReceiveIsTaken(t *testing.T) {
	o := newOutage(t)
	r := o.replica(o.kube)
	var broken http.Handler
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		h := broken
		mu.Unlock()
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	serve := func(h http.Handler) {
		mu.Lock()
		defer mu.Unlock()
		broken = h
	}
	serve(r.hook)
	o.must(o.SetWebhook(o.app.ID, server.URL, "secret"))
	o.comment("/conductor help")
	o.comment("nice")
	o.settled()
	for _, code := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		o.comment("/conductor help")
		o.settled()
	}
	// The secret was changed at GitHub only.
	serve(r.hook)
	o.must(o.SetWebhook(o.app.ID, server.URL, "another secret"))
	o.comment("/conductor help")
	o.settled()
	if n := len(o.deliveries()); n != 1 {
		t.Fatalf("%d deliveries before", n)
	}
	o.must(r.Pass(t.Context()))
	if n := len(o.deliveries()); n != 4 || o.operations(opPayload) != 3 {
		t.Errorf("%d deliveries after reading %d payloads", n, o.operations(opPayload))
	}
}

// Without a webhook every delivery is taken from the log, whatever answers at its address.
func TestPullNeedsNoWebhook(t *testing.T) {
	o := newOutage(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(server.Close)
	o.must(o.SetWebhook(o.app.ID, server.URL, "secret"))
	r := o.replica(o.kube)
	r.Pull = true
	o.must(r.Pass(t.Context()))
	for i := range 3 {
		o.comment("/conductor help")
		o.comment("nice")
		o.settled()
		o.Advance(5 * time.Second)
		before := o.operations(opList, opPayload)
		o.must(r.Pass(t.Context()))
		o.act(r)
		// After the first pass, Conductor's own answer is in the log, too.
		if n := o.operations(opList, opPayload) - before; n != 3+min(i, 1) {
			t.Errorf("%d calls for two deliveries", n)
		}
	}
	if len(o.deliveries()) != 3 || o.operations(opComment) != 3 || r.usage.count != 8 || r.usage.most < 5*time.Second || r.usage.most > 10*time.Second {
		t.Errorf("%d deliveries, %d answers, %+v", len(o.deliveries()), o.operations(opComment), r.usage)
	}
}

// An operator names a delivery by its GUID or id, however old it is.
func TestReplayTakesADeliveryFromTheLog(t *testing.T) {
	o := newOutage(t)
	o.comment("/conductor help")
	o.comment("/conductor help")
	all := o.settled()
	o.Advance(2 * time.Hour) // Before the first window.
	r := o.replica(o.kube)
	o.must(r.Pass(t.Context()))
	if n := len(o.deliveries()); n != 0 {
		t.Fatalf("%d deliveries of two hours ago", n)
	}
	byGUID, byID := all[len(all)-2].GUID, all[len(all)-1]
	o.must(RequestReplay(t.Context(), o.kube, "conductor", byGUID))
	o.must(RequestReplay(t.Context(), o.kube, "conductor", fmt.Sprint(byID.ID)))
	o.must(RequestReplay(t.Context(), o.kube, "conductor", "0"))
	o.must(r.Pass(t.Context()))
	o.wantExactly(map[string]bool{byGUID: true, byID.GUID: true})
	before := o.operations(opList, opPayload)
	o.must(r.Pass(t.Context()))
	if n := o.operations(opList, opPayload) - before; n != 1 {
		t.Errorf("%d calls: the requests are still there", n)
	}
	if o.point() == "" {
		t.Error("the point is gone")
	}
}
