package plan

import (
	"cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compact"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// Limits of one run. The first three are also limits of a Run's status (api/v1alpha1/run_types.go).
const (
	MaxBuilds   = 64
	MaxSuites   = 64
	MaxServices = 256
	// MaxObjects bounds the objects of one stack.
	MaxObjects = 1000
)

// check refuses a plan that is too large for a Run or for the API server.
func (m *maker) check() error {
	p := m.plan
	for _, c := range []struct {
		have, most   int
		what, advice string
	}{
		{len(p.Builds), MaxBuilds, "images to build", "Share images between services, or build some of them elsewhere"},
		{len(p.Suites), MaxSuites, "suites of tests", "Join some of them, or name the suites to run"},
		{len(p.Services), MaxServices, "services", "Leave some of them out with a profile"},
		{len(p.StackObjects()), MaxObjects, "objects in the stack", "Use fewer services, mounted files, networks or aliases"},
	} {
		if c.have > c.most {
			return failure.Terminalf(v1alpha1.ReasonRefused, nil, "The run has %d %s; the limit is %d. %s.", c.have, c.what, c.most, c.advice)
		}
	}
	if err := p.outline(m.in.OwnProject).Check(m.in.Run); err != nil {
		return failure.Terminalf(v1alpha1.ReasonRefused, nil, "The plan is too large: %v", err)
	}
	return nil
}

// outline is what a Run's status will list. Images are pushed below a project, host/path.
func (p *Plan) outline(project string) compact.Plan {
	out := compact.Plan{Repository: project, Addresses: map[string]string{}}
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
