package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// checkout reads the repository's files at the Run's SHA and plans the Run. After a restart it reads them again: the
// same commit makes the same plan.
func (r *Reconciler) checkout(ctx context.Context, s *state) error {
	if s.plan = r.plans.get(s.run.UID); s.plan != nil {
		return nil
	}
	if s.open(v1alpha1.ConditionCheckedOut) {
		s.begin(v1alpha1.ConditionCheckedOut, "Reading "+ConfigFile+" and the compose files at "+short(s.run.Spec.SHA))
	}
	plan, err := r.readPlan(ctx, s.run)
	if err != nil {
		return err
	}
	r.plans.put(s.run.UID, plan)
	s.plan = plan
	for _, b := range plan.Builds {
		image(s.status(), b.Name)
	}
	for _, t := range plan.Suites {
		suite(s.status(), t.Name)
	}
	for _, n := range plan.Notes {
		s.note(n)
	}
	r.lookUp(s)
	if keep, forever := keepFor(plan.Config.Keep, s.run.Spec.Ceilings); forever {
		s.status().Keep = "forever"
	} else {
		s.status().Keep = keep.String()
	}
	s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, fmt.Sprintf("%s: %s to build, %s",
		ConfigFile, count(len(plan.Builds), "image"), count(len(plan.Suites), "suite")))
	return nil
}

func (r *Reconciler) readPlan(ctx context.Context, run *v1alpha1.Run) (*Plan, error) {
	dir, err := os.MkdirTemp(r.Dir, "checkout-")
	if err != nil {
		return nil, failure.Transientf(v1alpha1.ReasonDiskFull, err, "Conductor has no room for the checkout")
	}
	err = r.GitHub.Checkout(ctx, run.Spec.InstallationID, run.Spec.Repository, run.Spec.SHA, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return nil, failure.Transientf(v1alpha1.ReasonDiskFull, err, "Conductor has no room for the checkout")
		}
		return nil, fmt.Errorf("check out %s at %s: %w", run.Spec.Repository.FullName(), run.Spec.SHA, err)
	}
	plan, err := NewPlan(dir, run.Spec.Suites, r.bounds(run))
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := r.checkSize(run, plan); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return plan, nil
}

// image finds or adds an image's status.
func image(st *v1alpha1.RunStatus, name string) *v1alpha1.ImageStatus {
	return entry(&st.Images, v1alpha1.ImageStatus{Name: name}, func(i v1alpha1.ImageStatus) bool { return i.Name == name })
}

// suite finds or adds a suite's status.
func suite(st *v1alpha1.RunStatus, name string) *v1alpha1.SuiteStatus {
	return entry(&st.Suites, v1alpha1.SuiteStatus{Name: name}, func(i v1alpha1.SuiteStatus) bool { return i.Name == name })
}

// service finds or adds a service's status.
func service(st *v1alpha1.RunStatus, name string) *v1alpha1.ServiceStatus {
	return entry(&st.Services, v1alpha1.ServiceStatus{Name: name, State: v1alpha1.ServiceWaiting}, func(i v1alpha1.ServiceStatus) bool { return i.Name == name })
}

// entry finds the entry of a list, or adds it.
func entry[T any](list *[]T, missing T, is func(T) bool) *T {
	i := slices.IndexFunc(*list, is)
	if i < 0 {
		*list = append(*list, missing)
		i = len(*list) - 1
	}
	return &(*list)[i]
}

func short(sha string) string { return sha[:min(len(sha), 12)] }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
