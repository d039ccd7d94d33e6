//go:build apiserver

package apiserver

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/controller/delivery"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
)

// process is one life of Conductor: the controllers as cmd/conductor wires them, the adapters replaced.
type process struct {
	power   *power
	runner  *run.Reconciler
	acts    *delivery.Reconciler
	poller  *delivery.Poller
	pruner  *delivery.Pruner
	cancel  context.CancelFunc
	ended   chan error
	stopped bool
}

var processes atomic.Int64

// effects gives a process power for n effects.
func effects(n int) func(*power) { return func(p *power) { p.left = n } }

// process starts Conductor, with unlimited power unless a supply limits it.
func (w *world) process(supplies ...func(*power)) *process {
	w.t.Helper()
	p := &process{power: &power{left: -1}, ended: make(chan error, 1)}
	for _, supply := range supplies {
		supply(p.power)
	}
	mgr := w.manager(p)
	w.wire(mgr, p)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.ended <- mgr.Start(ctx) }()
	w.t.Cleanup(func() { p.kill(w.t) })
	return p
}

// kill ends a process at once: none of its pending effects happens.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.power.cut()
	p.stop(t)
}

// stop shuts a process down gracefully.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	p.cancel()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Error("a process did not end")
	}
}

// manager has the same cache as in cmd/conductor: only what Conductor is allowed to read.
func (w *world) manager(p *process) manager.Manager {
	w.t.Helper()
	c := rest.CopyConfig(config)
	c.QPS = -1
	c.WarningHandler = rest.NoWarnings{}
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return wires{p.power, next} })
	own := map[string]cache.Config{w.set.Namespace: {}}
	managed := labels.SelectorFromSet(labels.Set{v1alpha1.LabelManaged: v1alpha1.ManagedValue})
	grace := 10 * time.Second
	mgr, err := ctrl.NewManager(c, ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Run{}:      {Namespaces: own},
			&v1alpha1.Delivery{}: {Namespaces: own},
			&corev1.Pod{}:        {Namespaces: map[string]cache.Config{w.set.Builds.Namespace: {LabelSelector: managed}}},
		}, DefaultTransform: cache.TransformStripManagedFields()},
		Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", GracefulShutdownTimeout: &grace,
		// Many of these run in one test process, and their controllers have the same names.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	w.must(err)
	return mgr
}

func (w *world) wire(mgr manager.Manager, p *process) {
	w.t.Helper()
	kube, err := kubernetes.NewForConfig(mgr.GetConfig())
	w.must(err)
	log := w.log.logger(processes.Add(1))
	gh := poweredGitHub{w.github, p.power}
	p.runner = &run.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Kube: kube, GitHub: gh, Registry: registry{w.github, w.shelf, p.power}, Settings: w.set,
		Agents: poweredAgents{w.agents, p.power}, Planner: planner{},
		Dir: w.t.TempDir(), Log: log, Now: w.clock.now,
	}
	reporter := &run.Reporter{Client: mgr.GetClient(), GitHub: gh, Log: log, Now: w.clock.now}
	w.must(run.Setup(mgr, p.runner, reporter))
	w.must(runs.Index(w.t.Context(), mgr.GetFieldIndexer()))
	p.acts = &delivery.Reconciler{
		Client: mgr.GetClient(), GitHub: gh, Runs: &runs.Service{Client: mgr.GetClient(), Indexed: true, Namespace: w.set.Namespace, GitHub: gh, Ceilings: w.set.Ceilings, Now: w.clock.now},
		Rules: trigger.Rules{Tags: w.set.Triggers.Tags}, Log: log, Now: w.clock.now,
	}
	p.poller = &delivery.Poller{
		Reconciler: p.acts, Live: mgr.GetAPIReader(), Namespace: w.set.Namespace, Every: time.Hour, Settle: time.Minute, Log: log,
	}
	p.pruner = &delivery.Pruner{Client: mgr.GetClient(), Namespace: w.set.Namespace, Log: log, Now: w.clock.now}
	w.must(delivery.Setup(mgr, p.acts, p.poller, p.pruner, nil))
}

// planner plans in this process; the end-to-end tests cover the child process.
type planner struct{}

// Plan implements run.Planner.
func (planner) Plan(_ context.Context, input []byte, out *os.File) error {
	var in plan.Input
	if err := json.Unmarshal(input, &in); err != nil {
		return err
	}
	return plan.Answered(plan.Make(in)).Write(out)
}
