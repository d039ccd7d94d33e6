package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/check"
)

// With CLUSTER=existing the cluster is the user's own. Nothing is installed,
// created or stopped; it is only inspected and checked like ours. The registry
// and the addresses that tests need come from the environment.

// existingSettings are what `env` hands on; tests cannot do without the first.
var existingSettings = []string{
	"KUBECONFIG", "CONDUCTOR_REGISTRY", "CONDUCTOR_REGISTRY_USER", "CONDUCTOR_REGISTRY_PASSWORD",
	"CONDUCTOR_REGISTRY_PULL_USER", "CONDUCTOR_REGISTRY_PULL_PASSWORD", "CONDUCTOR_HOST_IP", "CONDUCTOR_KANIKO_IMAGE",
}

func (p *program) existingStatus(ctx context.Context, _ []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return fmt.Errorf("CLUSTER=existing wants a KUBECONFIG that works: %w", err)
	}
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("cluster at %s: %w", config.Host, err)
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("cluster at %s: %w", config.Host, err)
	}
	_, err = fmt.Fprintf(p.out, "existing cluster at %s: Kubernetes %s, nodes: %d\n", config.Host, version.GitVersion, len(nodes.Items))
	return err
}

func (p *program) existingCheck(ctx context.Context, args []string) error {
	if err := p.existingStatus(ctx, args); err != nil {
		return err
	}
	image := os.Getenv("CONDUCTOR_CHECK_IMAGE")
	if image == "" {
		image = "busybox:1.36"
	}
	if err := check.Run(ctx, check.Options{Kubeconfig: os.Getenv("KUBECONFIG"), Image: image, Limit: 3 * checkLimit}); err != nil {
		return err
	}
	p.say("all checks passed")
	return nil
}

func (p *program) existingEnv(_ context.Context, _ []string) error {
	if os.Getenv("KUBECONFIG") == "" {
		return errors.New("CLUSTER=existing wants a KUBECONFIG")
	}
	for _, name := range existingSettings {
		if value := os.Getenv(name); value != "" {
			fmt.Fprintf(p.out, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
	}
	return nil
}
