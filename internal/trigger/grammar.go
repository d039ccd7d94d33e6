package trigger

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// Prefix is what a command's line begins with.
const Prefix = "/conductor"

// MaxArgs is how many arguments a command may have; a Run holds no more suites.
const MaxArgs = 64

// Verb is one command of the grammar, which is data: the parser, the decision, the help text and the answer to a slip of the finger are made
// of it.
type Verb struct {
	// Name is the word after Prefix.
	Name string
	// Args is how the arguments are written in the help; empty when there are none.
	Args string
	// Who may give the command, in words.
	Who string
	// Example is a whole line.
	Example string
	// Help is a sentence.
	Help string
	// Action is what it asks for.
	Action Action
	// check says what is wrong with the arguments; "" when nothing is.
	check func(args []string) string
}

// Usage is how the command is written.
func (v Verb) Usage() string { return strings.TrimSpace(Prefix + " " + v.Name + " " + v.Args) }

// Grammar is every command, in the order of the help.
func Grammar() []Verb {
	const writers = "write permission"
	return []Verb{
		{"test", "[suite...]", writers, "/conductor test integration",
			"Runs the integration tests: of a pull request's head, or of the default branch for an issue. Without a suite it runs all of them.", Start, suites},
		{"cancel", "", writers, "/conductor cancel",
			"Ends the runs of this issue or pull request that are under way.", Cancel, nothing},
		{"help", "", writers, "/conductor help",
			"Shows this.", Help, anything},
	}
}

// suiteName is how .conductor.yaml lets a suite be named: a DNS label, RFC 1123.
var suiteName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func suites(args []string) string {
	for _, a := range args {
		if !suiteName.MatchString(a) {
			return fmt.Sprintf("%s is not the name of a suite.", quote(a))
		}
	}
	return ""
}

func nothing(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return fmt.Sprintf("This command takes no arguments (got %s).", quote(args[0]))
}

func anything([]string) string { return "" }

// HelpText is the help, in Markdown.
func HelpText() string {
	var b strings.Builder
	b.WriteString("| Command | What it does | Who may | Example |\n|---|---|---|---|\n")
	for _, v := range Grammar() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", v.Usage(), v.Help, v.Who, v.Example)
	}
	b.WriteString("\nA command stands at the beginning of a line of a new comment; the first one of a comment counts.\n")
	return b.String()
}

// check makes a Command of the words after Prefix.
func check(words []string) Command {
	if len(words) == 0 {
		return Command{Name: "help", Action: Help}
	}
	c := Command{Name: strings.ToLower(words[0]), Action: Help}
	for _, a := range words[1:] {
		if a = strings.ToLower(a); !slices.Contains(c.Args, a) {
			c.Args = append(c.Args, a)
		}
	}
	var names []string
	for _, v := range Grammar() {
		names = append(names, v.Name)
		if v.Name != c.Name {
			continue
		}
		c.Action = v.Action
		if c.Problem = v.check(c.Args); len(c.Args) > MaxArgs {
			c.Problem = fmt.Sprintf("A command takes at most %d words.", MaxArgs)
		}
		return c
	}
	c.Problem = fmt.Sprintf("There is no command %s.", quote(words[0]))
	if near := nearest.Word(c.Name, names); near != "" {
		c.Problem += fmt.Sprintf(" Did you mean `%s %s`?", Prefix, near)
	}
	return c
}

// quote shows a word of a comment as code. What could end the code or does not print becomes a question mark, and
// long words are cut.
func quote(word string) string {
	const most = 40
	r := []rune(word)
	cut := len(r) > most
	if cut {
		r = r[:most]
	}
	for i, c := range r {
		if c <= ' ' || c >= 0x7f || c == '`' {
			r[i] = '?'
		}
	}
	if cut {
		return "`" + string(r) + "`…"
	}
	return "`" + string(r) + "`"
}
