//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
)

const (
	// waitPoll is the time between two attempts.
	waitPoll = 300 * time.Millisecond
	// waitReport is how often it prints what it is waiting for.
	waitReport = 10 * time.Second
	// waitAttempt bounds one attempt, so that a lost packet does not block it.
	waitAttempt = 5 * time.Second
	// namespaceFile is where a pod finds the name of its own namespace.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	resolvConf    = "/etc/resolv.conf"
)

// waiting holds the flags of `conductor wait`.
type waiting struct {
	tcp, dns, job, until string
	addresses            int
	optional             bool
	timeout              time.Duration
}

// probe checks the dependency once: nil if it is ready, a *failedError if it never will be, else an error that names what is missing.
type probe func(ctx context.Context) error

// failedError explains why waiting is pointless.
type failedError struct{ sentence string }

func (e *failedError) Error() string { return e.sentence }

// waitCommand runs in the init containers of converted stacks.
func waitCommand() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use: "wait", Short: "Wait until a dependency is ready; for init containers", Hidden: true, Args: cobra.NoArgs,
		Long: "Wait until a dependency is ready. Converted stacks run this in init containers.\n\nExit status 0: it is ready, 1: it failed or the wait timed out, 2: usage error.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			what, try, err := w.target()
			if err != nil {
				return err
			}
			return w.wait(cmd.Context(), cmd.OutOrStdout(), what, try)
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.tcp, "tcp", "", "wait until HOST:PORT accepts connections")
	f.StringVar(&w.dns, "dns", "", "wait until a name of this namespace has an address")
	f.IntVar(&w.addresses, "addresses", 1, "how many addresses the name must have (with --dns)")
	f.StringVar(&w.job, "job", "", "wait for the Job NAME of this namespace, or NAMESPACE/NAME")
	f.StringVar(&w.until, "until", "complete", "wait until the Job is complete or started (with --job)")
	f.BoolVar(&w.optional, "optional", false, "exit with status 0 even if it fails or the wait times out")
	f.DurationVar(&w.timeout, "timeout", 0, "how long to wait; 0 means forever")
	cmd.MarkFlagsMutuallyExclusive("tcp", "dns", "job")
	cmd.MarkFlagsOneRequired("tcp", "dns", "job")
	return cmd
}

// target returns a description of the dependency and its probe.
func (w *waiting) target() (string, probe, error) {
	switch {
	case w.tcp != "":
		if _, _, err := net.SplitHostPort(w.tcp); err != nil {
			return "", nil, fmt.Errorf("--tcp: %w", err)
		}
		return w.tcp + " to accept connections", w.probeTCP, nil
	case w.dns != "":
		return w.dns + " to be ready", w.probeDNS(net.DefaultResolver.LookupHost, resolvConf), nil
	case w.until != "complete" && w.until != "started":
		return "", nil, fmt.Errorf("--until: %q is neither complete nor started", w.until)
	}
	config, err := clusterConfig()
	if err != nil {
		return "", nil, err
	}
	c, err := typedbatchv1.NewForConfig(config)
	if err != nil {
		return "", nil, fmt.Errorf("make a client: %w", err)
	}
	namespace, name, ok := strings.Cut(w.job, "/")
	if !ok {
		data, err := os.ReadFile(namespaceFile)
		if err != nil {
			return "", nil, fmt.Errorf("find this pod's namespace: %w", err)
		}
		namespace, name = strings.TrimSpace(string(data)), w.job
	}
	what := "the Job " + name + " to complete"
	if w.until == "started" {
		what = "the Job " + name + " to start"
	}
	return what, w.probeJob(c.Jobs(namespace), namespace, name), nil
}

// wait polls the dependency until it is ready, and prints every ten seconds what is missing.
func (w *waiting) wait(ctx context.Context, out io.Writer, what string, try probe) error {
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	start, reported := time.Now(), time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, waitAttempt)
		err := try(attempt)
		cancel()
		var failed *failedError
		switch {
		case err == nil:
			fmt.Fprintf(out, "waited %s for %s\n", time.Since(start).Round(time.Millisecond), what)
			return nil
		case errors.As(err, &failed):
			return w.giveUp(out, failed.sentence)
		case time.Since(reported) >= waitReport:
			reported = time.Now()
			fmt.Fprintf(out, "waiting for %s: %v (for %s)\n", what, err, time.Since(start).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return w.giveUp(out, fmt.Sprintf("waited %s for %s: %v", time.Since(start).Round(time.Second), what, err))
		case <-time.After(waitPoll):
		}
	}
}

// giveUp exits with status 1, or with 0 if the dependency is optional.
func (w *waiting) giveUp(out io.Writer, sentence string) error {
	if w.optional {
		fmt.Fprintf(out, "%s; continuing without it\n", sentence)
		return nil
	}
	fmt.Fprintln(out, sentence)
	return exitCode(1)
}

func (w *waiting) probeTCP(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.tcp)
	if err != nil {
		return fmt.Errorf("no connection yet: %w", err)
	}
	return c.Close()
}

// probeDNS looks up only the absolute name: later domains of the search list are the node's, and one of those may resolve every name.
func (w *waiting) probeDNS(lookup func(context.Context, string) ([]string, error), config string) probe {
	return func(ctx context.Context) error {
		addresses, err := lookup(ctx, absolute(w.dns, config))
		var missing *net.DNSError
		switch {
		case errors.As(err, &missing) && missing.IsNotFound, err == nil && len(addresses) == 0:
			return errors.New("it has no ready pod yet")
		case err != nil:
			return fmt.Errorf("its name cannot be looked up: %w", err)
		case len(addresses) < w.addresses:
			return fmt.Errorf("%d of %d pods are ready", len(addresses), w.addresses)
		}
		return nil
	}
}

// absolute appends the domain of the pod's own namespace to a name. It is the first domain of the search list that the kubelet writes:
// https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
func absolute(name, config string) string {
	data, err := os.ReadFile(filepath.Clean(config))
	if err != nil || strings.Contains(name, ".") {
		return name
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "search" {
			return name + "." + strings.TrimSuffix(f[1], ".") + "."
		}
	}
	return name
}

func (w *waiting) probeJob(jobs typedbatchv1.JobInterface, namespace, name string) probe {
	return func(ctx context.Context) error {
		job, err := jobs.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return errors.New("the Job does not exist yet")
		case apierrors.IsForbidden(err):
			return fmt.Errorf("this pod is not allowed to read it; the stack was converted for the namespace %s, is it in another one? (%w)", namespace, err)
		case err != nil:
			return fmt.Errorf("its status cannot be read: %w", err)
		}
		return w.judge(job)
	}
}

// judge returns nil if a Job has completed or started, as requested.
func (w *waiting) judge(job *batchv1.Job) error {
	ready := int32(0)
	if job.Status.Ready != nil {
		ready = *job.Status.Ready
	}
	if w.until == "started" && (ready > 0 || job.Status.Succeeded > 0) {
		return nil
	}
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			return nil
		case batchv1.JobFailed:
			return &failedError{fmt.Sprintf("the Job %s has failed: %s: %s", job.Name, c.Reason, c.Message)}
		}
	}
	return fmt.Errorf("its pods: %d active, %d succeeded, %d failed", job.Status.Active, job.Status.Succeeded, job.Status.Failed)
}
