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
	"github.com/w3evolutionsllc/conductor/internal/stackns"
)

// grantDelay is how long the API server may take to learn of a new RoleBinding, and to count under a new quota. Until then it refuses
// what Conductor applies.
const grantDelay = 3 * time.Second

// reconcileStack brings the services up in dependency order: each as soon as its image is known and what it depends on is there.
func (r *Reconciler) reconcileStack(ctx context.Context, s *state) error {
	if s.plan == nil || !s.isOpen(v1alpha1.ConditionStackReady) {
		return nil
	}
	if s.stageTime(v1alpha1.ConditionStackReady).StartedAt == nil {
		s.begin(v1alpha1.ConditionStackReady, "Making the namespace")
	}
	made := s.status().Namespace == ""
	if err := r.ensureNamespace(ctx, s); err != nil {
		return err
	}
	r.requestImages(s) // Making the namespace took a while: the next reconcile starts what it can.
	pods, err := r.stacks.pods(ctx, s.run)
	if f := failure.Of(err); f != nil && (f.Kind != failure.Waiting || !made) { // A namespace that was just made has no pods.
		return err
	}
	if len(pods) == 0 && !made { // None yet, or the namespace was deleted.
		if err := r.namespaces().Verify(ctx, s.status().Namespace, stackns.OfRun(s.run)); err != nil {
			return err
		}
	}
	if err := r.reconcileServices(ctx, s, pods); err != nil {
		return err
	}
	return r.passGate(ctx, s, pods)
}

// namespaces are those of stacks.
func (r *Reconciler) namespaces() stackns.Namespaces {
	return stackns.Namespaces{Client: r.Client, Kube: r.Kube, Conductor: r.Settings.Namespace}
}

// ensureNamespace makes the stack's namespace and everything in it that no service waits for.
func (r *Reconciler) ensureNamespace(ctx context.Context, s *state) error {
	if s.status().Namespace != "" {
		return nil
	}
	namespace := s.plan.Namespace()
	if !r.sessions.madeNamespace(s.run.UID) {
		if err := r.namespaces().Create(ctx, namespace, stackns.OfRun(s.run), s.plan.Bindings()); err != nil {
			return err
		}
		r.sessions.noteNamespace(s.run.UID, true)
	}
	err := r.fillNamespace(ctx, s)
	if apierrors.IsNotFound(err) { // It was deleted meanwhile: Create finds out.
		r.sessions.noteNamespace(s.run.UID, false)
	}
	if since := s.now.Sub(s.stageTime(v1alpha1.ConditionStackReady).StartedAt.Time); apierrors.IsForbidden(err) && since < grantDelay {
		return failure.Waitingf(v1alpha1.ReasonPending, max(5*time.Millisecond, since/2), "Making the namespace")
	} else if err != nil {
		return err
	}
	s.status().Namespace = namespace.GetName()
	return nil
}

// fillNamespace applies the guardrails first: they have to exist before the first pod.
func (r *Reconciler) fillNamespace(ctx context.Context, s *state) error {
	guardrails, err := s.plan.Guardrails()
	if err != nil {
		return err
	}
	if err := r.namespaces().Apply(ctx, guardrails); err != nil {
		return err
	}
	if err := r.createSecrets(ctx, s); err != nil {
		return err
	}
	objects := slices.Concat(s.plan.Agent(), s.plan.Shared, r.noteAddresses(s))
	for _, svc := range s.plan.Services {
		objects = append(objects, svc.Objects...)
		serviceStatus(s.status(), svc.Name)
	}
	if err := r.namespaces().Apply(ctx, objects); err != nil {
		return err
	}
	return r.applyContents(ctx, s.plan.file)
}

// createSecrets creates the Secrets that Conductor's own pods and the kubelet use: the pull credential, the agent's tokens, and the
// credential for the source artifact.
func (r *Reconciler) createSecrets(ctx context.Context, s *state) error {
	run := s.run
	tokens, err := r.Agents.Tokens(run)
	if err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidConfig, err, "The stack cannot start: Conductor has no key for the tokens of its agent. Ask your Conductor operator")
	}
	secrets := []*corev1.Secret{jobs.AgentSecret(run, tokens)}
	if r.Settings.Registry.PullConfigFile != "" {
		config, err := r.Registry.PullConfig(ctx, run.Spec.Repository)
		if err != nil {
			return fmt.Errorf("make a pull credential: %w", err)
		}
		secrets = append(secrets, jobs.PullSecret(run, config))
		if s.plan.Source {
			secrets = append(secrets, jobs.SourceSecret(run, config))
		}
	}
	for _, secret := range secrets {
		if err := r.namespaces().CreateSecret(ctx, secret); err != nil {
			return err
		}
	}
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
		return r.namespaces().Apply(ctx, batch)
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

// noteAddresses notes the public addresses, or how to reach a service without one, and returns the objects that make them.
func (r *Reconciler) noteAddresses(s *state) []client.Object {
	var objects []client.Object
	for _, a := range s.plan.Addresses() {
		st := serviceStatus(s.status(), a.Service)
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
