package trigger

import (
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// Command is one command of a comment: either it has a Call or a Problem.
type Command struct {
	// Verb is the grammar's name of the command; empty if the grammar does not have it.
	Verb string
	// Call is what the command asks for.
	Call Call
	// Problem is a sentence about what is wrong with the command.
	Problem string
}

// String names the command in logs and reasons.
func (c Command) String() string {
	if c.Problem != "" {
		return "an invalid command"
	}
	return c.Verb
}

// parse parses the text after Prefix. Of the text it keeps only what the grammar recognizes: names of verbs and flags, and their values.
func parse(line string) v1alpha1.Command {
	words, closed := splitWords(line)
	if len(words) == 0 {
		words = []string{"help"}
	}
	v, problem := findVerb(words[0])
	c := v1alpha1.Command{Verb: v.Name, Problem: problem}
	if problem != "" {
		return c
	}
	if !closed {
		c.Problem = fmt.Sprintf("A quotation mark in `%s` is not closed.", v.Line())
		return c
	}
	in, problem := v.read(words[1:])
	if problem != "" {
		c.Problem = problem
		return c
	}
	c.Args, c.Flags = in.args, in.flags
	return c
}

// Resolve returns what a parsed command asks for. It reads the values again: the command may have been stored by another version, with
// another grammar.
func Resolve(parsed v1alpha1.Command) Command {
	c := Command{Verb: parsed.Verb, Problem: parsed.Problem}
	if c.Problem != "" {
		return c
	}
	v, problem := findVerb(parsed.Verb)
	if problem != "" {
		return Command{Problem: problem}
	}
	var words []string
	for _, f := range parsed.Flags {
		word := "--" + f.Name
		if f.Value != "" {
			word += "=" + f.Value
		}
		words = append(words, word)
	}
	in, problem := v.read(append(words, parsed.Args...))
	if problem != "" {
		c.Problem = problem
		return c
	}
	c.Call = v.build(in)
	return c
}

// TooLong returns a command of the same verb with the problem that it is too long to be stored.
func TooLong(c v1alpha1.Command) v1alpha1.Command {
	return v1alpha1.Command{Verb: c.Verb, Problem: fmt.Sprintf(
		"`%s %s` is too long together with the other commands. Put it into a comment of its own, with fewer arguments.", Prefix, c.Verb)}
}

// findVerb returns the verb of a name, or a sentence with the nearest one.
func findVerb(word string) (Verb, string) {
	var names []string
	for _, v := range Grammar() {
		if strings.EqualFold(v.Name, word) {
			return v, ""
		}
		names = append(names, v.Name)
	}
	problem := fmt.Sprintf("Unknown command %s.", quote(word))
	if near := nearest.Word(word, names); near != "" {
		problem += fmt.Sprintf(" Did you mean `%s %s`?", Prefix, near)
	}
	return Verb{}, problem
}

// read sorts the words after a verb into arguments and flags. The problem is a sentence about the first word that does not fit.
func (v Verb) read(words []string) (in input, problem string) {
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if strings.HasPrefix(word, "-") {
			if words, problem = v.readFlag(&in, word, words); problem != "" {
				return in, problem
			}
			continue
		}
		if v.Args == nil {
			return in, v.unexpected(word, in)
		}
		value, problem := v.Args.read(word)
		if problem != "" {
			return in, problem
		}
		if value != "" {
			in.args = append(in.args, value)
		}
	}
	switch {
	case v.Needs && len(in.args) == 0:
		return in, fmt.Sprintf("`%s` needs an argument: `%s %s`.", v.Line(), v.Line(), v.Args.Placeholder)
	case v.Most > 0 && len(in.args) > v.Most:
		return in, fmt.Sprintf("`%s` takes one argument (got %d).", v.Line(), len(in.args))
	}
	if count := len(in.args) + len(in.flags); count > MaxArgs {
		return in, fmt.Sprintf("`%s` takes at most %d arguments (got %d).", v.Line(), MaxArgs, count)
	}
	return in, ""
}

// unexpected is the problem of an argument that the verb does not take.
func (v Verb) unexpected(word string, in input) string {
	problem := fmt.Sprintf("`%s` takes no arguments (got %s).", v.Line(), quote(word))
	if len(in.flags) > 0 {
		problem += " Put the value of a flag in quotes if it has several words."
	}
	return problem
}

// readFlag reads a flag, with its value behind = or in the next word, and returns the words after it.
func (v Verb) readFlag(in *input, word string, rest []string) (_ []string, problem string) {
	name, value, hasValue := strings.Cut(word, "=")
	f, problem := v.findFlag(name)
	if problem != "" {
		return rest, problem
	}
	if f.isSwitch() {
		if hasValue {
			return rest, fmt.Sprintf("The flag `--%s` does not have a value.", f.Name)
		}
		in.flags = append(in.flags, v1alpha1.CommandFlag{Name: f.Name})
		return rest, ""
	}
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		value, rest = rest[0], rest[1:]
	}
	if value != "" {
		if value, problem = f.Value.read(value); problem != "" {
			return rest, problem
		}
	}
	switch {
	case value == "":
		return rest, fmt.Sprintf("The flag `--%s` needs a value: `--%s %s`.", f.Name, f.Name, f.Value.Placeholder)
	case !f.Many && len(in.all(f.Name)) > 0:
		return rest, fmt.Sprintf("The flag `--%s` is given more than once.", f.Name)
	}
	in.flags = append(in.flags, v1alpha1.CommandFlag{Name: f.Name, Value: value})
	return rest, ""
}

// findFlag returns the flag of a word, or a sentence with the nearest one.
func (v Verb) findFlag(word string) (Flag, string) {
	name, long := strings.CutPrefix(word, "--")
	var names []string
	for _, f := range v.Flags {
		if long && strings.EqualFold(f.Name, name) {
			return f, ""
		}
		names = append(names, f.Name)
	}
	problem := fmt.Sprintf("`%s` does not have the flag %s.", v.Line(), quote(word))
	if near := nearest.Word(strings.TrimLeft(name, "-"), names); near != "" {
		problem += fmt.Sprintf(" Did you mean `--%s`?", near)
	}
	return Flag{}, problem
}
