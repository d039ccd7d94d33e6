package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// scheme has the kinds of Kubernetes and of Conductor.
func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

// clusterConfig returns the cluster of the kubeconfig, or of the pod that this runs in.
func clusterConfig() (*rest.Config, error) {
	config, err := ctrl.GetConfig()
	if clientcmd.IsEmptyConfig(err) {
		where := cmp.Or(os.Getenv(clientcmd.RecommendedConfigPathEnvVar), clientcmd.RecommendedHomeFile)
		return nil, fmt.Errorf("no cluster is configured: %s does not exist, and this is not a pod. Set KUBECONFIG to a kubeconfig", where)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	return config, nil
}

// newClient returns a client for the cluster of clusterConfig.
func newClient() (client.Client, error) {
	s, err := scheme()
	if err != nil {
		return nil, fmt.Errorf("register the kinds: %w", err)
	}
	config, err := clusterConfig()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return c, nil
}

// registryOptions are those of the operator's registry.
func registryOptions(set settings.Settings) registry.Options {
	return registry.Options{
		Host: set.Registry.Host, Prefix: set.Registry.Prefix, Insecure: set.Registry.Insecure,
		Records: set.Registry.Records, Sources: set.Registry.Sources, Mirrors: set.Registry.Mirrors,
		PushConfigFile: set.Registry.PushConfigFile, PullConfigFile: set.Registry.PullConfigFile,
	}
}
