package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/node"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

// startControlPlane starts etcd and the API server together, and what talks to
// the API server when it answers.
func (c *cluster) startControlPlane(ctx context.Context, ready built) error {
	for _, name := range []string{node.Etcd, node.APIServer} {
		if err := node.Start(c.group, c.plan, ready.binaries, name); err != nil {
			return err
		}
	}
	if err := c.awaitAPIServer(ctx); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, name := range []string{node.Controllers, node.Scheduler, node.Kubelet, node.Proxy} {
		group.Go(func() error { return node.Start(c.group, c.plan, ready.binaries, name) })
	}
	group.Go(func() error { return c.apply(groupCtx, ready) })
	if err := group.Wait(); err != nil {
		return err
	}
	// What these two need is there now: their rights, and for kube-router the
	// node, without which it gives up.
	if err := node.Start(c.group, c.plan, ready.binaries, node.Provisioner); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	err = c.poll(ctx, 60*time.Second, 25*time.Millisecond, "the node has registered", func() error {
		_, err := client.CoreV1().Nodes().Get(ctx, plan.Node, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return node.Start(c.group, c.plan, ready.binaries, node.KubeRouter)
}

// awaitAPIServer waits until the API server reports that it is ready.
func (c *cluster) awaitAPIServer(ctx context.Context) error {
	client, err := tlsClient(c.plan)
	if err != nil {
		return err
	}
	return c.poll(ctx, 60*time.Second, 25*time.Millisecond, "the API server is ready", func() error {
		if !c.group.Running(node.APIServer) {
			return stop{fmt.Errorf("it ended; see %s", c.group.LogFile(node.APIServer))}
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.plan.Server()+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("%s: %s", response.Status, body)
	})
}

func tlsClient(p plan.Plan) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(p.Path("pki", "admin.crt"), p.Path("pki", "admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(p.Path("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

// apply brings the objects that a cluster begins with to what they should be.
func (c *cluster) apply(ctx context.Context, ready built) error {
	manifests, err := node.Manifests(c.plan)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, ready.binaries["kubectl"], "--kubeconfig="+c.plan.Kubeconfig(),
		"apply", "--server-side", "--force-conflicts", "--validate=false", "--filename=-")
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(string(manifests)), endsWithParent()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply the first objects: %w\n%s", err, output)
	}
	return nil
}

// awaitReady waits for the node and for DNS.
func (c *cluster) awaitReady(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	err = c.poll(ctx, 60*time.Second, 50*time.Millisecond, "the node is ready", func() error { return nodeReady(ctx, client) })
	if err != nil {
		return err
	}
	return c.poll(ctx, 60*time.Second, 50*time.Millisecond, "DNS is ready", func() error {
		d, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err == nil && !available(d) {
			err = errors.New("no replica is ready")
		}
		return err
	})
}

func nodeReady(ctx context.Context, client kubernetes.Interface) error {
	n, err := client.CoreV1().Nodes().Get(ctx, plan.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("node %s is not ready", plan.Node)
}

func available(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas > 0 }

func (c *cluster) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.plan.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	return kubernetes.NewForConfig(config)
}

// stop is an error that waiting longer does not mend.
type stop struct{ error }

// poll retries until it succeeds; its error names what it waited for.
func (c *cluster) poll(ctx context.Context, limit, every time.Duration, what string, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return nil
		}
		var stopped stop
		if errors.As(err, &stopped) || time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("waited until %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}
