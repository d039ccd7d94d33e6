// Package plan computes every object that a run will apply, from the repository's files, the known images and the operator's
// settings. The stages of a run apply what it returns, and `conductor plan` prints it; no other package decides what a run consists of.
//
// Make reads the files, which are not trusted: Conductor calls it in a child process with limits (package child). The plan comes back
// as data (codec.go); its methods make the objects that do not depend on the files (objects.go).
package plan
