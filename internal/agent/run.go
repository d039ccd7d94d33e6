package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Config configures an agent. Only Secrets, Pod, Kube, Source and Log are optional.
type Config struct {
	// Dir is where the agent stores what it receives.
	Dir string
	// Listen accepts the agent's connections.
	Listen    net.Listener
	Namespace string
	// Tokens is the directory of the token files; Secrets are mounted below the directory of that name, for masking.
	Tokens, Secrets string
	// ArtifactsLimit is the size limit of an attempt's artifacts, LogLimit the amount that is kept of a container's log, in bytes.
	ArtifactsLimit, LogLimit int64
	// Pod is the name of the agent's own pod, which it does not follow.
	Pod string
	// Kube is the API server. Without it the agent follows no logs.
	Kube kubernetes.Interface
	// Parse reads a test report.
	Parse ParseReport
	// Source opens the Run's source artifact for init containers that request files. Without it the agent serves no files.
	Source OpenSource
	Log    *slog.Logger
}

// stopTime is how long requests may take to finish when the agent stops.
const stopTime = 5 * time.Second

// Run serves until the context ends.
func Run(ctx context.Context, c Config) error {
	if c.Parse == nil || c.ArtifactsLimit <= 0 || c.LogLimit <= 0 {
		return errors.New("an agent needs size limits and a JUnit parser")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := newServer(c)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		stop()
		background.Wait()
		s.follower.close()
	}()
	background.Go(func() { s.refreshMasks(ctx) })
	if c.Kube != nil {
		background.Go(func() { watchPods(ctx, c.Kube, c.Namespace, c.Pod, s.follower) })
		background.Go(func() { s.usage.watch(ctx, fetchMetrics(c.Kube, c.Namespace)) })
	}
	h := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(c.Listen) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if h.Shutdown(last) != nil {
		h.Close()
	}
	return nil
}

// newServer opens the data on disk.
func newServer(c Config) (*server, error) {
	t, err := readTokens(c.Tokens, c.Source != nil)
	if err != nil {
		return nil, err
	}
	m, err := newMasks(c.Secrets)
	if err != nil {
		return nil, err
	}
	changed := newChanges()
	st, err := openStore(c.Dir, changed, c.Log)
	if err != nil {
		return nil, err
	}
	f := &follower{
		dir: st.path("logs"), limit: c.LogLimit, source: kubeLogs{c.Kube, c.Namespace}, masks: m, changes: changed, log: c.Log, logs: map[logKey]*container{},
	}
	if err := f.load(); err != nil {
		return nil, err
	}
	return &server{
		store: st, follower: f, masks: m, usage: &usage{}, changes: changed, log: c.Log, parse: c.Parse, tokens: t, artifacts: c.ArtifactsLimit,
		room: make(chan struct{}, uploads), source: c.Source, sources: make(chan struct{}, sends),
	}, nil
}

// refreshMasks loads secrets that are mounted or changed later. The kubelet updates them within a minute or two.
func (s *server) refreshMasks(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.masks.reload(); err != nil {
				s.log.Warn("could not read the secrets to mask", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
