//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/w3evolutionsllc/conductor/internal/agent"
	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/child"
	"github.com/w3evolutionsllc/conductor/internal/controller/delivery"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/githubapp"
	"github.com/w3evolutionsllc/conductor/internal/observe"
	"github.com/w3evolutionsllc/conductor/internal/redact"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/trigger"
	"github.com/w3evolutionsllc/conductor/internal/webhook"
)

// The adapters implement the interfaces of the controllers.
var (
	_ run.GitHub      = (*githubapp.Client)(nil)
	_ delivery.GitHub = (*githubapp.Client)(nil)
	_ run.Registry    = (*registry.Registry)(nil)
	_ delivery.Runs   = (*runs.Service)(nil)
	_ runs.GitHub     = (*githubapp.Client)(nil)

	_ delivery.DeliveryLog = (*githubapp.Client)(nil)
	_ delivery.Intake      = (*webhook.Handler)(nil)
)

// redactAttr masks tokens in every log line.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, redact.Token(v.String()))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return slog.String(a.Key, redact.Token(err.Error()))
		}
	}
	return a
}

// wire connects the adapters, the controllers and the HTTP server to a manager.
func wire(mgr manager.Manager, set settings.Settings, f serveFlags, lock *leaseLock, log *slog.Logger) error {
	gh, err := githubapp.New(githubapp.Options{
		BaseURL: set.GitHub.APIURL, AppID: set.GitHub.AppID, UserAgent: "conductor/" + version, Logger: log,
		PrivateKey: func() ([]byte, error) { return os.ReadFile(set.GitHub.PrivateKeyFile) }, Transport: lock.fence(githubapp.DefaultTransport()),
	})
	if err != nil {
		return fmt.Errorf("connect to GitHub: %w", err)
	}
	if err := metrics.Registry.Register(gh.Collector()); err != nil {
		return fmt.Errorf("register the metrics of GitHub's limits: %w", err)
	}
	images, err := registry.New(registryOptions(set))
	if err != nil {
		return fmt.Errorf("connect to the registry: %w", err)
	}
	kube, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if err := clearCheckouts(f.dir); err != nil {
		return err
	}
	observer := observe.All{observe.Log{Logger: log}, run.Events{Recorder: mgr.GetEventRecorder("conductor")}}
	runner := &run.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Kube: kube, GitHub: gh, Registry: images, Settings: set, Dir: f.dir, Log: log,
		Planner: planner{child.Runner{Limits: child.DefaultLimits}, log}, Unclean: lock.tookOver,
		Observer: observer,
		// The App's key is the only secret that every replica has and no stack. Tokens derived from it do not reveal it.
		Agents: agents{agent.New(agent.Options{Key: func() ([]byte, error) { return os.ReadFile(set.GitHub.PrivateKeyFile) }})},
	}
	reporter := &run.Reporter{Client: mgr.GetClient(), GitHub: gh, Log: log}
	if err := run.Setup(mgr, runner, reporter); err != nil {
		return err
	}
	rules := trigger.Rules{Tags: set.Triggers.Tags, Bots: set.Bots}
	hook, err := newWebhook(mgr, set, rules, log)
	if err != nil {
		return err
	}
	if err := wireDeliveries(mgr, set, gh, hook, rules, observer, log); err != nil {
		return err
	}
	return wireHTTP(mgr, set, f, hook)
}

// agents adapts the agents' client to the controllers' interface.
type agents struct{ *agent.Client }

// At returns the agent of a Run at the address of its pod.
func (a agents) At(r *v1alpha1.Run, address string) run.Agent { return a.Client.At(r, address) }

// wireDeliveries sets up the controllers that process deliveries, read GitHub's log for missed ones, poll for missed tags and prune old ones.
func wireDeliveries(
	mgr manager.Manager, set settings.Settings, gh *githubapp.Client, intake delivery.Intake, rules trigger.Rules, observer observe.Observer, log *slog.Logger,
) error {
	if err := runs.Index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	service := &runs.Service{Client: mgr.GetClient(), Indexed: true, Namespace: set.Namespace, GitHub: gh, Ceilings: set.Ceilings, Logger: log}
	acts := &delivery.Reconciler{
		Client: mgr.GetClient(), GitHub: gh, Runs: service, Rules: rules, Observer: observer, Log: log,
	}
	poll := &delivery.Poller{
		Reconciler: acts, Live: mgr.GetAPIReader(), Namespace: set.Namespace,
		Every: set.Triggers.PollInterval.Duration, Settle: set.Triggers.PollInterval.Duration / 2, Log: log,
	}
	prune := &delivery.Pruner{Client: mgr.GetClient(), Namespace: set.Namespace, Log: log, Now: time.Now}
	gauges, err := delivery.NewCatchUpMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	catchUp := &delivery.CatchUp{
		GitHub: gh, Intake: intake, Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Namespace: set.Namespace, Every: delivery.CatchUpEvery,
		Metrics: gauges, Log: log, Now: time.Now,
	}
	if set.Webhook == settings.WebhookPull {
		catchUp.Pull, catchUp.Every = true, set.Triggers.PullInterval.Duration
	}
	return delivery.Setup(mgr, acts, poll, prune, catchUp)
}

// newWebhook returns the handler that decodes and stores deliveries.
func newWebhook(mgr manager.Manager, set settings.Settings, rules trigger.Rules, log *slog.Logger) (*webhook.Handler, error) {
	inbox := delivery.Inbox{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Indexed: true, Namespace: set.Namespace, Log: log}
	hook, err := webhook.New(webhook.Options{
		Secrets: readSecrets(set.GitHub.WebhookSecretFiles), Inbox: inbox, IsWriter: inbox.IsWriter, Log: log, Metrics: metrics.Registry,
		Relevant: func(e v1alpha1.Event) (bool, string) { return delivery.Relevant(e, rules) },
	})
	if err != nil {
		return nil, fmt.Errorf("set up the webhook: %w", err)
	}
	return hook, nil
}

// wireHTTP sets up the HTTP server on every replica. Without a webhook, it serves only the probes.
func wireHTTP(mgr manager.Manager, set settings.Settings, f serveFlags, hook http.Handler) error {
	secrets := readSecrets(set.GitHub.WebhookSecretFiles)
	if set.Webhook == settings.WebhookPull {
		secrets = func() ([][]byte, error) { return nil, nil }
		hook = http.NotFoundHandler()
	}
	ready := func(r *http.Request) error {
		if _, err := secrets(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return fmt.Errorf("the cache is not synced yet")
		}
		return nil
	}
	return mgr.Add(&httpServer{listen: f.listen, handler: routes(hook, ready)})
}

// clearCheckouts removes checkouts that an earlier process left behind.
func clearCheckouts(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "checkout-*"))
	if err != nil {
		return fmt.Errorf("find old checkouts: %w", err)
	}
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("remove an old checkout: %w", err)
		}
	}
	return nil
}
