package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
)

// owner is the field manager of everything that Conductor applies.
const owner = "conductor"

// stack brings the services up in dependency order: each as soon as its image is known and what it depends on is there.
func (r *Reconciler) stack(ctx context.Context, s *state) error {
	if s.plan == nil || !s.open(v1alpha1.ConditionStackReady) {
		return nil
	}
	if s.time(v1alpha1.ConditionStackReady).StartedAt == nil {
		s.begin(v1alpha1.ConditionStackReady, "Making the namespace")
	}
	r.lookUp(s)
	stack, err := r.convert(s)
	if err != nil {
		return err
	}
	s.noteFindings(stack)
	if err := r.namespace(ctx, s, stack); err != nil {
		return err
	}
	r.noteAnswers(s) // Making the namespace took a while: the next look starts what it can.
	pods, err := r.stacks.pods(ctx, s.run)
	if err != nil {
		return err
	}
	if len(pods) == 0 { // None yet, or somebody deleted the namespace.
		if err := r.own(ctx, s.run, s.status().Namespace); err != nil {
			return err
		}
	}
	if err := r.services(ctx, s, stack, pods); err != nil {
		return err
	}
	return r.gate(ctx, s, stack, pods)
}

// convert turns the compose project into objects, with the images known so far.
func (r *Reconciler) convert(s *state) (*compose.Stack, error) {
	return r.Convert(s.run, s.plan, r.imagesIn(s))
}

// convertAll is convert with the services that are tests.
func (r *Reconciler) convertAll(s *state) (*compose.Stack, error) {
	return r.convertPlan(s.run, s.plan, r.imagesIn(s))
}

// imagesIn are the images as this look has found them.
func (r *Reconciler) imagesIn(s *state) Images {
	if s.images == nil {
		s.images = r.imagesOf(s.run, s.plan)
	}
	return s.images.Images
}

// Convert makes of a plan the objects of a Run's stack; `conductor plan` prints what it makes. Services that are tests are no part of
// the stack.
func (r *Reconciler) Convert(run *v1alpha1.Run, p *Plan, images Images) (*compose.Stack, error) {
	stack, err := r.convertPlan(run, p, images)
	if err != nil {
		return nil, err
	}
	stack.Services = slices.DeleteFunc(stack.Services, func(svc compose.Service) bool { return p.tests(svc.Name) })
	return stack, nil
}

func (r *Reconciler) convertPlan(run *v1alpha1.Run, p *Plan, images Images) (*compose.Stack, error) {
	egress, err := jobs.Egress(r.Settings.Stacks.Egress)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's egress list is not valid")
	}
	o := r.bounds(run).options(p.Config)
	o.Namespace, o.Labels, o.PullSecret, o.Egress = jobs.StackName(run), jobs.Labels(run, jobs.StageStack), r.pullSecret(run), egress
	o.Images, o.HookImages, o.ImageConfigs, o.ImagesPending = images.References, images.Hooks, images.Configs, images.Pending
	stack, err := compose.Convert(p.Project, o)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "%v", err)
	}
	return stack, nil
}

// bounds are what the operator allows a Run: the ceilings that it began with, but for allowances that were taken back since.
func (r *Reconciler) bounds(run *v1alpha1.Run) Bounds {
	b := Bounds{
		Ceilings: run.Spec.Ceilings, OwnRegistry: r.ownRegistry(), OwnProject: r.Registry.Repository(run.Spec.Repository, ""),
		Fork: run.Spec.Trust == v1alpha1.TrustFork,
	}
	b.Ceilings.Allow = v1alpha1.Both(run.Spec.Ceilings.Allow, r.Settings.Stacks.Allow)
	return b
}

// ownRegistry is where the images of all repositories are.
func (r *Reconciler) ownRegistry() string {
	return strings.TrimSuffix(r.Settings.Registry.Host+"/"+r.Settings.Registry.Prefix, "/")
}

// namespace makes the stack's namespace and everything in it that no service waits for.
func (r *Reconciler) namespace(ctx context.Context, s *state, stack *compose.Stack) error {
	if s.status().Namespace != "" {
		return nil
	}
	ns := jobs.Namespace(s.run, len(stack.Allowed) > 0)
	if err := r.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", ns.Name, err)
	}
	if err := r.own(ctx, s.run, ns.Name); err != nil {
		return err
	}
	if err := r.Client.Create(ctx, jobs.RoleBinding(s.run, r.Settings.ServiceAccount, r.Settings.Namespace)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind Conductor's role in %s: %w", ns.Name, err)
	}
	if err := r.Client.Create(ctx, jobs.AgentBinding(s.run)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind the agent's role in %s: %w", ns.Name, err)
	}
	fences, err := r.fences(s.run)
	if err != nil {
		return err
	}
	if err := r.applyFirst(ctx, fences); err != nil {
		return err
	}
	if err := r.createPullSecret(ctx, s.run); err != nil {
		return err
	}
	if err := r.createAgentSecret(ctx, s.run); err != nil {
		return err
	}
	objects := append(jobs.Agent(s.run, r.Settings.Image, r.pullSecret(s.run)), stack.Shared...)
	objects = append(objects, r.public(s)...)
	for _, svc := range stack.Services {
		objects = append(objects, svc.Objects...)
		service(s.status(), svc.Name)
	}
	if err := r.applyFirst(ctx, objects); err != nil {
		return err
	}
	s.status().Namespace = ns.Name
	return nil
}

// fences are the objects that must be there before the first pod.
func (r *Reconciler) fences(run *v1alpha1.Run) ([]client.Object, error) {
	policy, err := jobs.Fence(run, r.Settings.Stacks.Egress)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's egress list is not valid")
	}
	limits, err := jobs.Limits(run)
	if err != nil {
		return nil, failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The operator's ceilings are not valid")
	}
	return append(limits, policy), nil
}

// pullSecret is the name of the stack's pull Secret; empty when the operator gives none.
func (r *Reconciler) pullSecret(run *v1alpha1.Run) string {
	if r.Settings.Registry.PullConfigFile == "" {
		return ""
	}
	return jobs.PullSecretName(run)
}

func (r *Reconciler) createPullSecret(ctx context.Context, run *v1alpha1.Run) error {
	if r.pullSecret(run) == "" {
		return nil
	}
	config, err := r.Registry.PullConfig(ctx, run.Spec.Repository)
	if err != nil {
		return fmt.Errorf("make a pull credential: %w", err)
	}
	if err := r.Client.Create(ctx, jobs.PullSecret(run, config)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the pull secret: %w", err)
	}
	return nil
}

// own makes sure that a namespace of this name is this Run's: a name alone is no proof.
func (r *Reconciler) own(ctx context.Context, run *v1alpha1.Run, name string) error {
	ns, err := r.getNamespace(ctx, name)
	if apierrors.IsNotFound(err) {
		return failure.Terminalf(v1alpha1.ReasonDeleted, err, "The namespace %s was deleted", name)
	} else if err != nil {
		return err
	}
	if ns.Labels[v1alpha1.LabelRunUID] != string(run.UID) {
		return failure.Terminalf(v1alpha1.ReasonRefused, nil, "The namespace %s exists and does not belong to this run", name)
	}
	if ns.DeletionTimestamp != nil {
		return failure.Terminalf(v1alpha1.ReasonDeleted, nil, "The namespace %s is being deleted", name)
	}
	return nil
}

// applyFirst applies the first objects in a new namespace. The API server learns of a new RoleBinding, and counts under a new quota,
// a moment after it said that it has them, so a refusal is tried again for a while.
func (r *Reconciler) applyFirst(ctx context.Context, objects []client.Object) error {
	pause := 5 * time.Millisecond
	for {
		err := r.apply(ctx, objects)
		if !apierrors.IsForbidden(err) || pause > time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// apply brings objects to what they should be, several at a time.
func (r *Reconciler) apply(ctx context.Context, objects []client.Object) error {
	return each(objects, func(o client.Object) error {
		//nolint:staticcheck // Patch with client.Apply takes typed objects; Client.Apply wants generated apply configurations.
		if err := r.Client.Patch(ctx, o, client.Apply, client.FieldOwner(owner), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
		}
		return nil
	})
}

// public makes the public addresses, or says how to reach a service without one.
func (r *Reconciler) public(s *state) []client.Object {
	var objects []client.Object
	for _, p := range s.plan.Config.Stack.Public {
		st := service(s.status(), p.Service)
		object := compose.ObjectName(p.Service)
		address := jobs.Public{Run: s.run, Service: p.Service, Object: object, Port: int32(p.Port), Host: r.Settings.Stacks.Host}
		switch {
		case address.Host == "":
			st.PortForward = fmt.Sprintf("kubectl -n %s port-forward service/%s %d:%d", jobs.StackName(s.run), object, p.Port, p.Port)
			continue
		case r.Settings.Stacks.Gateway != "" && !r.hasRoutes():
			st.URLProblem = noGatewayAPI
		case r.Settings.Stacks.Gateway != "":
			objects = append(objects, jobs.HTTPRoute(address, r.Settings.Stacks.Gateway))
		default:
			objects = append(objects, jobs.Ingress(address, r.Settings.Stacks.IngressClass))
		}
		st.URL = r.Settings.Stacks.Scheme + "://" + address.Hostname()
	}
	return objects
}
