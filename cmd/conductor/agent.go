//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/w3evolutionsllc/conductor/internal/agent"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/source"
	"github.com/w3evolutionsllc/conductor/internal/testreport"
)

// agentFlags are the flags of `conductor agent`.
type agentFlags struct {
	dir, listen, namespace, tokens, secrets, pod string
	artifacts, logs                              string
	source, registryConfig                       string
	insecure                                     bool
}

// agentCommand runs in the agent's pod, one in each stack's namespace.
func agentCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use: "agent", Short: "Collect the logs, results and artifacts of one stack", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), f) },
	}
	host, _ := os.Hostname()
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "/data", "the directory for logs, JUnit files and artifacts")
	flags.StringVar(&f.listen, "listen", ":7070", "the address to listen on")
	flags.StringVar(&f.namespace, "namespace", "", "the stack's namespace")
	flags.StringVar(&f.tokens, "tokens", "/tokens", "the directory of the token files conductor, wrapper and source")
	flags.StringVar(&f.secrets, "secrets", "", "the directory where the secrets to mask are mounted")
	flags.StringVar(&f.pod, "pod", host, "the agent's own pod, whose log is not collected")
	flags.StringVar(&f.artifacts, "artifacts-limit", "512Mi", "the maximum size of the artifacts of one attempt")
	flags.StringVar(&f.logs, "log-limit", "256Mi", "how much of each container's log is kept: half from the beginning, half from the end")
	flags.StringVar(&f.source, "source", "", "the run's source artifact to serve to init containers, HOST/PATH@DIGEST")
	flags.StringVar(&f.registryConfig, "registry-config", "", "the Docker config.json with the credential for the source artifact")
	flags.BoolVar(&f.insecure, "insecure", false, "use plain HTTP for the registry of the source artifact")
	return cmd
}

// agentMemory is the soft memory limit of the garbage collector, in bytes. An agent needs less.
const agentMemory = 40 << 20

func runAgent(ctx context.Context, f agentFlags) error {
	debug.SetMemoryLimit(agentMemory)
	debug.SetGCPercent(50)
	artifacts, err := bytesOf(f.artifacts)
	if err != nil {
		return fmt.Errorf("--artifacts-limit: %w", err)
	}
	logs, err := bytesOf(f.logs)
	if err != nil {
		return fmt.Errorf("--log-limit: %w", err)
	}
	config, err := clusterConfig()
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(agentConfig(config))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	listen, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	files, err := openSource(f)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: redactAttr}))
	log.Info("the agent is listening", "version", version, "listen", listen.Addr().String(), "namespace", f.namespace)
	return agent.Run(ctx, agent.Config{
		Dir: f.dir, Listen: listen, Namespace: f.namespace, Tokens: f.tokens, Secrets: f.secrets, Pod: f.pod,
		ArtifactsLimit: artifacts, LogLimit: logs, Kube: kube, Parse: testreport.Parse, Source: files, Log: log,
	})
}

// openSource returns a function that opens the source artifact; nil if there is none to serve.
func openSource(f agentFlags) (agent.OpenSource, error) {
	if f.source == "" {
		return nil, nil
	}
	host, _, _ := strings.Cut(f.source, "/")
	r, err := registry.New(registry.Options{Host: host, Insecure: f.insecure, PullConfigFile: f.registryConfig})
	if err != nil {
		return nil, fmt.Errorf("--source: %w", err)
	}
	return func(ctx context.Context, keep func(source.File) bool) (*source.Artifact, error) {
		return r.OpenSource(ctx, f.source, keep)
	}, nil
}

// bytesOf parses a Kubernetes quantity, such as 512Mi, to bytes.
func bytesOf(text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, err
	}
	return q.Value(), nil
}

// agentConfig adapts the client for following many logs: without a client-side rate limit, and with HTTP/1.1, since HTTP/2 would
// buffer up to 4 MiB of every log (golang.org/x/net/http2, transportDefaultStreamFlow).
func agentConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.NextProtos = []string{"http/1.1"}
	return config
}
