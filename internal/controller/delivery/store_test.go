package delivery

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

func TestDeliveriesAreListedAndShown(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.deliver(comes(w.clock))
	w.clock = w.clock.Add(time.Minute)
	w.process(w.deliver(comments(5, "rob", "/conductor cancel --reason 'wrong \x1b[31mbranch'", "/conductor tset", "/conductor test api",
		"/conductor help", "/conductor help", "/conductor help")))
	s := Store{Client: w.Client, Namespace: "conductor"}
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Table(&out, list, w.clock.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	want := `DELIVERY                              EVENT          REPOSITORY  ABOUT           SENDER  OUTCOME  RUN  AGE
guid-5                                issue_comment  acme/shop   #12             rob     Refused  -    60s
72d3162e-cc78-11e3-81ab-4c9367dc0958  push           acme/shop   refs/tags/qa/a  ada     Waiting  -    2m
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	d, err := s.Get(t.Context(), "GUID-5")
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := Describe(&out, d, w.clock.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	want = `Delivery:    guid-5
Event:       issue_comment created
Repository:  acme/shop
About:       #12
Sender:      rob
Received:    2026-03-04T12:01:00Z (60s ago)
Outcome:     Refused
Run:         -
Reason:      rob has read permission; commands need write
Command:     cancel --reason="wrong [31mbranch"
Command:     Unknown command ` + "`tset`. Did you mean `/conductor test`?" + `
Command:     test api
Command:     help
Command:     help
Skipped:     1 command
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	if _, err := s.Get(t.Context(), "guid-6"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	s := Store{Client: w.Client, Namespace: "conductor"}
	replay := func(name string, want Replayed) {
		t.Helper()
		if got, err := s.Replay(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	// What failed is done now.
	w.hub.fails["Permission"] = failure.Terminalf(v1alpha1.ReasonRefused, nil, "The GitHub App lacks a permission")
	d := w.deliver(comments(5, "ada", "/conductor test", "/conductor dance"))
	replay("guid-5", ReplayOpen)
	w.process(d)
	clear(w.hub.fails)
	replay("GUID-5", ReplayAgain)
	first := w.process(d)
	if first.Status.Outcome != v1alpha1.DeliveryStarted || w.count() != 1 {
		t.Fatalf("%+v, %d runs", first.Status, w.count())
	}
	// What was done is not done again: not even a cancellation, which leaves alone what was asked for after it.
	cancel := w.process(w.deliver(comments(6, "ada", "/conductor cancel")))
	w.end(first.Status.Run)
	w.clock = w.clock.Add(time.Hour)
	w.run("later", func(r *v1alpha1.Run) { r.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(w.clock)) })
	replay("guid-5", ReplayAgain)
	replay("guid-6", ReplayAgain)
	if again := w.process(d); again.Status.Run != first.Status.Run || w.count() != 2 || len(w.hub.comments) != 1 {
		t.Errorf("%+v, %d runs, answers %q", again.Status, w.count(), w.hub.comments)
	}
	if w.process(cancel); w.get("later").Spec.Cancel != nil {
		t.Error("a replayed cancellation ended a later run")
	}
	if _, err := s.Replay(t.Context(), "not-a-guid"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// A delivery that does not exist is requested from the leader, in the ConfigMap.
func TestReplayOfWhatIsOnlyInTheLog(t *testing.T) {
	kube := newKube(t)
	s := Store{Client: kube, Namespace: "conductor"}
	for _, name := range []string{guid, "12345678901", guid} {
		if got, err := s.Replay(t.Context(), name); err != nil || got != ReplayFromLog {
			t.Errorf("%q, %v", got, err)
		}
	}
	st, err := readState(t.Context(), kube, "conductor")
	if err != nil || strings.Join(st.replay, " ") != guid+" 12345678901" || !st.point.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
}
