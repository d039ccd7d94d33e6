//go:build apiserver

package apiserver

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

func newRun(name string) *v1alpha1.Run {
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{ID: 1, Owner: "acme", Name: "shop", CloneURL: "http://git.example/acme/shop.git"},
			Ref:        "refs/tags/run-integration-tests", SHA: strings.Repeat("a", 40), Trust: v1alpha1.TrustUnprotected,
			Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerTag}, Actor: v1alpha1.Actor{Login: "ada"},
		},
	}
}

func TestTheAPIServerHoldsWhatARunMayBe(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		change     func(*v1alpha1.Run)
	}{
		{"a short sha", "spec.sha", func(r *v1alpha1.Run) { r.Spec.SHA = "abc" }},
		{"an unknown trust level", "spec.trust", func(r *v1alpha1.Run) { r.Spec.Trust = "full" }},
		{"an unknown trigger", "spec.trigger.kind", func(r *v1alpha1.Run) { r.Spec.Trigger.Kind = "moon" }},
		{"a time to keep that is no duration", "spec.keep", func(r *v1alpha1.Run) { r.Spec.Keep = "a while" }},
		{"no owner", "spec.repository.owner", func(r *v1alpha1.Run) { r.Spec.Repository.Owner = "" }},
	} {
		run := newRun("refused")
		tc.change(run)
		if err := admin.Create(t.Context(), run); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v does not name %s", tc.name, err, tc.want)
		}
	}
}

func TestWhatARunRunsCannotBeChangedAndACancelNotTakenBack(t *testing.T) {
	run := newRun("fixed")
	if err := admin.Create(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(t.Context(), run) })
	for what, change := range map[string]func(*v1alpha1.RunSpec){
		"another sha":    func(s *v1alpha1.RunSpec) { s.SHA = strings.Repeat("b", 40) },
		"longer to keep": func(s *v1alpha1.RunSpec) { s.Ceilings.Keep.Duration += time.Hour },
		"another app":    func(s *v1alpha1.RunSpec) { s.InstallationID++ },
		"a tag object":   func(s *v1alpha1.RunSpec) { s.Object = strings.Repeat("c", 40) },
		"another actor":  func(s *v1alpha1.RunSpec) { s.Actor.Login = "eve" },
		"another issue":  func(s *v1alpha1.RunSpec) { s.Issue = 7 },
		"a suite":        func(s *v1alpha1.RunSpec) { s.Suites = []string{"e2e"} },
		"more allowed":   func(s *v1alpha1.RunSpec) { s.Ceilings.Allow = append(s.Ceilings.Allow, "privileged") },
	} {
		changed := run.DeepCopy()
		change(&changed.Spec)
		if err := admin.Update(t.Context(), changed); err == nil || !strings.Contains(err.Error(), "start another run") {
			t.Errorf("%s: %v", what, err)
		}
	}
	run.Spec.Extension, run.Spec.ActiveAt = &v1alpha1.Extension{By: "ada"}, new(metav1.Now())
	if err := admin.Update(t.Context(), run); err != nil {
		t.Fatalf("extend: %v", err)
	}
	run.Spec.Cancel = &v1alpha1.Cancel{By: "ada", At: metav1.Now()}
	if err := admin.Update(t.Context(), run); err != nil {
		t.Fatalf("cancel: %v", err)
	}
	run.Spec.Cancel = nil
	if err := admin.Update(t.Context(), run); err == nil || !strings.Contains(err.Error(), "resumed") {
		t.Errorf("taking a cancel back: %v", err)
	}
}

func TestADeliveryNeverChanges(t *testing.T) {
	d := &v1alpha1.Delivery{
		ObjectMeta: metav1.ObjectMeta{Name: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Namespace: namespace},
		Spec: v1alpha1.DeliverySpec{GUID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Event: v1alpha1.Event{
			Name: "push", Repository: v1alpha1.Repository{ID: 1, Owner: "acme", Name: "shop"}, Sender: v1alpha1.Actor{Login: "ada"},
		}},
	}
	if err := admin.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	d.Spec.Event.Sender.Login = "eve"
	if err := admin.Update(t.Context(), d); err == nil || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("changing a delivery: %v", err)
	}
}
