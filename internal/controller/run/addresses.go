package run

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/diagnose"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/names"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// addressPace is the time between two checks of an address whose state is unknown, addressTime how long the addresses of a stack are
	// checked while its tests run. Those of a kept stack are checked with its health.
	addressPace = 2 * time.Second
	addressTime = time.Minute
	// noGatewayAPI is reported where stacks.gateway is set, but the cluster has no Gateway API.
	noGatewayAPI = "The address does not work: this cluster has no HTTPRoutes. The operator has to install the Gateway API, or to leave stacks.gateway empty."
)

var httpRoute = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute"}

// hasRoutes reports whether the cluster knows HTTPRoutes.
func (r *Reconciler) hasRoutes() bool {
	_, err := r.Client.RESTMapper().RESTMapping(httpRoute.GroupKind(), httpRoute.Version)
	return !meta.IsNoMatchError(err)
}

// checkAddresses notes which public addresses do not work, as far as the cluster reports it: the Gateway's controller sets conditions on an
// HTTPRoute; an Ingress has none. It never fails a Run.
func (r *Reconciler) checkAddresses(ctx context.Context, s *state) {
	gateway := r.Settings.Stacks.Gateway
	if gateway == "" || !slices.ContainsFunc(s.status().Services, hasAddress) {
		return
	}
	routes := &unstructured.UnstructuredList{}
	routes.SetGroupVersionKind(httpRoute)
	err := r.Live.List(ctx, routes, client.InNamespace(s.status().Namespace), client.MatchingLabels{v1alpha1.LabelStage: jobs.StageStack})
	if meta.IsNoMatchError(err) {
		return // It was reported when they could not be made.
	}
	if err != nil {
		r.Log.Warn("the routes of a stack cannot be read", "run", s.run.Name, "error", err)
		return
	}
	problems := map[string]string{}
	for i := range routes.Items {
		f := diagnose.Route(&routes.Items[i], gateway, s.now)
		switch {
		case f == nil:
		case f.After > 0:
			s.requeueAfter(addressPace)
		default:
			problems[routes.Items[i].GetLabels()[v1alpha1.LabelService]] = text.Truncate(f.About("The address does not work"), 2048)
		}
	}
	for i := range s.status().Services {
		if st := &s.status().Services[i]; hasAddress(*st) {
			st.URLProblem = problems[names.LabelValue(st.Name)]
		}
	}
}

func hasAddress(st v1alpha1.ServiceStatus) bool { return st.URL != "" }
