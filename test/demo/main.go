// Demo runs Conductor's main job once, on real parts, and shows what a user would see: a tag is pushed, and a few seconds later
// the result is on the issue and the stack is there to look at. Its exit status is 0 only when the tests in the cluster passed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

func main() {
	repo := flag.String("repo", lab.Example("shop"), "the directory of the repository to run")
	timeout := flag.Duration("timeout", 10*time.Minute, "how long the run may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *repo, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, dir string, timeout time.Duration) error {
	began := time.Now()
	title("The ground: a Kubernetes, a registry, a GitHub, Conductor (the first time about 12 minutes, most of it compiling Kubernetes; then about 30 s)")
	l, err := lab.New(ctx, lab.Options{Out: os.Stdout})
	if err != nil {
		return err
	}
	defer l.Close()
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", dir, err)
	}
	r, err := l.NewRepository(ctx, slug(filepath.Base(abs)), abs)
	if err != nil {
		return err
	}
	title(fmt.Sprintf("git push origin run-integration-tests   (%s, for issue #%d)", r.Name, r.Issue))
	pushed := time.Now()
	if err := r.PushTag(ctx, "run-integration-tests", fmt.Sprintf("Please test, for #%d", r.Issue)); err != nil {
		return err
	}
	run, err := follow(ctx, r, timeout)
	if err != nil {
		return err
	}
	took := time.Since(pushed)
	if err := show(ctx, l, r, run); err != nil {
		return err
	}
	fmt.Printf("\nFrom the push to the result: %.1f s. In all: %.0f s.\n", took.Seconds(), time.Since(began).Seconds())
	if run.Status.Outcome != v1alpha1.OutcomePassed {
		return errors.New("the tests did not pass: " + run.Status.Message)
	}
	return nil
}

// follow prints what goes on until the run is told.
func follow(ctx context.Context, r *lab.Repository, timeout time.Duration) (*v1alpha1.Run, error) {
	began, last := time.Now(), ""
	return r.Await(ctx, timeout, "finished", func(run *v1alpha1.Run) bool {
		line := string(run.Status.Phase)
		for _, c := range run.Status.Conditions {
			if c.Reason == v1alpha1.ReasonInProgress {
				line += " | " + c.Message
			}
		}
		if line != last {
			fmt.Printf("%6.1fs  %s\n", time.Since(began).Seconds(), line)
			last = line
		}
		return lab.Finished(run)
	})
}

// show prints what a user sees: the comment, the check runs, the runs, the timeline, and how to reach the stack.
func show(ctx context.Context, l *lab.Lab, r *lab.Repository, run *v1alpha1.Run) error {
	issue, err := l.GitHub.Issue(r.Name, r.Issue)
	if err != nil {
		return fmt.Errorf("read the issue: %w", err)
	}
	title("The comment on " + issue.URL)
	for _, c := range issue.Comments {
		fmt.Printf("%s:\n%s\n", c.Author, c.Body)
	}
	title("The check runs on " + run.Spec.SHA[:12])
	for _, c := range l.GitHub.CheckRuns(r.Name) {
		fmt.Printf("%s: %s, %s: %s\n", c.Name, c.Status, c.Conclusion, c.Title)
	}
	title("kubectl -n " + lab.Namespace + " get runs")
	text, err := l.Kubectl(ctx, "-n", lab.Namespace, "get", "runs")
	if err != nil {
		return err
	}
	fmt.Print(text)
	title("The timeline: conductor runs get " + run.Name)
	if err := runs.Describe(os.Stdout, run, time.Now()); err != nil {
		return fmt.Errorf("print the run: %w", err)
	}
	if run.Status.Namespace != "" {
		title("The stack is still there: kubectl -n " + run.Status.Namespace + " get pods")
		if text, err = l.Kubectl(ctx, "-n", run.Status.Namespace, "get", "pods,services"); err != nil {
			return err
		}
		fmt.Print(text)
	}
	fmt.Printf("\nTo reach it: export KUBECONFIG=%s\n", l.Kubeconfig)
	return nil
}

func title(s string) { fmt.Printf("\n\033[1m== %s\033[0m\n", s) }

// slug makes a directory's name a repository's name.
func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s)), "-")
}
