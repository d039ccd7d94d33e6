//go:build faults

package settings

import "time"

// shortestLease is shorter in builds that tests kill.
const shortestLease = time.Second
