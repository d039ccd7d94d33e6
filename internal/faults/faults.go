// Package faults exits Conductor between an effect and the status update that records it, so that tests can check how the next process
// continues. It does so only in builds with the tag faults, which are never shipped; in all other builds its functions are empty.
package faults
