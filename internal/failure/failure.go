// Package failure describes errors for two audiences: a sentence for people who read the issue, and a cause for the operator who reads
// the log. It also classifies what happens next.
package failure

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what happens next.
type Kind int

const (
	// Transient: retried with backoff until the stage's deadline.
	Transient Kind = iota
	// Waiting: not an error yet; checked again after a known time.
	Waiting
	// Terminal: a retry cannot help; a person has to change something.
	Terminal
)

// Error is a failure with its two texts.
type Error struct {
	Kind Kind
	// Reason is one of package v1alpha1's reasons, for a condition.
	Reason string
	// Sentence is for everyone who reads the issue. It must not contain anything that belongs only in the log.
	Sentence string
	// After is the time until a Waiting failure is checked again.
	After time.Duration
	cause error
}

// Error returns the sentence and the cause, for operators.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Sentence
	}
	return e.Sentence + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Terminalf returns a failure that a person has to fix.
func Terminalf(reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: Terminal, Reason: reason, Sentence: fmt.Sprintf(format, args...), cause: cause}
}

// Transientf returns a failure that is retried.
func Transientf(reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: Transient, Reason: reason, Sentence: fmt.Sprintf(format, args...), cause: cause}
}

// Waitingf returns a wait that is checked again after a time.
func Waitingf(reason string, after time.Duration, format string, args ...any) *Error {
	return &Error{Kind: Waiting, Reason: reason, Sentence: fmt.Sprintf(format, args...), After: after}
}

// Of returns the failure in an error's chain. Any other error becomes a transient failure with a general sentence, so that its text
// cannot reach a user by accident.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Transient, Reason: "Unavailable", Sentence: "A service that Conductor depends on did not answer", cause: err}
}

// IsTerminal reports whether a retry cannot help.
func IsTerminal(err error) bool { f := Of(err); return f != nil && f.Kind == Terminal }
