package plan

import (
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// Namespace is the stack's namespace. Like Bindings, it is created and never updated.
func (p *Plan) Namespace() client.Object { return jobs.Namespace(p.run, len(p.Allowed) > 0) }

// Bindings are the rights of Conductor and of the agent in the stack's namespace.
func (p *Plan) Bindings() []client.Object {
	return []client.Object{jobs.RoleBinding(p.run, p.settings.ServiceAccount, p.settings.Namespace), jobs.AgentBinding(p.run)}
}

// Guardrails are the quota, limits and network policy that must exist before the first pod.
func (p *Plan) Guardrails() ([]client.Object, error) {
	policy, err := jobs.EgressPolicy(p.run, p.settings.Stacks.Egress)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's egress list (stacks.egress) is not valid")
	}
	limits, err := jobs.Limits(p.run)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's ceilings are not valid")
	}
	return append(limits, policy), nil
}

// Agent are the objects of the stack's agent.
func (p *Plan) Agent() []client.Object {
	return jobs.Agent(p.run, jobs.AgentInput{
		Image: p.settings.Image, PullSecret: p.pullSecret(), Source: p.Source,
		Credential: p.settings.Registry.PullConfigFile != "", Insecure: p.settings.Registry.Insecure,
	})
}

// pullSecret is the name of the stack's pull Secret; empty if the operator configured none.
func (p *Plan) pullSecret() string {
	if p.settings.Registry.PullConfigFile == "" {
		return ""
	}
	return jobs.PullSecretName(p.run)
}

// Address is how people reach a service: at a public address, or with a command.
type Address struct {
	Service string
	// URL is the public address, and Object the Ingress or HTTPRoute behind it.
	URL    string
	Object client.Object
	// PortForward is the command to use without a public address.
	PortForward string
}

// Addresses are the addresses of the services in stack.public.
func (p *Plan) Addresses() []Address {
	var out []Address
	set := p.settings.Stacks
	for _, public := range p.Public {
		address := jobs.Public{Run: p.run, Service: public.Service, Object: p.objectOf(public.Service), Port: int32(public.Port), Host: set.Host}
		a := Address{Service: public.Service}
		switch {
		case set.Host == "":
			a.PortForward = fmt.Sprintf("kubectl -n %s port-forward service/%s %d:%d", jobs.StackName(p.run), address.Object, public.Port, public.Port)
			out = append(out, a)
			continue
		case set.Gateway != "":
			a.Object = jobs.HTTPRoute(address, set.Gateway)
		default:
			a.Object = jobs.Ingress(address, set.IngressClass)
		}
		a.URL = set.Scheme + "://" + address.Hostname()
		out = append(out, a)
	}
	return out
}

// objectOf is the name of a service's objects.
func (p *Plan) objectOf(service string) string {
	for _, svc := range p.Services {
		if svc.Name == service {
			return svc.Object
		}
	}
	return service
}

// StackObjects are the objects of the converted project: shared ones first, then Services and the like, then the workloads.
func (p *Plan) StackObjects() []client.Object {
	out := make([]client.Object, 0, len(p.Contents)+len(p.Shared)+3*len(p.Services))
	for _, content := range p.Contents {
		out = append(out, content)
	}
	out = append(out, p.Shared...)
	for _, svc := range p.Services {
		out = append(out, svc.Objects...)
	}
	for _, svc := range p.Services {
		out = append(out, svc.Workload)
	}
	return out
}

// Names supplies what is unknown before a run: where images are pushed, and the commands of images.
type Names struct {
	// Repository is where a build pushes its image, and Reference is that image.
	Repository, Reference func(build string) string
	// Argv is the command of a suite that only the configuration of its image defines.
	Argv func(s *Suite, image string) []string
}

// Objects are all objects of a run except Secrets, in the order of creation: builds, the namespace with its policies, the stack, the
// first attempt of each suite, and the policies that close the stack after the tests.
func (p *Plan) Objects(names Names) ([]client.Object, error) {
	var out []client.Object
	for _, b := range p.Builds {
		job, err := p.BuildJob(b, names.Repository(b.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, job)
	}
	guardrails, err := p.Guardrails()
	if err != nil {
		return nil, err
	}
	out = slices.Concat(append(out, p.Namespace()), p.Bindings(), guardrails, p.Agent())
	status := p.run.DeepCopy()
	for _, a := range p.Addresses() {
		if a.Object != nil {
			out = append(out, a.Object)
		}
		status.Status.Services = append(status.Status.Services, v1alpha1.ServiceStatus{Name: a.Service, URL: a.URL})
	}
	out = append(out, p.StackObjects()...)
	for i := range p.Suites {
		s := &p.Suites[i]
		image := s.Image
		if s.Build != "" {
			image = names.Reference(s.Build)
		}
		argv := s.Argv(nil)
		if len(argv) == 0 {
			argv = names.Argv(s, image)
		}
		for shard := range s.Test.Shards {
			out = append(out, p.TestJob(s, shard, 1, image, argv))
		}
	}
	return append(out, jobs.IngressPolicies(status, p.settings.Stacks.IngressNamespaces)...), nil
}
