package run

import (
	"context"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// secrets has the declared secrets synced into the stack's namespace. No secret can be declared yet, so it is done at once.
func (r *Reconciler) secrets(_ context.Context, s *state) error {
	if s.plan != nil && s.open(v1alpha1.ConditionSecretsSynced) {
		s.done(v1alpha1.ConditionSecretsSynced, v1alpha1.ReasonNothingToDo, "No secret is declared")
	}
	return nil
}
