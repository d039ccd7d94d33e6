//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// TestOperatorSettings runs with its own settings, and restores Conductor's afterwards.
func TestOperatorSettings(t *testing.T) {
	install(t, map[string]any{
		"stacks":   map[string]any{"host": "{service}-{run}.qa.example.com", "allow": []any{"capabilities"}},
		"keep":     map[string]any{"forever": false, "default": "30s", "max": "40s"},
		"triggers": map[string]any{"pollInterval": "2s"},
	})
	t.Run("side by side", func(t *testing.T) {
		t.Run("PublicAddress", publicAddress)
		t.Run("KeepCeiling", keepCeiling)
		t.Run("TagsWithoutEvent", tagsWithoutEvent)
		t.Run("Allowed", allowed)
	})
}

// install overrides the lab's values until the end of the test.
func install(t *testing.T, over map[string]any) {
	t.Helper()
	reinstall(t.Context(), t, over)
	t.Cleanup(func() { reinstall(context.Background(), t, values) })
}

// reinstall overrides the lab's values for good.
func reinstall(ctx context.Context, t *testing.T, over map[string]any) {
	t.Helper()
	if err := here.Reinstall(ctx, over); err != nil {
		t.Fatal(err)
	}
}

// publicAddress checks the Ingress of a public service, and the report.
func publicAddress(t *testing.T) {
	t.Parallel()
	r := small(t, public(t))
	run := r.test()
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Fatalf("outcome %s: %s", run.Status.Outcome, run.Status.Message)
	}
	list, err := here.Kube.NetworkingV1().Ingresses(run.Status.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rule := one(t, "rule", one(t, "ingress", list.Items).Spec.Rules)
	backend := rule.HTTP.Paths[0].Backend.Service
	if !strings.HasPrefix(rule.Host, "web-") || !strings.HasSuffix(rule.Host, ".qa.example.com") || backend.Name != "web" || backend.Port.Number != 18473 {
		t.Errorf("the ingress sends %s to %+v", rule.Host, backend)
	}
	url := one(t, "service", run.Status.Services).URL
	if url != "https://"+rule.Host {
		t.Errorf("the run says %q for the host %s", url, rule.Host)
	}
	contains(t, "comment", r.comment(run), url)
}

// keepCeiling requests a stack forever, which the operator does not allow.
func keepCeiling(t *testing.T) {
	t.Parallel()
	r := small(t, keeping("forever"))
	run := r.test()
	if run.Status.ExpiresAt == nil {
		t.Fatalf("the stack is kept for %q without end", run.Status.Keep)
	}
	if d := run.Status.ExpiresAt.Sub(run.Status.FinishedAt.Time); d > 40*time.Second || d < 38*time.Second {
		t.Errorf("the stack is kept for %s, want the operator's 40 s", d)
	}
}

// tagsWithoutEvent pushes more tags at once than GitHub sends events for.
func tagsWithoutEvent(t *testing.T) {
	t.Parallel()
	r := idle(t)
	memory := client.ObjectKey{Namespace: lab.Namespace, Name: fmt.Sprintf("conductor-tags-%d", r.ID)}
	eventually(t, patience, func() error {
		var cm corev1.ConfigMap
		if err := here.Client.Get(t.Context(), memory, &cm); err != nil {
			return fmt.Errorf("the tags were not looked at yet: %w", err)
		}
		if cm.Data["repository"] != r.Name {
			return fmt.Errorf("what is remembered is of %s", cm.Data["repository"])
		}
		return nil
	})
	refs := []string{"push", "-q", "origin"}
	for i := range 5 {
		name := fmt.Sprintf("%s/%d", tag, i+1)
		r.git("tag", name)
		refs = append(refs, "refs/tags/"+name)
	}
	r.git(refs...)
	r.await(5, "started", started)
	seen := map[string]bool{}
	for _, run := range r.runs() {
		seen[run.Spec.Ref] = true
		if run.Spec.Trigger.Kind != v1alpha1.TriggerPoll || run.Spec.SHA != r.git("rev-parse", "HEAD") {
			t.Errorf("run %s of %s was started by %s", run.Name, run.Spec.SHA, run.Spec.Trigger.Kind)
		}
	}
	if len(seen) != 5 || len(r.deliveries()) != 0 {
		t.Errorf("runs of %v and %d deliveries, want five tags and none", seen, len(r.deliveries()))
	}
	// The next poll sees the same tags again.
	r.finished(5)
}
