//go:build !faults

package faults

import "github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"

// Between is called when a change of a Run's status from before to now has taken effect but is not stored yet.
func Between(_, _ *v1alpha1.RunStatus) {}

// At is called at a point, which is after an effect and before its record.
func At(_ string) {}
