//go:build apiserver

package apiserver

import (
	"maps"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// An API server without the Gateway API rejects the HTTPRoute that the operator requested. The tests run anyway.
func TestAnAddressThatCannotBeMadeIsReported(t *testing.T) {
	w := newWorld(t)
	w.set.Stacks.Host, w.set.Stacks.Gateway = "{service}-{run}.qa.example.com", "gateways/public"
	w.github.files = maps.Clone(shop)
	w.github.files[".conductor.yaml"] += "stack:\n  public:\n    - {service: frontend, port: 8080}\n"
	w.github.files["docker-compose.qa.yml"] += "    expose: [8080]\n" // The frontend is the last service in the file.
	w.process()
	run := w.until(w.start(), "the run passes and its stack is kept", kept)
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		t.Errorf("outcome %q: %s", run.Status.Outcome, run.Status.Message)
	}
	for _, s := range run.Status.Services {
		if (s.Name == "frontend") != (s.URL != "" && strings.Contains(s.URLProblem, "this cluster has no HTTPRoutes")) {
			t.Errorf("%s is reached at %q: %q", s.Name, s.URL, s.URLProblem)
		}
	}
	w.eventually("the issue says so", func() bool {
		return strings.Contains(strings.Join(w.github.commentsOn(issueNumber), "\n"), "⚠️ `frontend`: The address does not work: this cluster has no HTTPRoutes")
	})
}
