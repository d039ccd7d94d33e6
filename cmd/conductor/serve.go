//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// serveFlags are the flags of `conductor serve`; everything else is in the settings.
type serveFlags struct {
	config, listen, metrics, dir string
}

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Receive webhooks and run integration tests", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.config, "config", "/etc/conductor/config.yaml", "the file with the operator's settings")
	cmd.Flags().StringVar(&f.listen, "listen", ":8080", "address of /webhook, /healthz and /readyz")
	cmd.Flags().StringVar(&f.metrics, "metrics", ":9090", "address of /metrics; 0 disables it")
	cmd.Flags().StringVar(&f.dir, "dir", os.TempDir(), "the directory for the checkouts of active runs")
	return cmd
}

// serve runs Conductor until the context ends.
func serve(ctx context.Context, f serveFlags) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: redactAttr}))
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	set, err := settings.Read(f.config)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	lock, err := newLeaseLock(config, set.Namespace, "conductor", set.LeaderElection.LeaseDuration.Duration)
	if err != nil {
		return err
	}
	mgr, err := newManager(config, set, f, lock)
	if err != nil {
		return err
	}
	if err := wire(mgr, set, f, lock, log); err != nil {
		return err
	}
	log.Info("conductor is starting", "version", version, "listen", f.listen, "namespace", set.Namespace)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// newManager returns the manager. Its cache covers only what Conductor is allowed to read: its own namespace, the pods of builds, and the
// namespaces that it created.
func newManager(config *rest.Config, set settings.Settings, f serveFlags, lock *leaseLock) (manager.Manager, error) {
	s, err := scheme()
	if err != nil {
		return nil, fmt.Errorf("register the kinds: %w", err)
	}
	// Rely on the API server's priority and fairness: webhooks and controllers would share a client-side rate limit.
	config.QPS = -1
	// Drop warnings about Pod Security's restricted level: they are about the users' stacks and only fill this log.
	config.WarningHandler = rest.NoWarnings{}
	config.Wrap(lock.fence)
	lease, renew, retry, shutdown := set.LeaderElection.LeaseDuration.Duration, set.LeaderElection.RenewDeadline(), set.LeaderElection.RetryPeriod(), 30*time.Second
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                              s,
		Cache:                               cacheOptions(set),
		Metrics:                             server.Options{BindAddress: f.metrics},
		HealthProbeBindAddress:              "0",
		LeaderElection:                      true,
		LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel:       true,
		GracefulShutdownTimeout:             &shutdown,
		LeaseDuration:                       &lease,
		RenewDeadline:                       &renew,
		RetryPeriod:                         &retry,
	})
	if err != nil {
		return nil, fmt.Errorf("create the manager: %w", err)
	}
	return mgr, nil
}

// cacheOptions limit what the cache holds. Managed fields, a quarter of the size of a finished Run, are not needed.
func cacheOptions(set settings.Settings) cache.Options {
	own := map[string]cache.Config{set.Namespace: {}}
	managed := labels.SelectorFromSet(labels.Set{v1alpha1.LabelManaged: v1alpha1.ManagedValue})
	return cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.Run{}:      {Namespaces: own},
			&v1alpha1.Delivery{}: {Namespaces: own},
			&corev1.Pod{}:        {Namespaces: map[string]cache.Config{set.Builds.Namespace: {LabelSelector: managed}}},
		},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
}

// httpServer serves handlers on every replica, leader or not.
type httpServer struct {
	listen  string
	handler http.Handler
}

// NeedLeaderElection returns false: every replica receives webhooks.
func (*httpServer) NeedLeaderElection() bool { return false }

// Start serves until the context ends, then waits for active requests to finish.
func (h *httpServer) Start(ctx context.Context) error {
	srv := &http.Server{
		Handler: h.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 40 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	l, err := net.Listen("tcp", h.listen)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve webhooks: %w", err)
	case <-ctx.Done():
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return srv.Shutdown(ctx)
	}
}

// routes are the paths of the HTTP server.
func routes(webhook http.Handler, ready healthz.Checker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/webhook", webhook)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready(r); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// readSecrets returns a function that reads the webhook secrets at each call, so that a rotated secret takes effect at once. Missing
// files are skipped: the second one exists only during a rotation.
func readSecrets(files []string) func() ([][]byte, error) {
	return func() ([][]byte, error) {
		var secrets [][]byte
		for _, f := range files {
			b, err := os.ReadFile(f)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return nil, fmt.Errorf("read the webhook secret %s: %w", filepath.Base(f), err)
			}
			if s := strings.TrimSpace(string(b)); s != "" {
				secrets = append(secrets, []byte(s))
			}
		}
		if len(secrets) == 0 {
			return nil, errors.New("no webhook secret is configured")
		}
		return secrets, nil
	}
}
