// Package run walks a Run through its stages: checkout, secrets, builds, images, stack, tests, record, report, keep.
//
// Every stage is run on every reconcile, in the order of the slice in reconciler.go. A stage compares what is wanted with
// what is there, moves it one step and returns. What a stage needs from an earlier one it finds in the Run's status or
// does not find yet, and so stages overlap wherever nothing keeps them apart: redis starts while the backend's image is
// still being built.
//
// What a Run applies is computed by package plan, in a child process (planning.go), and computed again whenever more is
// known of the Run's images; stages use the newest plan. What may need much memory, or minutes, is a step: it is in the
// status before it begins, so that a Run that ends the process is found and ended (guard.go), and it is taken beside the
// reconcile workers, which wait for none (steps.go).
//
// The stages are the table in package stage, which explains how to add one; their functions are named in reconciler.go.
package run
