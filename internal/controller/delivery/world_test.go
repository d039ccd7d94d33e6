package delivery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

const issue = 12

// hub is the GitHub of a world: what its calls return, which of them fail, and what they changed.
type hub struct {
	GitHub
	permissions map[string]v1alpha1.Permission
	head        v1alpha1.Head
	// fails are the errors of calls by name.
	fails map[string]error
	calls map[string]int
	// comments are by their marks, reactions by comment id and name, with how often each was written.
	comments  map[string]string
	reactions map[string]int
	// room is whether the limits leave room.
	room bool
}

func (h *hub) HasRoom(int64) bool { return h.room }

func (h *hub) call(name string) error {
	h.calls[name]++
	return h.fails[name]
}

func (h *hub) Permission(_ context.Context, _ int64, _ v1alpha1.Repository, login string) (v1alpha1.Permission, error) {
	return h.permissions[login], h.call("Permission")
}

func (h *hub) Head(context.Context, int64, v1alpha1.Repository, int) (v1alpha1.Head, error) {
	return h.head, h.call("Head")
}

func (h *hub) Commit(_ context.Context, _ int64, _ v1alpha1.Repository, object string) (string, error) {
	return object, h.call("Commit")
}

func (h *hub) PullCommits(context.Context, int64, v1alpha1.Repository, int) ([]string, error) {
	return []string{h.head.SHA}, h.call("PullCommits")
}

func (h *hub) Protected(context.Context, int64, v1alpha1.Repository, string) (bool, error) {
	return false, h.call("Protected")
}

func (h *hub) React(_ context.Context, _ int64, _ v1alpha1.Repository, comment int64, content string) error {
	if err := h.call("React"); err != nil {
		return err
	}
	h.reactions[fmt.Sprintf("%d:%s", comment, content)]++
	return nil
}

func (h *hub) UpsertComment(_ context.Context, _ int64, _ v1alpha1.Repository, _ int, _ int64, mark, body string) (int64, error) {
	if err := h.call("UpsertComment"); err != nil {
		return 0, err
	}
	h.comments[mark] = strings.TrimPrefix(body, mark+"\n")
	return 1, nil
}

// reply returns the one reply to a comment.
func (h *hub) reply(comment int64) string {
	return h.comments[fmt.Sprintf("<!-- conductor:answer=%d -->", comment)]
}

// world is a Reconciler with the real runs.Service, over a fake API server and a hub.
type world struct {
	*Reconciler
	t       *testing.T
	hub     *hub
	service *runs.Service
	log     *bytes.Buffer
	clock   time.Time
	// decisions are those observed, one line each.
	decisions []string
}

func (w *world) Decided(d observe.Decision) {
	w.decisions = append(w.decisions, fmt.Sprintf("%s: %s in %s may %s of %q: %t: %s", d.Trace, d.Actor.Login, d.Repository.FullName(), d.Action, d.Trust, d.Allowed, d.Reason))
}

func (w *world) Changed(string, *v1alpha1.Run, []observe.Transition) {}

func newWorld(t *testing.T, funcs interceptor.Funcs) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := withIndexes(fake.NewClientBuilder().WithScheme(scheme)).WithStatusSubresource(&v1alpha1.Delivery{}, &v1alpha1.Run{}).WithInterceptorFuncs(funcs).Build()
	w := &world{t: t, log: &bytes.Buffer{}, clock: start, hub: &hub{
		permissions: map[string]v1alpha1.Permission{"ada": "write", "rob": "read"},
		head:        v1alpha1.Head{Ref: "refs/heads/main", SHA: strings.Repeat("e", 40)},
		fails:       map[string]error{}, calls: map[string]int{}, comments: map[string]string{}, reactions: map[string]int{},
	}}
	log, now := slog.New(slog.NewTextHandler(w.log, nil)), func() time.Time { return w.clock }
	w.service = &runs.Service{
		Client: c, Namespace: "conductor", GitHub: w.hub, Ceilings: func() v1alpha1.Ceilings { return v1alpha1.Ceilings{} }, Logger: log, Now: now,
	}
	w.Reconciler = &Reconciler{
		Client: c, GitHub: w.hub, Runs: w.service, Rules: trigger.Rules{Tags: []string{"qa/*"}}, Observer: w, Log: log, Now: now,
	}
	return w
}

// withIndexes adds the indexes that Setup adds to a cache.
func withIndexes(b *fake.ClientBuilder) *fake.ClientBuilder {
	for field, keys := range indexes {
		b = b.WithIndex(&v1alpha1.Delivery{}, field, keys)
	}
	return b
}

// comments is a Delivery of a comment with these lines.
func comments(id int64, login string, lines ...string) *v1alpha1.Delivery {
	commands, more := trigger.Parse(strings.Join(lines, "\n"))
	return &v1alpha1.Delivery{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("guid-%d", id)},
		Spec: v1alpha1.DeliverySpec{GUID: fmt.Sprintf("guid-%d", id), Event: v1alpha1.Event{
			Name: "issue_comment", Action: "created", InstallationID: 1, Repository: shop, Sender: v1alpha1.Actor{Login: login, ID: int64(login[0]), Type: "User"},
			Comment: &v1alpha1.CommentEvent{ID: id, Issue: issue, Commands: commands, More: more},
		}},
	}
}

// deliver keeps a delivery that is received now.
func (w *world) deliver(d *v1alpha1.Delivery) *v1alpha1.Delivery {
	w.t.Helper()
	d.Namespace = "conductor"
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, v1alpha1.AnnotationReceivedAt, w.clock.Format(time.RFC3339Nano))
	if err := w.Client.Create(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// reconcile reconciles a delivery once and returns it as it is then.
func (w *world) reconcile(d *v1alpha1.Delivery) (*v1alpha1.Delivery, ctrl.Result, error) {
	w.t.Helper()
	res, err := w.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(d)})
	now := &v1alpha1.Delivery{}
	if err := w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(d), now); err != nil {
		w.t.Fatal(err)
	}
	return now, res, err
}

// process reconciles a delivery that has to succeed.
func (w *world) process(d *v1alpha1.Delivery) *v1alpha1.Delivery {
	w.t.Helper()
	got, _, err := w.reconcile(d)
	if err != nil || got.Status.ProcessedAt == nil {
		w.t.Fatalf("%s: %+v, %v", d.Name, got.Status, err)
	}
	return got
}

// run adds a Run of the issue that was asked for an hour ago.
func (w *world) run(name string, change ...func(*v1alpha1.Run)) {
	w.t.Helper()
	r := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "conductor"},
		Spec: v1alpha1.RunSpec{Repository: shop, Issue: issue, Trigger: v1alpha1.Trigger{
			Kind: v1alpha1.TriggerTag, ReceivedAt: new(metav1.NewMicroTime(w.clock.Add(-time.Hour))),
		}},
	}
	for _, c := range change {
		c(r)
	}
	if err := w.Client.Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

// end ends a Run.
func (w *world) end(name string) {
	w.t.Helper()
	r := w.get(name)
	r.Status.Outcome = v1alpha1.OutcomeCanceled
	if err := w.Client.Status().Update(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(name string) *v1alpha1.Run {
	w.t.Helper()
	r, err := w.service.Get(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// count returns how many Runs exist.
func (w *world) count() int {
	w.t.Helper()
	list, err := w.service.List(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list)
}
