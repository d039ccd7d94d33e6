package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// GitHub is what starting a Run needs from GitHub.
type GitHub interface {
	// Commit returns the commit that an object names, which may be an annotated tag.
	Commit(ctx context.Context, installation int64, repo v1alpha1.Repository, object string) (string, error)
	// Head returns the head of a pull request, or of the default branch if the number is an issue's.
	Head(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int) (v1alpha1.Head, error)
	// Protected reports whether a commit is the head of a protected branch.
	Protected(ctx context.Context, installation int64, repo v1alpha1.Repository, sha string) (bool, error)
	// PullCommits returns the commits of a pull request, oldest first; of a long one only the first 250.
	PullCommits(ctx context.Context, installation int64, repo v1alpha1.Repository, pull int) ([]string, error)
}

// actions map what started a Run to the action in the authority table. A kind that is missing here cannot start Runs.
var actions = map[v1alpha1.TriggerKind]authority.Action{
	v1alpha1.TriggerTag:     authority.StartByTag,
	v1alpha1.TriggerPoll:    authority.StartByTag,
	v1alpha1.TriggerComment: authority.StartByComment,
}

// Request asks for a Run.
type Request struct {
	// By is who asks. The authority table decides whether they may.
	By authority.Subject
	// Name identifies the request: if a Run of this name exists, that is the Run.
	Name           string
	Repository     v1alpha1.Repository
	InstallationID int64
	// Ref is the full ref to run. If it is empty, the head of Issue is run.
	Ref string
	// Object is what the ref points to, which may be an annotated tag, and SHA is the commit; one of them is enough.
	Object, SHA string
	Trigger     v1alpha1.Trigger
	// Issue is the issue or pull request that asks; if it is 0, the reporter searches for one.
	Issue int
	// Suites are the suites to run; empty means all.
	Suites []string
	// NamedSHA is the commit, or the first 12 digits or more of it, that the command names. Code of a fork is run only if it is the head.
	NamedSHA string
	// Environment is the environment that was asked for; empty means the default.
	Environment string
	// Profiles, Keep, RerunOf, OnlyFailed and On are those of the RunSpec.
	Profiles      []string
	Keep, RerunOf string
	OnlyFailed    bool
	On            string
}

// Start creates a Run: it checks the authority table, finds the commit and its trust, and copies the operator's limits. If a Run of this
// name exists, Start returns it unchanged. The error is an *authority.Refusal if the table denies the request, and a terminal failure if
// the API server rejects the Run's content.
func (s *Service) Start(ctx context.Context, req Request) (*v1alpha1.Run, error) {
	log := s.logger().With("trace", cmp.Or(req.Trigger.Delivery, req.Name), "repository", req.Repository.FullName(), "run", req.Name)
	// What is denied at every trust is refused before GitHub is asked: strangers must not cost API calls.
	if err := authorize(log, req.By, actions[req.Trigger.Kind], ""); err != nil {
		return nil, err
	}
	trust, err := s.resolve(ctx, &req)
	if err != nil {
		return nil, err
	}
	if err := authorize(log, req.By, actions[req.Trigger.Kind], trust); err != nil {
		return nil, err
	}
	if trust == v1alpha1.TrustFork {
		if err := s.approve(ctx, req); err != nil {
			return s.approved(ctx, log, req, err)
		}
	}
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Name: req.Name, Namespace: s.Namespace,
			Labels: map[string]string{v1alpha1.LabelRepository: strconv.FormatInt(req.Repository.ID, 10)},
		},
		Spec: v1alpha1.RunSpec{
			Repository: req.Repository, InstallationID: req.InstallationID, Ref: req.Ref, SHA: req.SHA, Object: req.Object, Trust: trust,
			Trigger: req.Trigger, Actor: req.By.Actor, Issue: req.Issue, Suites: req.Suites, Ceilings: s.Ceilings(),
			Profiles: req.Profiles, Keep: req.Keep, RerunOf: req.RerunOf, OnlyFailed: req.OnlyFailed, On: req.On,
		},
	}
	err = s.Client.Create(ctx, run)
	switch {
	case err == nil:
		log.Info("run started", "sha", req.SHA, "trust", trust, "actor", req.By.Actor.Login)
		return run, nil
	case apierrors.IsAlreadyExists(err):
		log.Info("run exists already")
		return s.Get(ctx, req.Name)
	case apierrors.IsInvalid(err):
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The API server rejected the run")
	}
	return nil, fmt.Errorf("create run %s: %w", req.Name, err)
}

// authorize checks the authority table and logs refusals.
func authorize(log *slog.Logger, by authority.Subject, action authority.Action, trust v1alpha1.TrustLevel) error {
	err := authority.Check(by, action, trust)
	if err != nil {
		log.Info("request refused", "actor", by.Actor.Login, "action", action, "trust", trust, "reason", err)
	}
	return err
}

// approve checks that a request names the head of a fork's pull request, as authority.CheckNamed wants it.
func (s *Service) approve(ctx context.Context, req Request) error {
	if !s.Forks {
		return authority.NoForks()
	}
	var commits []string
	if authority.IsShort(req.NamedSHA, req.SHA) {
		var err error
		if commits, err = s.GitHub.PullCommits(ctx, req.InstallationID, req.Repository, req.Issue); err != nil {
			return fmt.Errorf("list the commits of #%d: %w", req.Issue, err)
		}
	}
	return authority.CheckNamed(req.By, req.NamedSHA, req.SHA, commits)
}

// approved returns the Run that the request has started before, if the head moved after that; else the error of its approval.
func (s *Service) approved(ctx context.Context, log *slog.Logger, req Request, denied error) (*v1alpha1.Run, error) {
	if _, isRefused := errors.AsType[*authority.Refusal](denied); !isRefused {
		return nil, denied
	}
	run, err := s.Get(ctx, req.Name)
	if errors.Is(err, ErrNotFound) {
		log.Info("request refused", "actor", req.By.Actor.Login, "action", actions[req.Trigger.Kind], "trust", v1alpha1.TrustFork, "reason", denied)
		return nil, denied
	}
	return run, err
}

// resolve completes the ref and the commit of a request and returns the trust of the code.
func (s *Service) resolve(ctx context.Context, req *Request) (v1alpha1.TrustLevel, error) {
	if req.Ref == "" {
		head, err := s.GitHub.Head(ctx, req.InstallationID, req.Repository, req.Issue)
		if err != nil {
			return "", fmt.Errorf("find the head of #%d: %w", req.Issue, err)
		}
		req.Ref, req.SHA = head.Ref, head.SHA
		if head.Fork {
			return v1alpha1.TrustFork, nil
		}
	}
	if req.SHA == "" {
		var err error
		if req.SHA, err = s.GitHub.Commit(ctx, req.InstallationID, req.Repository, req.Object); err != nil {
			return "", fmt.Errorf("find the commit of %s: %w", req.Ref, err)
		}
	}
	protected, err := s.GitHub.Protected(ctx, req.InstallationID, req.Repository, req.SHA)
	switch {
	case err != nil:
		return "", fmt.Errorf("find the trust of %s: %w", req.SHA, err)
	case protected:
		return v1alpha1.TrustProtected, nil
	}
	return v1alpha1.TrustUnprotected, nil
}
