package run

import (
	"fmt"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/report"
)

// checkSize refuses a plan whose Run would not fit into its bound.
func (r *Reconciler) checkSize(run *v1alpha1.Run, p *Plan) error {
	if err := r.outline(run, p).Check(run); err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, nil, "The plan is too large: %v", err)
	}
	return nil
}

// outline is what a plan has a Run list.
func (r *Reconciler) outline(run *v1alpha1.Run, p *Plan) compact.Plan {
	out := compact.Plan{Repository: r.Registry.Repository(run.Spec.Repository, ""), Services: p.Project.Services(), Addresses: map[string]string{}}
	for _, b := range p.Builds {
		out.Builds = append(out.Builds, b.Name)
	}
	for _, t := range p.Suites {
		out.Suites = append(out.Suites, compact.Suite{Name: t.Name, Shards: t.Test.Shards, Tries: t.Test.Retry + 1})
	}
	seen := map[string]bool{}
	for _, service := range out.Services {
		names := p.Project.HookImages(service)
		if name, ok := p.Project.Image(service); ok && p.ServiceBuilds[service] == "" {
			names = append(names, name)
		}
		for _, name := range names {
			if _, isBuilt := p.buildOf(name); !isBuilt && !seen[name] {
				seen[name] = true
				out.Images = append(out.Images, name)
			}
		}
	}
	for _, public := range p.Config.Stack.Public {
		out.Addresses[public.Service] = forward(run, public.Service, public.Port)
		if host := r.Settings.Stacks.Host; host != "" {
			address := jobs.Public{Run: run, Service: public.Service, Port: int32(public.Port), Host: host}
			out.Addresses[public.Service] = r.Settings.Stacks.Scheme + "://" + address.Hostname()
		}
	}
	return out
}

// forward is the command that reaches a service without a public address.
func forward(run *v1alpha1.Run, service string, port int) string {
	return fmt.Sprintf("kubectl -n %s port-forward service/%s %d:%d", jobs.StackName(run), service, port, port)
}

// leaveToRecord takes the ends of logs and the failures out of a Run once the record holds them and GitHub has been brought to them:
// what is left to report is the end of the stack, and for that they are read from the record.
func (s *state) leaveToRecord() {
	run := s.run
	if told(run) && s.is(v1alpha1.ConditionRecorded) && compact.CanFold(s.status()) && run.Status.Report.Digest == report.Digest(run, endedSuites(run)) {
		compact.Fold(s.status())
	}
}
