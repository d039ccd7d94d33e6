package githubapp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	fake "github.com/w3evolutionsllc/conductor/test/github"
)

const (
	opListDeliveries = "GET /app/hook/deliveries"
	opGetDelivery    = "GET /app/hook/deliveries/{delivery_id}"
	opRedeliver      = "POST /app/hook/deliveries/{delivery_id}/attempts"
)

// deadHook points the App's webhook to a port where nothing listens any more, and returns after n comments failed to be delivered.
func (w *world) deadHook(n int) (issue int) {
	w.t.Helper()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	must(w.t, w.SetWebhook(w.app.ID, gone.URL, "secret"))
	issue = get(w.CreateIssue("acme/shop", "ada", "It breaks", ""))(w.t)
	for range n {
		get(w.Comment("acme/shop", "ada", issue, "/conductor test"))(w.t)
	}
	w.settled(n)
	return issue
}

// settled waits until n deliveries were attempted.
func (w *world) settled(n int) {
	w.t.Helper()
	done := 0
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		done = 0
		for _, d := range w.Deliveries(w.app.ID) {
			if d.Done {
				done++
			}
		}
		if done >= n {
			return
		}
	}
	w.t.Fatalf("%d of %d deliveries were attempted", done, n)
}

func TestHookDeliveriesAreReadNewestFirstInPages(t *testing.T) {
	w := newWorld(t)
	const sent = 250
	w.deadHook(sent)
	all := w.Deliveries(w.app.ID)
	var got []v1alpha1.HookDelivery
	pages := get(w.client.HookDeliveries(t.Context(), func(d v1alpha1.HookDelivery) bool {
		got = append(got, d)
		return true
	}))(t)
	if pages != 3 || len(got) != len(all) || w.operations(opListDeliveries) != 3 {
		t.Fatalf("%d of %d deliveries in %d requests", len(got), len(all), w.operations(opListDeliveries))
	}
	for i, d := range got {
		sent := all[len(all)-1-i]
		if d.ID != sent.ID || d.GUID != sent.GUID || d.Event != sent.Event || d.Action != sent.Action || !d.DeliveredAt.Equal(sent.At) || d.StatusCode != 0 ||
			d.InstallationID != w.installation || d.RepositoryID != w.repo.ID || d.Redelivery {
			t.Fatalf("%+v, want %+v", d, sent)
		}
	}
	n := 0
	pages = get(w.client.HookDeliveries(t.Context(), func(v1alpha1.HookDelivery) bool { n++; return n < 50 }))(t)
	if pages != 1 || n != 50 || w.operations(opListDeliveries) != 4 {
		t.Errorf("read %d deliveries in %d requests after it was enough", n, w.operations(opListDeliveries)-3)
	}
}

func TestHookPayloadAndRedelivery(t *testing.T) {
	w := newWorld(t)
	w.deadHook(1)
	all := w.Deliveries(w.app.ID)
	lost := all[len(all)-1]
	payload := get(w.client.HookPayload(t.Context(), lost.ID))(t)
	var got struct{ Comment struct{ Body string } }
	must(t, json.Unmarshal(payload, &got))
	if got.Comment.Body != "/conductor test" {
		t.Errorf("payload %s", payload)
	}
	must(t, w.client.Redeliver(t.Context(), lost.ID))
	w.settled(len(all) + 1)
	if again := w.Deliveries(w.app.ID)[len(all)]; again.GUID != lost.GUID || !again.Redelivery || again.ID == lost.ID {
		t.Errorf("redelivery %+v of %+v", again, lost)
	}
	_, err := w.client.HookPayload(t.Context(), 1)
	wantFailure(t, err, failure.Terminal, v1alpha1.ReasonNotFound)
	wantFailure(t, w.client.Redeliver(t.Context(), 1), failure.Terminal, v1alpha1.ReasonNotFound)
}

// The log is read as the App: no installation token is needed, and none is made.
func TestErrorsOfTheDeliveryLog(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault fake.Fault
		kind  failure.Kind
	}{
		{"down", fake.Fault{Status: 502}, failure.Transient},
		{"limited", fake.Fault{Status: 403, Secondary: true, RetryAfter: 30 * time.Second}, failure.Waiting},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.deadHook(1)
			tc.fault.Path = "/app/hook/deliveries*"
			w.Inject(tc.fault)
			_, err := w.client.HookDeliveries(t.Context(), func(v1alpha1.HookDelivery) bool { t.Error("a delivery without a response"); return true })
			wantFailure(t, err, tc.kind, v1alpha1.ReasonUnavailable)
			w.Heal()
			if w.operations(opMint) != 0 || strings.Contains(w.log.String(), "BEGIN") {
				t.Errorf("%d tokens were made", w.operations(opMint))
			}
		})
	}
}

// A redelivery must not be requested twice, so only a failure to connect is retried.
func TestARedeliveryIsRequestedOnce(t *testing.T) {
	w := newWorld(t)
	w.deadHook(1)
	all := w.Deliveries(w.app.ID)
	w.Inject(fake.Fault{Method: "POST", Path: "/app/hook/deliveries/*/attempts", Status: 502, After: true})
	wantFailure(t, w.client.Redeliver(t.Context(), all[len(all)-1].ID), failure.Transient, v1alpha1.ReasonUnavailable)
	if n := w.operations(opRedeliver); n != 1 {
		t.Errorf("%d requests", n)
	}
	if w.operations(opGetDelivery) != 0 {
		t.Error("the payload was read")
	}
}
