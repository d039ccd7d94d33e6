// Package faults exits Conductor between an effect and the status update that records it, so that tests can check how the next process
// continues. It does so only in builds with the tag faults, which are never shipped; in all other builds its functions are empty.
package faults

// The points at which acting on a delivery can exit; the points of a Run are its status updates.
const (
	// Started: the Run of a tag or a command was created, but no Delivery names it yet.
	Started = "started"
	// Stored: the Delivery was created, but GitHub did not get its 202.
	Stored = "delivery-stored"
	// Taken: a delivery of GitHub's log was stored, but the point in the log was not moved.
	Taken = "delivery-taken"
	// Canceled: the Runs of a command were canceled.
	Canceled = "delivery-canceled"
	// Replied: the reply to a comment was written.
	Replied = "delivery-replied"
	// Reacted: the reaction to a comment was added.
	Reacted = "delivery-reacted"
	// Acted: everything that a delivery asks for was done.
	Acted = "delivery-acted"
)
