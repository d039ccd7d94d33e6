// Package gauntlet tests Conductor as GitHub and a cluster treat it at their worst: two replicas as processes, which are killed and paused,
// against a real API server and the GitHub of test/github. What was lost and what happened twice is counted from what the senders sent and
// what GitHub has and was asked for, never from Conductor's objects.
//
// There is no node: a Run of a repository without a configuration ends at once, one with a build stays under way.
package gauntlet
