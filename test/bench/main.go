// Bench measures what Conductor costs: the time that it adds to a run compared with a bare program that does the same work, the time
// until a webhook is stored and answered, the memory of its leader, what its wrapper and agent add to a test, and what many test cases
// and long logs cost. It prints Markdown; docs/benchmarks.md explains the tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// childArgument makes this program the bare program, which has its own process so that its CPU time can be measured.
const childArgument = "bare-child"

// parts are what can be measured, in this order.
var parts = []string{"overhead", "webhook", "memory", "wrapper", "evidence"}

// options are the flags.
type options struct {
	pairs, deliveries, held int
	only                    string
	overlap, quick          bool
	wait                    time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		err = child(ctx, os.Stdin, os.Stdout)
	} else {
		err = parent(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parent(ctx context.Context) error {
	var o options
	flag.IntVar(&o.pairs, "pairs", 10, "pairs of runs")
	flag.IntVar(&o.deliveries, "deliveries", 2000, "deliveries each way at each concurrency")
	flag.IntVar(&o.held, "runs", 200, "finished Runs that the leader holds")
	flag.StringVar(&o.only, "only", "", "one of "+strings.Join(parts, ", "))
	flag.BoolVar(&o.overlap, "overlap", true, "also run the bare program with the stack beginning beside the builds")
	flag.BoolVar(&o.quick, "quick", false, "two pairs and 400 deliveries")
	flag.DurationVar(&o.wait, "wait", 5*time.Minute, fmt.Sprintf("how long to wait for a load average below %d", calm))
	flag.Parse()
	if o.only != "" && !slices.Contains(parts, o.only) {
		return fmt.Errorf("-only is one of %s, not %q", strings.Join(parts, ", "), o.only)
	}
	if o.quick {
		o.pairs, o.deliveries = min(o.pairs, 2), min(o.deliveries, 400)
	}
	if o.pairs < 1 || o.deliveries < 32 || o.held < 1 {
		return errors.New("at least one pair, 32 deliveries and one Run are needed")
	}
	return measure(ctx, o, os.Stdout)
}

// bench is a lab, and what the measurements share.
type bench struct {
	*lab.Lab
	options
	watcher client.WithWatch
	out     io.Writer
	// finished is the finished Run of a real run; nil before the first.
	finished *v1alpha1.Run
	// ran is how many Runs Conductor has run since it was installed, ranMiB the leader's resident memory after them.
	ran    int
	ranMiB float64
}

func measure(ctx context.Context, o options, out io.Writer) error {
	l, err := lab.New(ctx, lab.Options{Out: os.Stderr, Values: map[string]any{
		// Do not poll tags during measurements.
		"triggers": map[string]any{"pollInterval": "1h"},
	}})
	if err != nil {
		return err
	}
	defer l.Close()
	b := &bench{Lab: l, options: o, out: out}
	if b.watcher, err = client.NewWithWatch(l.Config, client.Options{Scheme: l.Client.Scheme()}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if err := b.awaitLeader(ctx); err != nil {
		return err
	}
	b.printf("# Conductor beside its ground\n\n%s, on %s.\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), machine())
	do := map[string]func(context.Context) error{
		"overhead": b.overhead, "webhook": b.webhook, "memory": b.memory, "wrapper": b.wrapped, "evidence": b.evidence,
	}
	for _, part := range parts {
		if o.only != "" && o.only != part {
			continue
		}
		before := b.settle(ctx)
		if err := do[part](ctx); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		b.printf("\nLoad average (1 min) before %.2f, after %.2f.\n", before, load())
		if before >= calm {
			b.printf("The machine was busy with other things: these figures show that the benchmark works, and no more.\n")
		}
	}
	if v := l.GitHub.Violations(); len(v) > 0 {
		return fmt.Errorf("GitHub's contract was broken %d times, first: %+v", len(v), v[0])
	}
	return nil
}

func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }

// logf prints progress to standard error; it is not part of the result.
func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// poll calls done until it returns true or the timeout expires, with a pause after each call.
func poll(ctx context.Context, timeout time.Duration, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("it took longer than "+timeout.String()))
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(context.Cause(ctx), err))
		case <-time.After(250 * time.Millisecond):
		}
	}
}
