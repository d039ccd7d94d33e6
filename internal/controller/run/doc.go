// Package run walks a Run through its stages: checkout, secrets, builds, stack, tests, report, keep.
//
// Every stage is looked at on every reconcile, in the order of the slice in reconciler.go. A stage compares what is
// wanted with what is there, moves it one step and returns; it never waits. What a stage needs from an earlier one it
// finds in the Run's status or does not find yet, and so stages overlap wherever nothing keeps them apart: redis starts
// while the backend's image is still being built.
//
// To add a stage: a condition in internal/api/v1alpha1/run_conditions.go, a file here with one function, an entry in
// the slice, and a test.
package run
