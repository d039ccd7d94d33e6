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
	"github.com/w3evolutionsllc/conductor/internal/junit"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// agentFlags are the flags of `conductor agent`.
type agentFlags struct {
	dir, listen, namespace, tokens, secrets, pod string
	artifacts, logs                              string
	source, registryConfig                       string
	insecure                                     bool
}

// agentCommand is the pod that Conductor puts into each stack's namespace.
func agentCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use: "agent", Short: "Gather what the tests of one stack leave behind", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), f) },
	}
	host, _ := os.Hostname()
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "/data", "where it keeps logs, JUnit and artifacts")
	flags.StringVar(&f.listen, "listen", ":7070", "its address")
	flags.StringVar(&f.namespace, "namespace", "", "the stack's namespace")
	flags.StringVar(&f.tokens, "tokens", "/tokens", "the directory with the files conductor and wrapper: a token in each")
	flags.StringVar(&f.secrets, "secrets", "", "the directory below which the secrets to mask are mounted")
	flags.StringVar(&f.pod, "pod", host, "the agent's own pod, which is not followed")
	flags.StringVar(&f.artifacts, "artifacts-limit", "512Mi", "the most that the artifacts of one attempt may have")
	flags.StringVar(&f.logs, "log-limit", "256Mi", "how much text of each container's log is kept: half of it from the beginning, half from the end")
	flags.StringVar(&f.source, "source", "", "the run's source artifact, HOST/PATH@DIGEST, which it serves to init containers")
	flags.StringVar(&f.registryConfig, "registry-config", "", "the Docker config.json that the source artifact is read with")
	flags.BoolVar(&f.insecure, "insecure", false, "speak plain HTTP to the registry of the source artifact")
	return cmd
}

// agentMemory is where the collector of garbage begins to work harder, in bytes. An agent needs less.
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
	log.Info("the agent serves", "version", version, "listen", listen.Addr().String(), "namespace", f.namespace)
	return agent.Run(ctx, agent.Config{
		Dir: f.dir, Listen: listen, Namespace: f.namespace, Tokens: f.tokens, Secrets: f.secrets, Pod: f.pod,
		ArtifactsLimit: artifacts, LogLimit: logs, Kube: kube, Parse: junit.Parse, Source: files, Log: log,
	})
}

// openSource is the way to the source artifact; nil where the agent has none to serve.
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

// bytesOf reads a Kubernetes quantity, such as 512Mi, in bytes.
func bytesOf(text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, err
	}
	return q.Value(), nil
}

// agentConfig is how the agent talks to the API server: without a rate of its own, since it follows many logs, and each on a
// connection of its own. HTTP/2 would hold up to 4 MiB of every log in memory (golang.org/x/net/http2, transportDefaultStreamFlow).
func agentConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.NextProtos = []string{"http/1.1"}
	return config
}
