package repoconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is the most problems that are reported at once; they are posted in a comment.
const maxErrors = 50

// Error is one problem in a file.
type Error struct {
	// File is the name passed to Parse. Line and Column start at 1; Column counts characters.
	File         string
	Line, Column int
	// Path is the position in the document, such as tests.e2e.command; empty for the document itself.
	Path string
	// Message describes the problem, without a full stop.
	Message string
	// Source is the line in the file, and Mended what corrects it; both are empty if they are not known. Mended is the whole file if
	// that is empty.
	Source, Mended string
}

// Error returns file:line:column: path: message.
func (e Error) Error() string {
	at := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path != "" {
		at += e.Path + ": "
	}
	return at + e.Message
}

// Errors lists the problems of a file by line, at most 50.
type Errors struct {
	List []Error
	// More is the number of problems that are not in List.
	More int
}

// Error returns one problem per line.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.List)+1)
	for _, one := range e.List {
		lines = append(lines, one.Error())
	}
	if e.More > 0 {
		lines = append(lines, e.more())
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) more() string { return fmt.Sprintf("and %d more", e.More) }

// Unwrap returns the problems for errors.As.
func (e *Errors) Unwrap() []error {
	out := make([]error, len(e.List))
	for i, one := range e.List {
		out[i] = one
	}
	return out
}

// Join returns an *Errors with a list of problems, sorted; nil if the list is empty.
func Join(list []Error) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	list = slices.Compact(list)
	most := min(len(list), maxErrors)
	return &Errors{List: list[:most], More: len(list) - most}
}

// show quotes a string from the file, truncated to keep messages short.
func show(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
