// Package faults ends Conductor between an effect and the note of it, so that tests see what the next process makes of that. It
// does so only in builds with the tag faults, which no one ships; in every other build its functions are empty.
package faults
