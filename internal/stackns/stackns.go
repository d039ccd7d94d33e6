// Package stackns makes, guards and deletes the namespaces that Conductor fills for others: the stack of a Run, and whatever else gets a
// namespace of its own. A namespace belongs to the object whose UID its label has; a name alone proves nothing.
package stackns

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

const (
	// fieldManager owns every field that Conductor applies.
	fieldManager = "conductor"
	// appliesAtOnce is how many objects are applied at a time.
	appliesAtOnce = 8
	// orphanAge spares younger namespaces: their owner may have been made a moment ago.
	orphanAge = time.Minute
)

// Owner is the object that a namespace belongs to.
type Owner struct {
	// Label is the namespace's label with the UID of the owner, such as v1alpha1.LabelRunUID.
	Label string
	UID   types.UID
}

// OfRun is a Run as an owner.
func OfRun(run *v1alpha1.Run) Owner { return Owner{Label: v1alpha1.LabelRunUID, UID: run.UID} }

// Namespaces are those that one Conductor made.
type Namespaces struct {
	// Client writes. What decides is read with Kube, from the API server itself and not from a cache.
	Client client.Client
	Kube   kubernetes.Interface
	// Conductor is Conductor's own namespace. Another Conductor in the cluster has another one.
	Conductor string
}

// Create makes a namespace and the role bindings that give Conductor its rights there. What exists already is left as it is, if it
// belongs to the owner.
func (n Namespaces) Create(ctx context.Context, namespace client.Object, owner Owner, bindings []client.Object) error {
	name := namespace.GetName()
	switch err := n.Client.Create(ctx, namespace); {
	case apierrors.IsAlreadyExists(err):
		if err := n.Verify(ctx, name, owner); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	for _, binding := range bindings {
		if err := n.Client.Create(ctx, binding); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the role binding %s in %s: %w", binding.GetName(), name, err)
		}
	}
	return nil
}

// Get reads a namespace.
func (n Namespaces) Get(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace, err := n.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get namespace %s: %w", name, err)
	}
	return namespace, nil
}

// Verify returns a terminal failure where a namespace is not the owner's, or is gone or going.
func (n Namespaces) Verify(ctx context.Context, name string, owner Owner) error {
	namespace, err := n.Get(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return failure.Terminalf(v1alpha1.ReasonDeleted, err, "The namespace %s was deleted", name)
	case err != nil:
		return err
	case namespace.Labels[owner.Label] != string(owner.UID):
		return failure.Terminalf(v1alpha1.ReasonRefused, nil, "The namespace %s exists and does not belong to this run", name)
	case namespace.DeletionTimestamp != nil:
		return failure.Terminalf(v1alpha1.ReasonDeleted, nil, "The namespace %s is being deleted", name)
	}
	return nil
}

// Apply brings objects to what they should be, several at a time, by server-side apply.
func (n Namespaces) Apply(ctx context.Context, objects []client.Object) error {
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(appliesAtOnce)
	for i, object := range objects {
		group.Go(func() error {
			object = object.DeepCopyObject().(client.Object) // The answer is written into it, and the caller's may be used again.
			//nolint:staticcheck // Patch with client.Apply takes typed objects; Client.Apply wants generated apply configurations.
			if err := n.Client.Patch(ctx, object, client.Apply, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
				errs[i] = fmt.Errorf("apply %s %s: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
			}
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// CreateSecret creates a Secret, which is never read back; one that exists is left as it is.
func (n Namespaces) CreateSecret(ctx context.Context, secret *corev1.Secret) error {
	if err := n.Client.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the secret %s in %s: %w", secret.Name, secret.Namespace, err)
	}
	return nil
}

// ApplyPolicies applies network policies to a namespace that may be on its way out, where they are not needed.
func (n Namespaces) ApplyPolicies(ctx context.Context, policies []client.Object) error {
	err := n.Apply(ctx, policies)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// Delete deletes a namespace that Conductor made for the owner, and returns it for as long as it exists; nil where there is none of
// the owner's.
func (n Namespaces) Delete(ctx context.Context, name string, owner Owner) (*corev1.Namespace, error) {
	namespace, err := n.Get(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	case namespace.Labels[v1alpha1.LabelManaged] != v1alpha1.ManagedValue || namespace.Labels[owner.Label] != string(owner.UID):
		return nil, nil
	case namespace.DeletionTimestamp != nil:
		return namespace, nil
	}
	return namespace, n.delete(ctx, namespace)
}

func (n Namespaces) delete(ctx context.Context, namespace *corev1.Namespace) error {
	gone := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace.Name}}
	err := n.Client.Delete(ctx, gone, client.Preconditions{UID: &namespace.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete namespace %s: %w", namespace.Name, err)
	}
	return nil
}

// Selector selects what this Conductor made.
func (n Namespaces) Selector() string {
	return labels.SelectorFromSet(labels.Set{v1alpha1.LabelManaged: v1alpha1.ManagedValue, v1alpha1.LabelConductor: n.Conductor}).String()
}

// List lists the namespaces that this Conductor made.
func (n Namespaces) List(ctx context.Context) ([]corev1.Namespace, error) {
	list, err := n.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: n.Selector()})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return list.Items, nil
}

// DeleteOrphan deletes a namespace of a kind of owner, named by its label, whose owner does not exist any more. It reports whether it
// did.
func (n Namespaces) DeleteOrphan(ctx context.Context, namespace *corev1.Namespace, label string, now time.Time, exists func(uid types.UID) (bool, error)) (bool, error) {
	uid := namespace.Labels[label]
	if uid == "" || namespace.DeletionTimestamp != nil || now.Sub(namespace.CreationTimestamp.Time) < orphanAge {
		return false, nil
	}
	alive, err := exists(types.UID(uid))
	if err != nil || alive {
		return false, err
	}
	return true, n.delete(ctx, namespace)
}
