package delivery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// closes is a Delivery of the end of the issue.
func closes(id int64, login string, merged bool) *v1alpha1.Delivery {
	d := comments(id, login)
	d.Spec.Event.Name, d.Spec.Event.Action, d.Spec.Event.Comment = "pull_request", "closed", nil
	d.Spec.Event.Closed = &v1alpha1.ClosedEvent{Issue: issue, Merged: merged}
	return d
}

// kept gives a Run a stack that is kept.
func kept(r *v1alpha1.Run) {
	r.Status = v1alpha1.RunStatus{Outcome: v1alpha1.OutcomePassed, Namespace: "stack", Keep: "24h0m0s", FinishedAt: &metav1.MicroTime{Time: start.Add(-time.Minute)}}
}

func found(number int, branch string) func(*v1alpha1.Run) {
	return func(r *v1alpha1.Run) {
		r.Spec.Issue, r.Status.Issue, r.Status.Branch = 0, number, branch
		r.Spec.Repository.DefaultBranch = "main"
	}
}

func TestWhatEndsWithAnIssue(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []func(*v1alpha1.Run)
		ends   bool
	}{
		{"a run in progress", nil, true},
		{"a kept stack", []func(*v1alpha1.Run){kept}, true},
		{"a stack that the repository keeps", []func(*v1alpha1.Run){kept, func(r *v1alpha1.Run) { r.Status.KeptAfterClose = true }}, false},
		{"a stack that has expired", []func(*v1alpha1.Run){kept, func(r *v1alpha1.Run) { r.Status.Keep = "1s" }}, false},
		{"of another issue", []func(*v1alpha1.Run){func(r *v1alpha1.Run) { r.Spec.Issue = 13 }}, false},
		{"of another repository", []func(*v1alpha1.Run){func(r *v1alpha1.Run) { r.Spec.Repository.ID++ }}, false},
		{"whose commit led to the issue", []func(*v1alpha1.Run){found(issue, "12-login")}, true},
		{"whose commit closed the issue", []func(*v1alpha1.Run){found(issue, "main")}, false},
		{"that was asked for later", []func(*v1alpha1.Run){func(r *v1alpha1.Run) { r.Spec.Trigger.ReceivedAt = new(metav1.NewMicroTime(start.Add(time.Second))) }}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.run("mine", tc.change...)
			d := w.process(w.deliver(closes(5, "rob", true)))
			cancel := w.get("mine").Spec.Cancel
			if (cancel != nil) != tc.ends || (d.Status.Outcome == v1alpha1.DeliveryCanceled) != tc.ends || (d.Status.Run == "mine") != tc.ends {
				t.Errorf("cancel %+v, status %+v", cancel, d.Status)
			}
			if tc.ends && (cancel.By != "rob" || cancel.Reason != "#12 was merged") || !strings.HasPrefix(d.Status.Reason, "#12 was merged") {
				t.Errorf("cancel %+v, reason %q", cancel, d.Status.Reason)
			}
			if len(w.hub.comments)+len(w.hub.reactions) > 0 || len(w.decisions) != 1 || !strings.Contains(w.decisions[0], `rob in acme/shop may close of "": true: #12 was merged`) {
				t.Errorf("comments %v, reactions %v, decisions %q", w.hub.comments, w.hub.reactions, w.decisions)
			}
		})
	}
}

// The end of an issue keeps its place among the issue's comments, and repeating it ends nothing else.
func TestAnIssueEndsInOrder(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	test := w.deliver(comments(5, "ada", "/conductor test"))
	w.clock = w.clock.Add(time.Second)
	end := w.deliver(closes(6, "ada", false))
	w.clock = w.clock.Add(time.Second)
	again := w.deliver(comments(7, "ada", "/conductor test"))
	for _, d := range []*v1alpha1.Delivery{end, again} {
		if got, res, err := w.reconcile(d); err != nil || got.Status.ProcessedAt != nil || res.RequeueAfter != orderPause {
			t.Errorf("%s did not wait: %+v, %v", d.Name, got.Status, err)
		}
	}
	first := w.process(test).Status.Run
	w.hub.fails["UpsertComment"] = errors.New("not needed")
	if d := w.process(end); d.Status.Run != first {
		t.Errorf("%+v", d.Status)
	}
	second := w.process(again).Status.Run
	redelivered := closes(6, "ada", false)
	redelivered.Name = "guid-8"
	redelivered.Namespace = "conductor"
	redelivered.Annotations = end.Annotations
	if err := w.Client.Create(t.Context(), redelivered); err != nil {
		t.Fatal(err)
	}
	w.process(redelivered)
	if w.get(first).Spec.Cancel == nil || w.get(second).Spec.Cancel != nil {
		t.Errorf("the first run %+v, the second %+v", w.get(first).Spec.Cancel, w.get(second).Spec.Cancel)
	}
}

// The cache of Runs may be behind that of Deliveries.
func TestTheEndOfAnIssueWaitsForRunsThatHaveJustStarted(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	test := w.process(w.deliver(comments(5, "ada", "/conductor test")))
	run := w.get(test.Status.Run)
	if err := w.Client.Delete(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	w.clock = w.clock.Add(time.Second)
	end := w.deliver(closes(6, "ada", false))
	if got, res, err := w.reconcile(end); err != nil || got.Status.ProcessedAt != nil || res.RequeueAfter != time.Second {
		t.Errorf("it did not wait: %+v, %v", got.Status, err)
	}
	run.ResourceVersion = ""
	if err := w.Client.Create(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if d := w.process(end); d.Status.Run != run.Name || w.get(run.Name).Spec.Cancel == nil {
		t.Errorf("%+v", d.Status)
	}
	if err := w.Client.Delete(t.Context(), w.get(run.Name)); err != nil { // A Run that is gone is not awaited.
		t.Fatal(err)
	}
	w.clock = w.clock.Add(startedLately)
	if d := w.process(w.deliver(closes(7, "ada", false))); d.Status.Outcome != v1alpha1.DeliveryIgnored {
		t.Errorf("%+v", d.Status)
	}
}

// A closed issue whose delivery failed is found in GitHub's log; what else happens to issues is not read.
func TestAClosedIssueIsFoundInGitHubsLog(t *testing.T) {
	o := newOutage(t)
	o.must(o.CloseIssue("acme/shop", "ada", o.issue))
	missed := o.settled()
	o.ResetRequests()
	r := o.replica(o.kube)
	o.must(r.Pass(t.Context()))
	for _, d := range missed {
		if d.Event == "issues" && d.Action == "closed" {
			o.wantExactly(map[string]bool{d.GUID: true})
		}
	}
	if n := o.operations(opPayload); n != 1 {
		t.Errorf("%s were read of %d deliveries", fmt.Sprint(n, " payloads"), len(missed))
	}
}
