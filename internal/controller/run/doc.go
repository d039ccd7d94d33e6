// Package run walks a Run through its stages: checkout, secrets, builds, images, stack, tests, record, report, keep.
//
// Every stage runs on every reconcile, in the order of stage.Table; once the outcome is known, only those that always run. A stage compares
// the desired with the actual state, moves it one step and returns. What it needs from an earlier stage it finds in the Run's status, or not
// yet. So stages overlap wherever nothing keeps them apart: redis starts while the image of the backend is still being built.
//
// Package plan computes what a Run applies, in a child process (planning.go), and again whenever more is known of the Run's images; stages
// use the newest plan. Work that may take minutes or much memory is a step. It is in the status before it begins, so that a Run that kills
// the process is found and ended (guard.go), and it runs beside the reconcile workers, which never wait for it (steps.go).
//
// What the process holds of a Run is its session (session.go). Package stage has the table of stages and explains how to add one; their
// functions are named in reconciler.go.
package run
