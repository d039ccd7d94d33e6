// Package plan computes every object that a run will apply, from the repository's files, what is known of the images, and the
// operator's settings. The stages of a run apply what it returns, and `conductor plan` prints it; nothing else says what a run is made of.
//
// Make reads the files, which are a stranger's: Conductor calls it in a child process with limits (package child). What comes back is
// data (codec.go), and the objects that depend on no file are made of it by methods, wherever the plan is used (objects.go).
package plan
