package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/webhook"
)

// kept returns the Deliveries that exist.
func (w *world) kept() []v1alpha1.Delivery {
	w.t.Helper()
	var list v1alpha1.DeliveryList
	if err := w.Client.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

func (w *world) prune() {
	w.t.Helper()
	p := &Pruner{Client: w.Client, Namespace: "conductor", Now: func() time.Time { return w.clock }, Log: slog.New(slog.DiscardHandler)}
	if err := p.Prune(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestTheDeliveriesOfAnIssueKeepTheirOrder(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	first := w.deliver(comments(9, "ada", "/conductor test"))
	w.clock = w.clock.Add(time.Second)
	second := w.deliver(comments(5, "ada", "/conductor cancel"))
	elsewhere := comments(6, "ada", "/conductor test")
	elsewhere.Spec.Event.Comment.Issue++
	w.process(w.deliver(elsewhere))
	if d, res, err := w.reconcile(second); err != nil || res.RequeueAfter != orderPause || d.Status.ProcessedAt != nil || w.hub.reactions["5:rocket"] != 0 {
		t.Fatalf("%v, %v, %+v", res, err, d.Status)
	}
	run := w.process(first).Status.Run
	if d := w.process(second); d.Status.Outcome != v1alpha1.DeliveryCanceled || d.Status.Run != run {
		t.Errorf("%+v, want a cancellation of %s", d.Status, run)
	}
}

// Two hooks deliver one comment under different GUIDs. The cancellation must not end what was asked for after the first.
func TestACommentIsActedOnOnce(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.run("mine")
	first := w.process(w.deliver(comments(5, "ada", "/conductor cancel", "/conductor dance")))
	w.end("mine")
	w.clock = w.clock.Add(time.Minute)
	later := w.process(w.deliver(comments(6, "ada", "/conductor test")))
	w.clock = w.clock.Add(time.Minute)
	again := comments(5, "ada", "/conductor cancel", "/conductor dance")
	again.Name, again.Spec.GUID = "guid-other-hook", "guid-other-hook"
	calls := w.hub.calls["Permission"] + w.hub.calls["UpsertComment"] + w.hub.calls["React"]
	got := w.process(w.deliver(again))
	if got.Status.Outcome != first.Status.Outcome || got.Status.Run != "mine" || got.Status.Reason != "The same comment as delivery guid-5" {
		t.Errorf("%+v after %+v", got.Status, first.Status)
	}
	if w.get(later.Status.Run).Spec.Cancel != nil || w.hub.calls["Permission"]+w.hub.calls["UpsertComment"]+w.hub.calls["React"] != calls {
		t.Errorf("the comment was acted on again: calls %v", w.hub.calls)
	}
}

// A delivery that failed does not settle another one of the same comment.
func TestACommentWhoseDeliveryFailedIsActedOn(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.hub.fails["Permission"] = failure.Terminalf(v1alpha1.ReasonRefused, nil, "The GitHub App lacks a permission")
	w.process(w.deliver(comments(5, "ada", "/conductor test")))
	clear(w.hub.fails)
	again := comments(5, "ada", "/conductor test")
	again.Name = "guid-again"
	if d := w.process(w.deliver(again)); d.Status.Outcome != v1alpha1.DeliveryStarted {
		t.Errorf("%+v", d.Status)
	}
}

// A stranger comments all day long: one answer in words a day, a few reactions, and a bounded number of objects.
func TestStrangersAreAnsweredOnceADay(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	const comment = 100 // The first one's id.
	n, most := int64(comment), 0
	for range 30 { // Hours.
		for range 20 {
			w.process(w.deliver(comments(n, []string{"rob", "eve"}[n%2], "/conductor test")))
			n++
		}
		w.clock = w.clock.Add(time.Hour + time.Second)
		w.prune()
		most = max(most, len(w.kept()))
	}
	if len(w.hub.comments) != 2 || w.hub.reply(comment) == "" {
		t.Errorf("%d answers in 30 hours, want 2", len(w.hub.comments))
	}
	if most > 2 {
		t.Errorf("%d deliveries are kept after an hour", most)
	}
	if sum := w.hub.calls["React"]; sum == 0 || sum > 30*maxReactions {
		t.Errorf("%d reactions", sum)
	}
	// A maintainer who is refused for another reason gets that in words, once.
	w.hub.head.Fork = true
	for id := range int64(3) {
		w.process(w.deliver(comments(id+1, "ada", "/conductor test")))
	}
	if !strings.Contains(w.hub.reply(1), "fork") || len(w.hub.comments) != 3 {
		t.Errorf("answers %q", w.hub.comments)
	}
}

// An account comments as fast as GitHub lets it: 500 times an hour. Objects, their size and answers stay bounded. With 16 hours, which take
// minutes here, at most 261 objects of 776 bytes were kept.
func TestAFloodOfCommentsStaysFlat(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.hub.permissions["eve"] = "read"
	rules, log := w.Rules, slog.New(slog.DiscardHandler)
	inbox := Inbox{Client: w.Client, Live: w.Client, Indexed: true, Namespace: "conductor", Log: log}
	hook, err := webhook.New(webhook.Options{
		Secrets: func() ([][]byte, error) { return nil, nil }, Inbox: inbox, IsWriter: inbox.IsWriter, Log: log, Now: func() time.Time { return w.clock },
		Relevant: func(e v1alpha1.Event) (bool, string) { return Relevant(e, rules) },
	})
	if err != nil {
		t.Fatal(err)
	}
	text := "/conductor test" + strings.Repeat(" s", 20) + "\\n" + strings.Repeat("/conductor help x\\n", 3000)
	id, most, large, words := 0, 0, 0, map[string]int{}
	const hours = 2
	for range hours {
		for range 500 {
			id++
			body := fmt.Sprintf(`{"action":"created","issue":{"number":%d},"comment":{"id":%d,"body":"%s"},"repository":{"id":7,"name":"shop","owner":{"login":"acme"}},`+
				`"sender":{"login":"eve","id":666,"type":"User"},"installation":{"id":99}}`, issue, id, text)
			word, err := hook.Take(t.Context(), fmt.Sprintf("00000000-0000-4000-8000-%012d", id), "issue_comment", w.clock, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			words[word]++
			w.clock = w.clock.Add(time.Hour / 500)
		}
		for _, d := range w.kept() {
			if d.Status.ProcessedAt == nil {
				w.process(&d)
			}
		}
		for _, d := range w.kept() {
			data, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			large = max(large, len(data))
		}
		most = max(most, len(w.kept()))
		w.prune()
	}
	t.Logf("%v; at most %d objects of at most %d bytes, %d answers, calls %v", words, most, large, len(w.hub.comments), w.hub.calls)
	if words["accepted"]+words["limited"] != hours*500 || words["limited"] == 0 || most > 500 || large > 4<<10 || len(w.hub.comments) != 1 {
		t.Errorf("%v; at most %d objects of at most %d bytes, %d answers", words, most, large, len(w.hub.comments))
	}
}

// Many strangers, each within their own limit.
func TestRefusedDeliveriesOfARepositoryAreBounded(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	for id := range int64(maxRefused + 50) {
		d := comments(id+1, fmt.Sprintf("stranger-%d", id), "/conductor help")
		d.Spec.Event.Comment.Issue = int(id) // Each is answered in words.
		d.Status = v1alpha1.DeliveryStatus{ProcessedAt: new(metav1.NewTime(w.clock.Add(time.Duration(id) * time.Second))), Outcome: v1alpha1.DeliveryRefused}
		d.Namespace = "conductor"
		if err := w.Client.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	w.prune()
	for _, d := range w.kept() {
		if d.Spec.Event.Comment.ID <= 50 {
			t.Fatalf("%s is among the oldest", d.Name)
		}
	}
	if n := len(w.kept()); n != maxRefused {
		t.Errorf("%d are kept", n)
	}
}

func TestOpenDeliveriesOfARepositoryAreBounded(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	for id := range int64(maxOpen) {
		w.deliver(comments(id+1, "ada", "/conductor help"))
	}
	inbox := Inbox{Client: w.Client, Live: w.Client, Indexed: true, Namespace: "conductor", Log: slog.New(slog.DiscardHandler)}
	err := inbox.Put(t.Context(), comments(maxOpen+1, "ada", "/conductor help"))
	if f := failure.Of(err); f == nil || f.Kind != failure.Transient {
		t.Fatalf("one more than the limit: %v", err)
	}
	if err := inbox.Put(t.Context(), comments(1, "ada", "/conductor help")); err != nil {
		t.Errorf("a delivery that is kept already: %v", err)
	}
	other := comments(maxOpen+1, "ada", "/conductor help")
	other.Spec.Event.Repository.ID++
	if err := inbox.Put(t.Context(), other); err != nil {
		t.Errorf("of another repository: %v", err)
	}
	w.process(func() *v1alpha1.Delivery {
		d := &v1alpha1.Delivery{}
		if err := w.Client.Get(t.Context(), client.ObjectKey{Namespace: "conductor", Name: "guid-1"}, d); err != nil {
			t.Fatal(err)
		}
		return d
	}())
	if err := inbox.Put(t.Context(), comments(maxOpen+2, "ada", "/conductor help")); err != nil {
		t.Errorf("after one was processed: %v", err)
	}
}

func TestWritersAreKnownByWhatTheyDid(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	inbox := Inbox{Client: w.Client, Live: w.Client, Indexed: true, Namespace: "conductor", Log: slog.New(slog.DiscardHandler)}
	ada, rob := comments(5, "ada", "/conductor help"), comments(6, "rob", "/conductor help")
	w.deliver(ada)
	if inbox.IsWriter(t.Context(), ada.Spec.Event) {
		t.Error("before the comment was acted on")
	}
	w.process(ada)
	w.process(w.deliver(rob))
	elsewhere := ada.Spec.Event
	elsewhere.Repository.ID++
	for name, tc := range map[string]struct {
		event v1alpha1.Event
		want  bool
	}{"a writer": {ada.Spec.Event, true}, "a reader": {rob.Spec.Event, false}, "in another repository": {elsewhere, false}} {
		if got := inbox.IsWriter(t.Context(), tc.event); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// What waits for long in GitHub's log is tried as long as any other.
func TestTheDeadlineBeginsWhenADeliveryIsStored(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.hub.fails["Permission"] = errDown
	d := comments(5, "ada", "/conductor test")
	d.CreationTimestamp = metav1.NewTime(w.clock.Add(10 * time.Hour))
	d = w.deliver(d)
	w.clock = w.clock.Add(10*time.Hour + deadline)
	if got, _, err := w.reconcile(d); !errors.Is(err, errDown) || got.Status.ProcessedAt != nil {
		t.Errorf("%v, %+v", err, got.Status)
	}
}
