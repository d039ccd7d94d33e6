//go:build apiserver

// Package apiserver tests what needs a real API server: the rules of the custom resources, and the controllers through cancels, restarts
// and expiries. The tests change the status of pods where a kubelet would.
package apiserver

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

const namespace = "conductor"

var (
	config *rest.Config
	admin  client.WithWatch
	scheme = runtime.NewScheme()
)

// sideBySide is how many worlds run at once: they mostly wait for the API server.
const sideBySide = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["test.parallel"] {
		_ = flag.Set("test.parallel", sideBySide)
	}
	os.Exit(runTests(m))
}

// runTests starts etcd and the API server from the binaries of test/cluster in the directory KUBEBUILDER_ASSETS.
func runTests(m *testing.M) int {
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "charts", "conductor", "crds")},
		ErrorIfCRDPathMissing: true,
	}
	// Nothing deletes the objects in a namespace here, and each Run has a Service: the long tests need more than the default 254 addresses.
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16")
	defer func() { _ = env.Stop() }() // Also what a failed start leaves.
	var err error
	if config, err = env.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "start the API server (KUBEBUILDER_ASSETS is the directory of etcd and kube-apiserver):", err)
		return 1
	}
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		panic(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	if admin, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		panic(err)
	}
	for _, name := range []string{namespace, namespace + "-builds"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := admin.Create(context.Background(), ns); err != nil {
			panic(err)
		}
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := record.start(ctx, admin); err != nil {
		panic(err)
	}
	return m.Run()
}
