package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/runs"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
	"github.com/w3evolutionsllc/conductor/test/lab"
)

// report is everything that a user can see of a run.
type report struct {
	lab        *lab.Lab
	repository *lab.Repository
	// brief shows the record's reference instead of the record.
	brief bool
	// word is the random word of a scenario's files.
	word string

	run *v1alpha1.Run
	// comment is the run's comment on the issue at url.
	comment, author, url string
	checks               []githubtest.CheckRun
	// printed is what `conductor runs record` prints, result the record's result.json.
	printed string
	result  evidence.Result
}

// recordWait is how long the record and its mention in the comment may take.
const recordWait = 2 * time.Minute

// read waits until the run is recorded and fully reported, and reads all of it.
func (t *report) read(ctx context.Context, name string) error {
	run, err := t.repository.Await(ctx, recordWait, "recorded and reported", func(run *v1alpha1.Run) bool {
		c := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionRecorded)
		if run.Name != name || c == nil || c.Status == metav1.ConditionUnknown || t.readGitHub() != nil {
			return false
		}
		return c.Status == metav1.ConditionFalse || strings.Contains(t.comment, "conductor runs record "+name)
	})
	if err != nil {
		return err
	}
	t.run = run
	if run.Status.Record == nil {
		return nil
	}
	if t.printed, err = t.record(ctx); err != nil {
		return err
	}
	text, err := t.record(ctx, "--json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &t.result); err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	return nil
}

func (t *report) readGitHub() error {
	issue, err := t.lab.GitHub.Issue(t.repository.Name, t.repository.Issue)
	if err != nil {
		return fmt.Errorf("read the issue: %w", err)
	}
	t.url, t.checks = issue.URL, t.lab.GitHub.CheckRuns(t.repository.Name)
	for _, c := range issue.Comments {
		t.author, t.comment = c.Author, c.Body
	}
	return nil
}

// record runs `conductor runs record` with a credential that can only pull.
func (t *report) record(ctx context.Context, flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "demo-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	auth := base64.StdEncoding.EncodeToString([]byte(t.lab.PullUser + ":" + t.lab.PullPassword))
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, t.lab.Registry, auth)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		return "", fmt.Errorf("write the login: %w", err)
	}
	var out, errs bytes.Buffer
	conductor := filepath.Join(filepath.Dir(lab.Example("")), "bin", "conductor")
	cmd := t.lab.Command(ctx, conductor, append([]string{"runs", "record", t.run.Name, "--insecure"}, flags...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cmd.Env, "DOCKER_CONFIG="+dir), &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("conductor runs record: %w: %s", err, errs.String())
	}
	return out.String(), nil
}

// show prints what a user sees: the comment, the check runs, the record, the runs, the timeline, and how to reach the stack.
func (t *report) show(ctx context.Context) error {
	title("The comment on " + t.url)
	fmt.Printf("%s:\n%s\n", t.author, t.comment)
	title("The check runs on " + t.run.Spec.SHA[:12])
	for _, c := range t.checks {
		fmt.Printf("%s: %s, %s: %s\n", c.Name, c.Status, c.Conclusion, c.Title)
		for _, a := range c.Annotations {
			fmt.Printf("  %s:%d: %s: %s: %s\n", a.Path, a.StartLine, a.Level, a.Title, a.Message)
		}
	}
	title("The record, when all of this is gone: conductor runs record " + t.run.Name)
	if r := t.run.Status.Record; r != nil && t.brief {
		fmt.Printf("%s@%s, %d kB\n", r.Reference, r.Digest, (r.Size+999)/1000)
	} else {
		fmt.Print(t.printed)
	}
	title("kubectl -n " + lab.Namespace + " get runs")
	text, err := t.lab.Kubectl(ctx, "-n", lab.Namespace, "get", "runs")
	if err != nil {
		return err
	}
	fmt.Print(text)
	title("The timeline: conductor runs get " + t.run.Name)
	if err := runs.Describe(os.Stdout, t.run, time.Now()); err != nil {
		return fmt.Errorf("print the run: %w", err)
	}
	if t.run.Status.Namespace != "" {
		title("The stack is still there: kubectl -n " + t.run.Status.Namespace + " get pods")
		if text, err = t.lab.Kubectl(ctx, "-n", t.run.Status.Namespace, "get", "pods,services"); err != nil {
			return err
		}
		fmt.Print(text)
	}
	fmt.Printf("\nTo reach it: export KUBECONFIG=%s\n", t.lab.Kubeconfig)
	return nil
}

func title(s string) { fmt.Printf("\n\033[1m== %s\033[0m\n", s) }
