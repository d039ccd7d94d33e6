// Package check tries, on a real cluster, everything that tests of this
// project rely on and that a cluster may quietly lack: enforced network
// policies, admission, volumes, names, pulls. It leaves nothing behind.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options are what differs between clusters.
type Options struct {
	Kubeconfig string
	Image      string // of a system with a shell, httpd and wget, as busybox's; pulled anew
	Absent     string // an image that must not be found; empty skips that
	Limit      time.Duration
}

// every is the time between two checks of a condition.
const every = 50 * time.Millisecond

// label marks the namespaces of this package.
const label = "conductor.test/check"

// checker is one run.
type checker struct {
	Options
	client kubernetes.Interface
	config *rest.Config
	name   string // of everything cluster-wide, and of the first namespace
	other  string // the second namespace
}

// Run tries everything at once and answers all that failed.
func Run(ctx context.Context, o Options) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	name := "conductor-check-" + strings.ToLower(rand.Text()[:6])
	c := &checker{Options: o, client: client, config: config, name: name, other: name + "-other"}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	c.sweep(ctx)
	defer c.remove()
	if err := c.makeNamespaces(ctx); err != nil {
		return err
	}
	return c.all(ctx)
}

// all runs the checks beside each other. Those that need the pods wait for
// them themselves.
func (c *checker) all(ctx context.Context) error {
	checks := map[string]func(context.Context) error{
		"services, names and network policies": c.network,
		"volumes":                              c.volume,
		"ValidatingAdmissionPolicy":            c.admissionPolicy,
		"Pod Security":                         c.podSecurity,
	}
	if c.Absent != "" {
		checks["pull of an image that is not there"] = c.absentImage
	}
	results := make(chan error, len(checks))
	for what, try := range checks {
		go func() {
			err := try(ctx)
			if err != nil {
				err = fmt.Errorf("check of %s failed: %w", what, err)
			}
			results <- err
		}()
	}
	var failed []error
	for range checks {
		failed = append(failed, <-results)
	}
	return errors.Join(failed...)
}

func (c *checker) makeNamespaces(ctx context.Context) error {
	for _, name := range []string{c.name, c.other} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			label: "true", "pod-security.kubernetes.io/enforce": "baseline",
		}}}
		if _, err := c.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		// Pods are refused until the namespace has its default account.
		err := poll(ctx, func() error {
			_, err := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
		if err != nil {
			return fmt.Errorf("default account of %s: %w", name, err)
		}
	}
	return nil
}

// remove deletes what this run made; the cluster finishes it in its own time.
func (c *checker) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{c.name, c.other} {
		_ = c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	}
	_ = c.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, c.name, metav1.DeleteOptions{})
	_ = c.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, c.name, metav1.DeleteOptions{})
}

// sweep deletes what a killed run has left.
func (c *checker) sweep(ctx context.Context) {
	old, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return
	}
	for _, ns := range old.Items {
		if time.Since(ns.CreationTimestamp.Time) > 2*c.Limit && ns.DeletionTimestamp == nil {
			left := &checker{client: c.client, name: strings.TrimSuffix(ns.Name, "-other"), other: ns.Name}
			left.remove()
		}
	}
}

// poll tries until it succeeds or the time is over, and then answers the last
// failure.
func poll(ctx context.Context, try func() error) error {
	var last error
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %w", last)
		case <-time.After(every):
		}
	}
}

// refused returns nil if err is an API server's refusal that contains text.
func refused(err error, text string) error {
	switch {
	case err == nil:
		return errors.New("it was allowed")
	case (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && strings.Contains(err.Error(), text):
		return nil
	}
	return err
}
