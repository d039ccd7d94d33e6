package run

import (
	"cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/report"
)

// checkSize refuses a plan whose Run would not fit into its bound.
func (r *Reconciler) checkSize(run *v1alpha1.Run, p *plan.Plan) error {
	if err := r.outline(run, p).Check(run); err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The plan is too large: %v", err)
	}
	return nil
}

// outline is what a plan has a Run list.
func (r *Reconciler) outline(run *v1alpha1.Run, p *plan.Plan) compact.Plan {
	out := compact.Plan{Repository: r.Registry.Repository(run.Spec.Repository, ""), Addresses: map[string]string{}}
	for _, b := range p.Builds {
		out.Builds = append(out.Builds, b.Name)
	}
	for _, t := range p.Suites {
		out.Suites = append(out.Suites, compact.Suite{Name: t.Name, Shards: t.Test.Shards, Tries: t.Test.Retry + 1})
	}
	for _, svc := range p.Services {
		out.Services = append(out.Services, svc.Name)
	}
	seen := map[string]bool{}
	for _, use := range p.Uses {
		if use.Build == "" && !seen[use.Image] {
			seen[use.Image] = true
			out.Images = append(out.Images, use.Image)
		}
	}
	for _, a := range p.Addresses() {
		out.Addresses[a.Service] = cmp.Or(a.URL, a.PortForward)
	}
	return out
}

// leaveToRecord takes the ends of logs and the failures out of a Run once the record holds them and GitHub has been brought to them:
// what is left to report is the end of the stack, and for that they are read from the record.
func (s *state) leaveToRecord() {
	run := s.run
	if told(run) && s.is(v1alpha1.ConditionRecorded) && compact.CanFold(s.status()) && run.Status.Report.Digest == report.Digest(run, endedSuites(run)) {
		compact.Fold(s.status())
	}
}
