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
	// waitPoll is how often wait looks.
	waitPoll = 300 * time.Millisecond
	// waitSay is how often it says what it waits for.
	waitSay = 10 * time.Second
	// waitLook bounds one look, so that a packet that is lost holds nothing up.
	waitLook = 5 * time.Second
	// namespaceFile is where a pod finds the name of its own namespace.
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	resolvConf    = "/etc/resolv.conf"
)

// waiting is what the command wait was told.
type waiting struct {
	tcp, dns, job, until string
	addresses            int
	optional             bool
	timeout              time.Duration
}

// look tries once: nil when what is waited for is there, a *failedError when it never will be, else an error that says what is missing.
type look func(ctx context.Context) error

// failedError explains why waiting is of no use.
type failedError struct{ sentence string }

func (e *failedError) Error() string { return e.sentence }

// waitCommand runs in the init containers of converted stacks.
func waitCommand() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use: "wait", Short: "Wait until a dependency is there; for init containers", Hidden: true, Args: cobra.NoArgs,
		Long: "Wait until a dependency is there. Converted stacks run this in init containers.\n\nExit status 0: it is there, 1: it is not and the time is up, or it has failed, 2: the command is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			what, try, err := w.target()
			if err != nil {
				return err
			}
			return w.wait(cmd.Context(), cmd.OutOrStdout(), what, try)
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.tcp, "tcp", "", "wait until HOST:PORT takes connections")
	f.StringVar(&w.dns, "dns", "", "wait until a name of this namespace has an address")
	f.IntVar(&w.addresses, "addresses", 1, "how many addresses the name of --dns must have")
	f.StringVar(&w.job, "job", "", "wait for the Job NAME of this namespace, or NAMESPACE/NAME")
	f.StringVar(&w.until, "until", "complete", "what --job waits for: complete or started")
	f.BoolVar(&w.optional, "optional", false, "go on when it fails or the time is up")
	f.DurationVar(&w.timeout, "timeout", 0, "how long to wait; 0 is without end")
	cmd.MarkFlagsMutuallyExclusive("tcp", "dns", "job")
	cmd.MarkFlagsOneRequired("tcp", "dns", "job")
	return cmd
}

// target is what is waited for, in words, and how to look for it.
func (w *waiting) target() (string, look, error) {
	switch {
	case w.tcp != "":
		if _, _, err := net.SplitHostPort(w.tcp); err != nil {
			return "", nil, fmt.Errorf("--tcp: %w", err)
		}
		return w.tcp + " to take connections", w.lookTCP, nil
	case w.dns != "":
		return w.dns + " to be ready", w.lookDNS(net.DefaultResolver.LookupHost, resolvConf), nil
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
			return "", nil, fmt.Errorf("find the own namespace: %w", err)
		}
		namespace, name = strings.TrimSpace(string(data)), w.job
	}
	what := "the Job " + name + " to complete"
	if w.until == "started" {
		what = "the Job " + name + " to start"
	}
	return what, w.lookJob(c.Jobs(namespace), namespace, name), nil
}

// wait looks until it is there, and says every ten seconds what is missing.
func (w *waiting) wait(ctx context.Context, out io.Writer, what string, try look) error {
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	start, said := time.Now(), time.Now()
	for {
		one, cancel := context.WithTimeout(ctx, waitLook)
		err := try(one)
		cancel()
		var failed *failedError
		switch {
		case err == nil:
			fmt.Fprintf(out, "waited %s for %s\n", time.Since(start).Round(time.Millisecond), what)
			return nil
		case errors.As(err, &failed):
			return w.giveUp(out, failed.sentence)
		case time.Since(said) >= waitSay:
			said = time.Now()
			fmt.Fprintf(out, "waits for %s: %v (for %s)\n", what, err, time.Since(start).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return w.giveUp(out, fmt.Sprintf("waited %s for %s: %v", time.Since(start).Round(time.Second), what, err))
		case <-time.After(waitPoll):
		}
	}
}

// giveUp ends with status 1, or with 0 when it may be missing.
func (w *waiting) giveUp(out io.Writer, sentence string) error {
	if w.optional {
		fmt.Fprintf(out, "%s; going on without it\n", sentence)
		return nil
	}
	fmt.Fprintln(out, sentence)
	return exitCode(1)
}

func (w *waiting) lookTCP(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.tcp)
	if err != nil {
		return fmt.Errorf("no connection yet: %w", err)
	}
	return c.Close()
}

// lookDNS asks for one name only. The search list's later domains are the node's, and one of those may answer every name.
func (w *waiting) lookDNS(lookup func(context.Context, string) ([]string, error), config string) look {
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

// absolute is a name of the pod's own namespace with the domain of that, which stands first in the search list that the kubelet
// writes: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
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

func (w *waiting) lookJob(jobs typedbatchv1.JobInterface, namespace, name string) look {
	return func(ctx context.Context) error {
		job, err := jobs.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return errors.New("there is no such Job yet")
		case apierrors.IsForbidden(err):
			return fmt.Errorf("this pod may not look at it; is the stack in another namespace than it was converted for, %s? (%w)", namespace, err)
		case err != nil:
			return fmt.Errorf("the API server does not say how it stands: %w", err)
		}
		return w.judge(job)
	}
}

// judge reports whether a Job has come as far as it should.
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
