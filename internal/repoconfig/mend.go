package repoconfig

import (
	"bytes"
	"errors"
	"strings"
)

const (
	// maxLine is the longest line that is quoted, in characters, and maxQuoted how many problems are shown with their lines.
	maxLine   = 160
	maxQuoted = 5
)

// Minimal returns the shortest file: one suite with a command, which must be a plain scalar in YAML.
func Minimal(command string) string { return "version: 1\ntests:\n  integration: " + command + "\n" }

// AnyCommand stands in a minimal file for a command that is not known.
const AnyCommand = "YOUR TEST COMMAND"

// linesOf splits a file into lines. The columns of YAML nodes do not count a byte order mark.
func linesOf(data []byte) []string {
	return strings.Split(strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\r\n", "\n"), "\n")
}

// quote sets the line of a problem and, if it is known what to write instead of the text at its position, the corrected line.
func (e *Error) quote(file []string, was, instead string) {
	if e.Line < 1 || e.Line > len(file) {
		return
	}
	line := []rune(file[e.Line-1])
	if len(line) > maxLine || strings.TrimSpace(string(line)) == "" {
		return
	}
	e.Source = string(line)
	if instead == "" || e.Column < 1 || e.Column > len(line) {
		return
	}
	before, rest := string(line[:e.Column-1]), string(line[e.Column-1:])
	for _, mark := range []string{"", `"`, `'`} {
		if after, ok := strings.CutPrefix(rest, mark+was+mark); ok && was != "" {
			e.Mended = before + instead + after
			return
		}
	}
}

// Explain returns the problems of a file, one per line, as Error does. The first five are followed by their line in the file, as in a
// diff: unchanged, or with the corrected line if that is known.
func Explain(err error) string {
	var all *Errors
	if !errors.As(err, &all) {
		return err.Error()
	}
	var out []string
	for i, e := range all.List {
		if out = append(out, e.Error()); i < maxQuoted {
			out = append(out, e.diff()...)
		}
	}
	if all.More > 0 {
		out = append(out, all.more())
	}
	return strings.Join(out, "\n")
}

// diff returns the line of a problem and its correction; nil if the line is not known.
func (e Error) diff() []string {
	var out []string
	mended := strings.Split(strings.TrimSuffix(e.Mended, "\n"), "\n")
	switch {
	case e.Mended == "" && e.Source == "":
		return nil
	case e.Mended == "":
		return []string{" " + e.Source}
	case e.Source != "":
		out = append(out, "-"+e.Source)
	}
	for _, line := range mended {
		out = append(out, "+"+line)
	}
	return out
}
