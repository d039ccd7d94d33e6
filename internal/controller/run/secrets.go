package run

import (
	"context"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// reconcileSecrets has the declared secrets synced into the stack's namespace. No secret can be declared yet, so it is done at once.
func (r *Reconciler) reconcileSecrets(_ context.Context, s *state) error {
	if s.plan != nil && s.isOpen(v1alpha1.ConditionSecretsSynced) {
		s.done(v1alpha1.ConditionSecretsSynced, v1alpha1.ReasonNothingToDo, "No secret is declared")
	}
	return nil
}
