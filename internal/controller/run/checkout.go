package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// checkout reads the repository's files at the Run's SHA and plans the Run. After a restart it reads them again: the
// same commit makes the same plan.
func (r *Reconciler) checkout(ctx context.Context, s *state) error {
	if s.plan = r.plans.get(s.run.UID); s.plan != nil && !s.open(v1alpha1.ConditionCheckedOut) {
		return nil
	}
	if s.open(v1alpha1.ConditionCheckedOut) {
		s.begin(v1alpha1.ConditionCheckedOut, "Reading "+ConfigFile+" and the compose files at "+short(s.run.Spec.SHA))
	}
	plan, err := r.planOf(ctx, s.run)
	if errors.Is(err, errWaiting) {
		// Others go first, for as long as they take: that is not a fault of this stage, and its deadline does not count it.
		wait := failure.Of(err)
		if s.open(v1alpha1.ConditionCheckedOut) {
			s.begin(v1alpha1.ConditionCheckedOut, wait.Sentence)
		}
		s.lookAgain(wait.After)
		return nil
	}
	if err != nil {
		return err
	}
	s.plan = plan
	if s.status().Source == nil && plan.Files != nil {
		s.status().Source = plan.Files.Source // The reconcile that made it may not have been noted.
	}
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

// planOf is the plan of a Run, which is made when it is not there.
func (r *Reconciler) planOf(ctx context.Context, run *v1alpha1.Run) (*Plan, error) {
	if plan := r.plans.get(run.UID); plan != nil {
		return plan, nil
	}
	plan, err := r.readPlan(ctx, run)
	if err != nil {
		return nil, err
	}
	r.plans.put(run.UID, plan)
	return plan, nil
}

func (r *Reconciler) readPlan(ctx context.Context, run *v1alpha1.Run) (*Plan, error) {
	files, err := r.fetchSource(ctx, run)
	if err != nil {
		return nil, err
	}
	plan, err := NewPlan(files.Dir, run.Spec.Suites, r.bounds(run))
	if err != nil {
		files.Close()
		return nil, err
	}
	plan.Files = files
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
