package lab

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// Repository is a repository on the lab's GitHub, with a clone on this machine from which its user pushes.
type Repository struct {
	lab *Lab
	// Name is owner/name, User is who pushes, Issue is the number of its first issue.
	Name  string
	ID    int64
	URL   string
	User  githubtest.User
	Issue int
	// Dir is the clone's work tree.
	Dir string
}

// Example returns a directory of this repository's examples.
func Example(name string) string { return filepath.Join(root(), "examples", name) }

// NewRepository creates a repository with a user with write permission and an issue, and pushes the files below dir to main.
func (l *Lab) NewRepository(ctx context.Context, name, dir string) (*Repository, error) {
	return l.newRepository(ctx, name, func(r *Repository) error {
		if err := os.CopyFS(r.Dir, os.DirFS(dir)); err != nil {
			return fmt.Errorf("copy %s: %w", dir, err)
		}
		return r.each(ctx, []string{"add", "-A"}, []string{"commit", "-q", "--allow-empty", "-m", "Begin"})
	})
}

// newRepository creates a repository, calls fill to commit files in its clone, and pushes main.
func (l *Lab) newRepository(ctx context.Context, name string, fill func(*Repository) error) (*Repository, error) {
	org, err := l.nextOrg()
	if err != nil {
		return nil, err
	}
	r := &Repository{lab: l, Name: org + "/" + name, Dir: filepath.Join(l.dir, name)}
	repo, err := l.GitHub.CreateRepository(r.Name, githubtest.RepositoryOptions{})
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", r.Name, err)
	}
	r.ID, r.URL = repo.ID, repo.CloneURL
	if r.User, err = l.GitHub.CreateUser("ada-" + name); err != nil {
		return nil, fmt.Errorf("make a user: %w", err)
	}
	if err := l.GitHub.AddCollaborator(r.Name, r.User.Login, githubtest.RoleWrite); err != nil {
		return nil, fmt.Errorf("let %s write: %w", r.User.Login, err)
	}
	remote, err := url.Parse(repo.CloneURL)
	if err != nil {
		return nil, fmt.Errorf("the clone address: %w", err)
	}
	remote.User = url.UserPassword(r.User.Login, r.User.Token)
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the clone: %w", err)
	}
	if err := r.each(ctx, []string{"init", "-q", "-b", "main"}, []string{"remote", "add", "origin", remote.String()}); err != nil {
		return nil, err
	}
	if err := fill(r); err != nil {
		return nil, err
	}
	// Searching for deltas costs more than it saves on a local transfer.
	if _, err := r.Git(ctx, "-c", "pack.window=0", "push", "-q", "origin", "main"); err != nil {
		return nil, err
	}
	if r.Issue, err = l.GitHub.CreateIssue(r.Name, r.User.Login, "Checkout is broken", "Please run the integration tests."); err != nil {
		return nil, fmt.Errorf("open an issue: %w", err)
	}
	return r, nil
}

// Git runs git in the clone as the repository's user and returns what it printed.
func (r *Repository) Git(ctx context.Context, args ...string) (string, error) {
	out, err := r.git(ctx, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (r *Repository) git(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME="+r.User.Login, "GIT_AUTHOR_EMAIL="+r.User.Email, "GIT_COMMITTER_NAME="+r.User.Login, "GIT_COMMITTER_EMAIL="+r.User.Email)
	return cmd
}

// each runs git once for each list of arguments, until one fails.
func (r *Repository) each(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if _, err := r.Git(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Write changes files in the clone, commits and pushes main. An empty content deletes a file.
func (r *Repository) Write(ctx context.Context, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(r.Dir, name)
		if content == "" {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the directory of %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return r.each(ctx, []string{"add", "-A"}, []string{"commit", "-q", "-m", "Change"}, []string{"push", "-q", "origin", "main"})
}

// PushTag sets a tag to HEAD and force-pushes it. A message makes it an annotated tag.
func (r *Repository) PushTag(ctx context.Context, name, message string) error {
	args := []string{"tag", "-f", name}
	if message != "" {
		args = append(args, "-a", "-m", message)
	}
	if _, err := r.Git(ctx, args...); err != nil {
		return err
	}
	_, err := r.Git(ctx, "push", "-q", "-f", "origin", "refs/tags/"+name)
	return err
}

// Runs lists the repository's Runs.
func (r *Repository) Runs(ctx context.Context) ([]v1alpha1.Run, error) {
	var list v1alpha1.RunList
	if err := r.lab.Client.List(ctx, &list, client.InNamespace(Namespace)); err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var mine []v1alpha1.Run
	for _, run := range list.Items {
		if run.Spec.Repository.CloneURL == r.URL {
			mine = append(mine, run)
		}
	}
	return mine, nil
}

// Await polls until a Run of the repository fulfils the condition and returns it.
func (r *Repository) Await(ctx context.Context, timeout time.Duration, what string, fulfils func(*v1alpha1.Run) bool) (*v1alpha1.Run, error) {
	var found *v1alpha1.Run
	var last []v1alpha1.Run
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		runs, err := r.Runs(ctx)
		if err != nil {
			return false, nil // The API server may be down in a test.
		}
		last = runs
		for i := range runs {
			if fulfils(&runs[i]) {
				found = &runs[i]
			}
		}
		return found != nil, nil
	})
	if err != nil {
		text := "there is no run"
		for _, run := range last {
			text = fmt.Sprintf("%s: %s %s %q %+v", run.Name, run.Status.Phase, run.Status.Outcome, run.Status.Message, run.Status.Conditions)
		}
		return nil, fmt.Errorf("no run %s within %s; %s", what, timeout, text)
	}
	return found, nil
}

// Settled reports whether a Run is finished, its record stored or given up, and its stack kept or deleted.
func Settled(run *v1alpha1.Run) bool {
	for _, condition := range []string{v1alpha1.ConditionRecorded, v1alpha1.ConditionStackKept} {
		if c := meta.FindStatusCondition(run.Status.Conditions, condition); c == nil || c.Status == metav1.ConditionUnknown {
			return false
		}
	}
	return Finished(run)
}

// Finished reports whether a Run's outcome is known and reported.
func Finished(run *v1alpha1.Run) bool { return run.Status.Phase == v1alpha1.PhaseFinished }
