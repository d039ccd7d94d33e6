// Package failure says what happens after something went wrong, and tells two people about it: the one
// who reads the issue gets a sentence, the operator who reads the log gets the cause.
package failure

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what happens next.
type Kind int

const (
	// Transient: tried again, with growing pauses, until the stage's deadline.
	Transient Kind = iota
	// Waiting: nothing is wrong yet; looked at again after a known time.
	Waiting
	// Terminal: trying again cannot help; a person has to change something.
	Terminal
)

// Error is a failure with its two texts.
type Error struct {
	Kind Kind
	// Reason is one of the api package's reasons; it ends up in a condition.
	Reason string
	// Sentence is for anyone who reads the issue. It holds nothing that the log alone should hold.
	Sentence string
	// After is when a Waiting failure is looked at again.
	After time.Duration
	cause error
}

// Error is the sentence and the cause, for operators.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Sentence
	}
	return e.Sentence + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Terminalf makes a failure that only a person can mend.
func Terminalf(reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: Terminal, Reason: reason, Sentence: fmt.Sprintf(format, args...), cause: cause}
}

// Transientf makes a failure that is tried again.
func Transientf(reason string, cause error, format string, args ...any) *Error {
	return &Error{Kind: Transient, Reason: reason, Sentence: fmt.Sprintf(format, args...), cause: cause}
}

// Waitingf makes a wait that is looked at again after a time.
func Waitingf(reason string, after time.Duration, format string, args ...any) *Error {
	return &Error{Kind: Waiting, Reason: reason, Sentence: fmt.Sprintf(format, args...), After: after}
}

// Of finds the failure in an error's chain. An error that is none is a transient one with a general sentence,
// so that no cause reaches a user by accident.
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

// IsTerminal reports whether trying again cannot help.
func IsTerminal(err error) bool { f := Of(err); return f != nil && f.Kind == Terminal }
