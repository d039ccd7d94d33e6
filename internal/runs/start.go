package runs

import (
	"context"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// GitHub is what starting a Run asks GitHub.
type GitHub interface {
	// Commit is the commit that an object, which may be an annotated tag, names.
	Commit(ctx context.Context, installation int64, repo v1alpha1.Repository, object string) (string, error)
	// Protected reports whether a commit is the head of a protected branch.
	Protected(ctx context.Context, installation int64, repo v1alpha1.Repository, sha string) (bool, error)
}

// Request asks for a Run.
type Request struct {
	// Name identifies what asked: a request with the name of a Run that exists is that Run.
	Name           string
	Repository     v1alpha1.Repository
	InstallationID int64
	// Ref is the full ref that is to be run.
	Ref string
	// Object is what the ref points to where that may be an annotated tag, SHA the commit; one of them is enough.
	Object, SHA string
	Trigger     v1alpha1.Trigger
	Actor       v1alpha1.Actor
	// Issue is the issue that asks; 0 has the reporter look for one.
	Issue int
	// Suites are the suites to run; none means all.
	Suites []string
}

// Start makes a Run: it finds the commit, how far that is trusted, and the operator's limits. Where a Run of this name exists, it was
// started before, and that one is returned as it is. What the API server refuses for what is in it is a terminal failure.
func (s *Service) Start(ctx context.Context, req Request) (*v1alpha1.Run, error) {
	if req.SHA == "" {
		var err error
		if req.SHA, err = s.GitHub.Commit(ctx, req.InstallationID, req.Repository, req.Object); err != nil {
			return nil, fmt.Errorf("find the commit of %s: %w", req.Ref, err)
		}
	}
	trust, err := s.trust(ctx, req)
	if err != nil {
		return nil, err
	}
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Name: req.Name, Namespace: s.Namespace,
			Labels: map[string]string{v1alpha1.LabelRepository: strconv.FormatInt(req.Repository.ID, 10)},
		},
		Spec: v1alpha1.RunSpec{
			Repository: req.Repository, InstallationID: req.InstallationID, Ref: req.Ref, SHA: req.SHA, Object: req.Object, Trust: trust,
			Trigger: req.Trigger, Actor: req.Actor, Issue: req.Issue, Suites: req.Suites, Ceilings: s.Ceilings(),
		},
	}
	err = s.Client.Create(ctx, run)
	switch {
	case err == nil:
		return run, nil
	case apierrors.IsAlreadyExists(err):
		return s.Get(ctx, req.Name)
	case apierrors.IsInvalid(err):
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The API server does not take the run")
	}
	return nil, fmt.Errorf("create run %s: %w", req.Name, err)
}

// trust is how far the code of a request is trusted.
func (s *Service) trust(ctx context.Context, req Request) (v1alpha1.TrustLevel, error) {
	protected, err := s.GitHub.Protected(ctx, req.InstallationID, req.Repository, req.SHA)
	switch {
	case err != nil:
		return "", fmt.Errorf("find out how far %s is trusted: %w", req.SHA, err)
	case protected:
		return v1alpha1.TrustProtected, nil
	}
	return v1alpha1.TrustUnprotected, nil
}
