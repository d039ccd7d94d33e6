package run

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/plan"
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
	if err := r.namespace(ctx, s); err != nil {
		return err
	}
	r.noteAnswers(s) // Making the namespace took a while: the next reconcile starts what it can.
	pods, err := r.stacks.pods(ctx, s.run)
	if err != nil {
		return err
	}
	if len(pods) == 0 { // None yet, or the namespace was deleted.
		if err := r.own(ctx, s.run, s.status().Namespace); err != nil {
			return err
		}
	}
	if err := r.services(ctx, s, pods); err != nil {
		return err
	}
	return r.gate(ctx, s, pods)
}

// namespace makes the stack's namespace and everything in it that no service waits for.
func (r *Reconciler) namespace(ctx context.Context, s *state) error {
	if s.status().Namespace != "" {
		return nil
	}
	ns := s.plan.Namespace()
	if err := r.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", ns.GetName(), err)
	}
	if err := r.own(ctx, s.run, ns.GetName()); err != nil {
		return err
	}
	for _, binding := range s.plan.Bindings() {
		if err := r.Client.Create(ctx, binding); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the role binding %s in %s: %w", binding.GetName(), ns.GetName(), err)
		}
	}
	fences, err := s.plan.Fences()
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
	if s.plan.Source {
		if err := r.createSourceSecret(ctx, s.run); err != nil {
			return err
		}
	}
	objects := slices.Concat(s.plan.Agent(), s.plan.Shared, r.public(s))
	for _, svc := range s.plan.Services {
		objects = append(objects, svc.Objects...)
		service(s.status(), svc.Name)
	}
	if err := r.applyFirst(ctx, objects); err != nil {
		return err
	}
	if err := r.applyContents(ctx, s.plan.file); err != nil {
		return err
	}
	s.status().Namespace = ns.GetName()
	return nil
}

// contentsAtOnce is how many ConfigMaps of files are in memory at a time.
const contentsAtOnce = 8

// applyContents applies the ConfigMaps with the files that the stack mounts, out of the file of a plan.
func (r *Reconciler) applyContents(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open the plan: %w", err)
	}
	defer f.Close()
	var batch []client.Object
	flush := func() error {
		defer func() { batch = batch[:0] }()
		return r.applyFirst(ctx, batch)
	}
	err = plan.ReadContents(f, func(content *corev1.ConfigMap) error {
		if batch = append(batch, content); len(batch) < contentsAtOnce {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
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
		o = o.DeepCopyObject().(client.Object) // The answer is written into it, and a plan's objects are used again.
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
	for _, a := range s.plan.Addresses() {
		st := service(s.status(), a.Service)
		st.URL, st.PortForward = a.URL, a.PortForward
		switch {
		case a.Object == nil:
		case r.Settings.Stacks.Gateway != "" && !r.hasRoutes():
			st.URLProblem = noGatewayAPI
		default:
			objects = append(objects, a.Object)
		}
	}
	return objects
}
