//go:build e2e && !long

package e2e

import (
	"testing"
	"time"
)

// TestLeaderKilled kills the leader in mid-run, at random moments. Its long form is TestLeaderKilledFortyTimes.
func TestLeaderKilled(t *testing.T) { killing(t, 3, 3*time.Second) }

// TestAPIServerAway pauses the API server briefly. Its long form is TestAPIServerAwayForAMinute.
func TestAPIServerAway(t *testing.T) { awayFor(t, 15*time.Second) }
