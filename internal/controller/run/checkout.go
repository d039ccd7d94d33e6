package run

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// reconcileCheckout reads the repository's files at the Run's SHA and has the Run planned, and planned again whenever more is known of its images.
// After a restart it reads them again: the same commit makes the same plan. The stages that follow use the newest plan that there is.
func (r *Reconciler) reconcileCheckout(ctx context.Context, s *state) error {
	if !r.plans.has(s.run.UID) || r.steps.has(s.run.UID, stepCheckout) {
		if s.isOpen(v1alpha1.ConditionCheckedOut) {
			s.begin(v1alpha1.ConditionCheckedOut, "Reading "+plan.ConfigFile+" and the compose files at "+shortSHA(s.run.Spec.SHA))
		}
		if err := r.takeStep(s, stepCheckout, r.checkOut); err != nil {
			return err
		}
	}
	newest, err := r.plans.load(s.run, r.Settings)
	if err != nil {
		return err
	}
	if s.plan = newest; newest != nil {
		r.notePlan(s)
	}
	if newest == nil { // With a plan, the images stage finds its images and asks for the next plan.
		s.images = r.knownImages(s.run, nil)
		if err := r.requestPlan(s); err != nil {
			return err
		}
	}
	if err := r.plans.lastFailure(s.run.UID); err != nil { // This wait is for no other Run: the stage's deadline counts it.
		return failure.Waitingf(v1alpha1.ReasonUnavailable, time.Minute, "%s", failure.Of(err).Sentence)
	}
	if s.plan == nil {
		return waitForOthersf(time.Minute, "%s", planWait(r.plans.position()))
	}
	return nil
}

// checkOut brings the files of a Run's commit to disk, and meanwhile finds its issue and its branch.
func (r *Reconciler) checkOut(ctx context.Context, run *v1alpha1.Run) taken {
	var hints found
	var asking sync.WaitGroup
	if run.Status.IssueSource == "" {
		asking.Go(func() {
			var err error
			if hints, err = findIssue(ctx, r.GitHub, run); err != nil { // The reporter asks again.
				r.Log.Warn("the issue of a run could not be found yet", "run", run.Name, "error", err)
			}
		})
	}
	files, err := r.fetchSource(ctx, run)
	asking.Wait()
	note := func(s *state) {
		hints.note(s.status())
		s.status().Source = run.Status.Source // It may be gone.
	}
	if err != nil {
		return taken{err: err, note: func(s *state) error { note(s); return nil }}
	}
	add := sync.OnceValue(func() error { return r.plans.add(run.UID, files) })
	return taken{drop: files.Close, note: func(s *state) error { note(s); return add() }}
}

// requestPlan has the Run planned of what is known, and fetches the files that the plan wants besides.
func (r *Reconciler) requestPlan(s *state) error {
	var absent []string
	if !r.steps.has(s.run.UID, stepFiles) {
		var err error
		if absent, err = r.plans.request(s.run, r.planInput(s)); err != nil || len(absent) == 0 {
			return err
		}
		r.plans.repeatAbsent(s.run.UID, absent) // The step may not begin at once. Once it has them, it is another plan.
	}
	files := r.plans.files(s.run.UID)
	err := r.takeStep(s, stepFiles, func(ctx context.Context, run *v1alpha1.Run) taken {
		return taken{err: r.fetchFiles(ctx, run, files, absent)}
	})
	if err == nil {
		s.requeueAfter(time.Millisecond)
	}
	return err
}

// planWait is the sentence for a Run whose plan is being made beside n-1 others.
func planWait(n int) string {
	if n < 2 {
		return "Planning what to build, start and test"
	}
	return fmt.Sprintf("Waiting to be planned: %s are planned one after the other (planning.atOnce)", text.Plural(n, "run"))
}

// planInput is what the Run is planned from, as far as it is known.
func (r *Reconciler) planInput(s *state) plan.Input {
	return plan.Input{Settings: r.Settings, OwnProject: r.Registry.Repository(s.run.Spec.Repository, ""), Images: s.images.Images}
}

// notePlan notes what the plan has found.
func (r *Reconciler) notePlan(s *state) {
	for _, b := range s.plan.Builds {
		imageStatus(s.status(), b.Name)
	}
	for _, t := range s.plan.Suites {
		suiteStatus(s.status(), t.Name)
	}
	for _, n := range s.plan.Notes {
		s.addNote(n)
	}
	s.addFindings()
	s.status().Keep, s.status().Idle, s.status().KeptAfterClose = s.plan.Keep, nil, s.plan.AfterClose
	if s.plan.Idle > 0 {
		s.status().Idle = &metav1.Duration{Duration: s.plan.Idle}
	}
	s.done(v1alpha1.ConditionCheckedOut, v1alpha1.ReasonDone, fmt.Sprintf("%s: %s to build, %s",
		plan.ConfigFile, text.Plural(len(s.plan.Builds), "image"), text.Plural(len(s.plan.Suites), "suite")))
}

// imageStatus finds or adds an image's status.
func imageStatus(st *v1alpha1.RunStatus, name string) *v1alpha1.ImageStatus {
	return findOrAdd(&st.Images, v1alpha1.ImageStatus{Name: name}, func(i v1alpha1.ImageStatus) bool { return i.Name == name })
}

// suiteStatus finds or adds a suite's status.
func suiteStatus(st *v1alpha1.RunStatus, name string) *v1alpha1.SuiteStatus {
	return findOrAdd(&st.Suites, v1alpha1.SuiteStatus{Name: name}, func(i v1alpha1.SuiteStatus) bool { return i.Name == name })
}

// serviceStatus finds or adds a service's status.
func serviceStatus(st *v1alpha1.RunStatus, name string) *v1alpha1.ServiceStatus {
	return findOrAdd(&st.Services, v1alpha1.ServiceStatus{Name: name, State: v1alpha1.ServiceWaiting}, func(i v1alpha1.ServiceStatus) bool { return i.Name == name })
}

// findOrAdd finds the entry of a list, or adds it.
func findOrAdd[T any](list *[]T, missing T, is func(T) bool) *T {
	i := slices.IndexFunc(*list, is)
	if i < 0 {
		*list = append(*list, missing)
		i = len(*list) - 1
	}
	return &(*list)[i]
}

func shortSHA(sha string) string { return sha[:min(len(sha), 12)] }
