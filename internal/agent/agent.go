// Package agent is the one small pod that Conductor has in each stack's namespace, and both sides of its protocol. The agent
// follows the logs of the namespace, masks them, takes JUnit and artifacts from the wrappers of tests, and hands all of it to
// Conductor. What it is given is on disk before it is acknowledged, and its memory does not grow with what it holds.
package agent

import "github.com/w3evolutionsllc/conductor/internal/evidence"

// Names of the agent's tokens: the keys of its Secret and the files below --tokens. TokenWrapper is good for the wrapper's
// requests only, TokenSource for reading the commit's files only, and TokenConductor for all but that.
const (
	TokenConductor = "conductor"
	TokenWrapper   = "wrapper"
	TokenSource    = "source"
)

// usageAnswer is the answer to GET /v1/usage.
type usageAnswer struct {
	Services map[string]evidence.Usage `json:"services"`
}
