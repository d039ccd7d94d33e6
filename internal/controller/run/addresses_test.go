package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// routes is an API server with one HTTPRoute, of the service web.
type routes struct {
	client.Reader
	conditions []any
	err        error
	asked      int
}

func (r *routes) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	r.asked++
	route := unstructured.Unstructured{Object: map[string]any{}}
	if r.conditions != nil {
		route.Object["status"] = map[string]any{"parents": []any{map[string]any{"conditions": r.conditions}}}
	}
	route.SetName("web")
	route.SetCreationTimestamp(metav1.NewTime(noon))
	route.SetLabels(map[string]string{v1alpha1.LabelService: "web"})
	list.(*unstructured.UnstructuredList).Items = []unstructured.Unstructured{route}
	return r.err
}

func accepted(status, reason string) []any {
	return []any{map[string]any{
		"type": "Accepted", "status": status, "reason": reason, "message": "the listener's words", "lastTransitionTime": "2026-11-21T12:00:00Z",
	}}
}

// An address that does not work is a problem of that service, and fails nothing; where the cluster cannot be asked, what is known stays.
func TestPublicAddressesAreChecked(t *testing.T) {
	const before = "a problem from before"
	for _, tc := range []struct {
		name     string
		gateway  string
		noURL    bool
		routes   routes
		after    time.Duration
		problem  string // "" for none
		requeue  time.Duration
		asked    int
		loggedAs string
	}{
		{name: "no gateway", problem: before},
		{name: "no address", gateway: "infra/gw", noURL: true, problem: before},
		{name: "served", gateway: "infra/gw", routes: routes{conditions: accepted("True", "Accepted")}, asked: 1},
		{name: "refused", gateway: "infra/gw", routes: routes{conditions: accepted("False", "NotAllowedByListeners")}, asked: 1,
			problem: "infra/gw rejected it (NotAllowedByListeners): the listener's words"},
		{name: "not served yet", gateway: "infra/gw", after: 29 * time.Second, asked: 1, requeue: addressPace},
		{name: "not served", gateway: "infra/gw", after: 30 * time.Second, asked: 1, problem: "the HTTPRoute web is not served"},
		{name: "no Gateway API", gateway: "infra/gw", routes: routes{err: &meta.NoKindMatchError{}}, asked: 1, problem: before},
		{name: "no answer", gateway: "infra/gw", routes: routes{err: errors.New("etcd is away")}, asked: 1, problem: before, loggedAs: "etcd is away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newRig(t, nil)
			w.Settings.Stacks.Gateway, w.Live = tc.gateway, &tc.routes
			w.setService("db", v1alpha1.ServiceReady, "")
			st := w.setService("web", v1alpha1.ServiceReady, "")
			if st.URLProblem = before; !tc.noURL {
				st.URL = "https://web.example"
			}
			w.now = noon.Add(tc.after)
			s := w.state()
			w.checkAddresses(t.Context(), s)
			if wantText(t, st.URLProblem, tc.problem); tc.problem == "" && st.URLProblem != "" || s.requeue != tc.requeue || tc.routes.asked != tc.asked {
				t.Errorf("%q, requeue after %s, asked %d times", st.URLProblem, s.requeue, tc.routes.asked)
			}
			if wantText(t, w.log.String(), tc.loggedAs); tc.loggedAs == "" && w.log.Len() > 0 {
				t.Errorf("log: %s", w.log)
			}
		})
	}
}

// A cluster with the Gateway API has an HTTPRoute made for each public service.
func TestAClusterWithTheGatewayAPIHasRoutes(t *testing.T) {
	w := newRig(t, map[string]string{
		".conductor.yaml":       "version: 1\nstack: {public: [{service: web, port: 80}]}\ntests: {e2e: {image: busybox, command: run}}\n",
		"docker-compose.qa.yml": "services: {web: {image: nginx, ports: ['80']}}\n",
	}, func(s *settings.Settings) { s.Stacks.Host, s.Stacks.Gateway = "{service}-{run}.example", "infra/gw" })
	mapper, ok := w.Client.RESTMapper().(interface {
		Add(schema.GroupVersionKind, meta.RESTScope)
	})
	if !ok {
		t.Fatalf("a %T takes no kinds", w.Client.RESTMapper())
	}
	mapper.Add(httpRoute, meta.RESTScopeNamespace)
	objects := w.noteAddresses(w.state())
	if st := serviceStatus(&w.run.Status, "web"); len(objects) != 1 || kindOf(objects[0]) != "HTTPRoute" || st.URLProblem != "" || st.URL == "" {
		t.Errorf("%d objects, %+v", len(objects), st)
	}
}
