//go:build apiserver

package gauntlet

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

var (
	// admin has all rights on the API server; kubeconfig is a file for processes with the same rights.
	admin      client.Client
	kubeconfig string
	// binary is Conductor, built with the fault hooks.
	binary string
)

// size returns the first number for `make gauntlet` and the second one for the short form.
func size(long, short int) int {
	if full {
		return long
	}
	return short
}

// aside runs a test beside others in the short form: it mostly waits.
func aside(t *testing.T) {
	t.Helper()
	if !full {
		t.Parallel()
	}
}

// sideBySide is how many of those run at once.
const sideBySide = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", sideBySide)
	os.Exit(runTests(m))
}

// runTests starts etcd and the API server from the binaries of test/cluster in the directory KUBEBUILDER_ASSETS, and builds Conductor.
func runTests(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "gauntlet")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "conductor")
	var out bytes.Buffer
	if err := lab.BuildAt(context.Background(), binary, &out, "-tags", "faults"); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out.String())
		return 1
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "charts", "conductor", "crds")},
		ErrorIfCRDPathMissing: true,
	}
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16")
	defer func() { _ = env.Stop() }() // Also what a failed start leaves.
	config, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server (KUBEBUILDER_ASSETS is the directory of etcd and kube-apiserver):", err)
		return 1
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		panic(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	config.QPS = -1
	if admin, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		panic(err)
	}
	return m.Run()
}
