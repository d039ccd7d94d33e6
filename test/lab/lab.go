package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// Lab is a cluster with Conductor, and a GitHub with Conductor's App.
type Lab struct {
	*Cluster
	GitHub *githubtest.Server
	App    githubtest.App
	// Config, Client and Kube have the rights of the administrator.
	Config *rest.Config
	Client client.Client
	Kube   kubernetes.Interface
	// Install holds the parameters of the installation.
	Install Install

	dir string

	mu           sync.Mutex
	repositories int
}

// Options configure a lab.
type Options struct {
	// Values override the chart's values.
	Values map[string]any
	// Out gets progress messages.
	Out io.Writer
}

// New sets up everything: the cluster, a GitHub, an image of this source, and Conductor with its chart.
func New(ctx context.Context, o Options) (*Lab, error) {
	say := func(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }
	cluster, err := Up(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	bin, err := Build(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	image, err := cluster.Push(ctx, bin)
	if err != nil {
		return nil, err
	}
	say("%6.1fs  conductor built from this source: %s", time.Since(start).Seconds(), image)
	l := &Lab{Cluster: cluster}
	if err := l.connect(); err != nil {
		return nil, err
	}
	if err := l.startGitHub(); err != nil {
		return nil, err
	}
	if err := cluster.Forget(ctx); err != nil {
		return nil, err
	}
	start = time.Now()
	l.Install = Install{Image: image, APIURL: l.GitHub.APIURL(), AppID: l.App.ID, Key: []byte(l.App.PrivateKey), Secret: l.App.WebhookSecret, Values: o.Values}
	if err := cluster.Install(ctx, l.Install, io.Discard); err != nil {
		l.Close()
		return nil, err
	}
	say("%6.1fs  conductor installed by its chart, two replicas ready", time.Since(start).Seconds())
	return l, nil
}

func (l *Lab) connect() error {
	log.SetLogger(logr.Discard()) // The client logs nothing beyond its errors.
	var err error
	if l.Config, err = clientcmd.BuildConfigFromFlags("", l.Kubeconfig); err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	l.Config.QPS, l.Config.Burst = 200, 400
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("register the kinds: %w", err)
	}
	if l.Client, err = client.New(l.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if l.Kube, err = kubernetes.NewForConfig(l.Config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	l.dir, err = os.MkdirTemp("", "lab-")
	return err
}

// startGitHub starts a GitHub that pods can reach, with the App of the manifest and the organization acme.
func (l *Lab) startGitHub() error {
	var manifest struct {
		Permissions githubtest.Permissions `json:"default_permissions"`
		Events      []string               `json:"default_events"`
	}
	data, err := os.ReadFile(filepath.Join(root(), "charts", "conductor", "files", "app-manifest.json"))
	if err != nil {
		return fmt.Errorf("read the App's manifest: %w", err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("read the App's manifest: %w", err)
	}
	if l.GitHub, err = githubtest.New(githubtest.Options{Address: l.HostIP + ":0"}); err != nil {
		return fmt.Errorf("start GitHub: %w", err)
	}
	if err := l.GitHub.CreateOrg(firstOrg); err != nil {
		return fmt.Errorf("make an organization: %w", err)
	}
	l.App, err = l.GitHub.CreateApp(githubtest.AppOptions{
		Slug: "conductor", Owner: firstOrg, Permissions: manifest.Permissions, Events: manifest.Events,
		WebhookURL: l.WebhookURL(), WebhookSecret: newSecret(),
	})
	if err != nil {
		return fmt.Errorf("register the App: %w", err)
	}
	return l.install(firstOrg)
}

func (l *Lab) install(org string) error {
	if _, err := l.GitHub.InstallApp(l.App.ID, org, githubtest.InstallOptions{}); err != nil {
		return fmt.Errorf("install the App on %s: %w", org, err)
	}
	return nil
}

const (
	firstOrg = "acme"
	// perOrg is how many repositories share an organization, and with it GitHub's limits for an installation.
	perOrg = 8
)

// nextOrg returns the organization of the next repository, with the App installed.
func (l *Lab) nextOrg() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, first := l.repositories/perOrg, l.repositories%perOrg == 0
	l.repositories++
	if number == 0 {
		return firstOrg, nil
	}
	org := fmt.Sprintf("%s-%d", firstOrg, number)
	if !first {
		return org, nil
	}
	if err := l.GitHub.CreateOrg(org); err != nil {
		return "", fmt.Errorf("make an organization: %w", err)
	}
	return org, l.install(org)
}

// Close stops the GitHub. Conductor and its stacks keep running.
func (l *Lab) Close() {
	if l.GitHub != nil {
		l.GitHub.Close()
	}
	_ = os.RemoveAll(l.dir)
}
