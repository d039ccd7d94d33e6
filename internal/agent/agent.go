// Package agent is the small pod that Conductor runs in each stack's namespace, and both sides of its protocol. The agent follows the
// namespace's logs, masks them, receives JUnit files and artifacts from the test wrappers, and hands all of it to Conductor. It
// acknowledges data only once that data is on disk, and its memory does not grow with the amount it holds.
package agent

import "github.com/w3evolutionsllc/conductor/internal/evidence"

// Names of the agent's tokens: the keys of its Secret and the files below --tokens. TokenWrapper authorizes only the wrapper's
// requests, TokenSource only reads of the commit's files, and TokenConductor everything else.
const (
	TokenConductor = "conductor"
	TokenWrapper   = "wrapper"
	TokenSource    = "source"
)

// usageAnswer is the response to GET /v1/usage.
type usageAnswer struct {
	Services map[string]evidence.Usage `json:"services"`
}
