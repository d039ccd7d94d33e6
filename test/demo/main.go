// Demo runs Conductor's main job once, on real parts, and shows what a user would see: a tag is pushed, and a few seconds later
// the result is on the issue and the stack can be inspected. Its exit status is 0 only if the tests in the cluster passed or, in a
// scenario whose run cannot pass, if the report is right.
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
	"github.com/w3evolutionsllc/conductor/test/lab"
)

func main() {
	repo := flag.String("repo", lab.Example("shop"), "the directory of the repository to run")
	name := flag.String("scenario", "", "a run that does not pass: "+strings.Join(scenarioNames(), ", "))
	timeout := flag.Duration("timeout", 10*time.Minute, "how long the run may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *repo, *name, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, dir, name string, timeout time.Duration) error {
	began, s := time.Now(), scenario{check: passed}
	if name != "" {
		var ok bool
		if s, ok = scenarios[name]; !ok {
			return fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
		}
		dir = lab.Example(filepath.Join("scenarios", name))
	}
	title("The ground: a Kubernetes, a registry, a GitHub, Conductor (the first time about 12 minutes, most of it compiling Kubernetes; then about 30 s)")
	l, err := lab.New(ctx, lab.Options{Out: os.Stdout, Values: s.values})
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
	t := &report{lab: l, repository: r, word: word(), brief: name == ""}
	if len(s.files) > 0 {
		if err := r.Write(ctx, s.changes(t.word)); err != nil {
			return err
		}
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
	if err := t.read(ctx, run.Name); err != nil {
		return err
	}
	if err := t.show(ctx); err != nil {
		return err
	}
	fmt.Printf("\nFrom the push to the result: %.1f s. In all: %.0f s.\n", took.Seconds(), time.Since(began).Seconds())
	return t.verdict(ctx, s)
}

// verdict reports whether the report is right.
func (t *report) verdict(ctx context.Context, s scenario) error {
	wrong, err := s.check(ctx, t)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return errors.New("the report is not right:\n  " + strings.Join(wrong, "\n  "))
	}
	if s.expected != "" {
		fmt.Println("The report is right: " + s.expected + ".")
	}
	return nil
}

// passed checks a run without a scenario.
func passed(_ context.Context, t *report) ([]string, error) {
	if t.run.Status.Outcome != v1alpha1.OutcomePassed {
		return []string{"the tests did not pass: " + t.run.Status.Message}, nil
	}
	return nil, nil
}

// follow prints the progress of a run until it is reported.
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

// slug turns the name of a directory into the name of a repository.
func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s)), "-")
}
