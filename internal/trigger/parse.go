package trigger

import (
	"fmt"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// Command is one command of a comment: either it has a Call or a Problem.
type Command struct {
	// Verb is the grammar's name of the command, or the word in its place.
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

// parse makes a Command of the text after Prefix.
func parse(line string) Command {
	words, closed := splitWords(line)
	if len(words) == 0 {
		words = []string{"help"}
	}
	v, problem := findVerb(words[0])
	c := Command{Verb: strings.ToLower(words[0]), Problem: problem}
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
	c.Call = v.build(in)
	return c
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
	in.flags = map[string][]string{}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if strings.HasPrefix(word, "-") {
			if words, problem = v.readFlag(in, word, words); problem != "" {
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
		in.args = append(in.args, value)
	}
	count := len(in.args)
	for _, values := range in.flags {
		count += len(values)
	}
	if count > MaxArgs {
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
func (v Verb) readFlag(in input, word string, rest []string) (_ []string, problem string) {
	name, value, hasValue := strings.Cut(word, "=")
	f, problem := v.findFlag(name)
	if problem != "" {
		return rest, problem
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
	case !f.Many && len(in.flags[f.Name]) > 0:
		return rest, fmt.Sprintf("The flag `--%s` is given more than once.", f.Name)
	}
	in.flags[f.Name] = append(in.flags[f.Name], value)
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
