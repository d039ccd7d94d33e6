//go:build !faults

package settings

import "time"

// shortestLease gives a leader time for more than one attempt with a slow API server.
const shortestLease = 3 * time.Second
