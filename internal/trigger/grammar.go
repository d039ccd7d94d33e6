package trigger

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Prefix is the first word of a command's line.
	Prefix = "/conductor"
	// MaxCommands is how many commands of one comment are acted on.
	MaxCommands = 5
	// MaxArgs is how many arguments a command may have; a Run cannot hold more suites.
	MaxArgs = 64
	// maxText is how long a free text such as a reason may be, in characters.
	maxText = 256
)

// Call is what a valid command asks for: a Test, a Cancel or a Help.
type Call interface{ call() }

// Test asks for a Run.
type Test struct {
	// Suites are the suites to run, each once; empty means all.
	Suites []string
}

// Cancel asks for the Runs of the issue or pull request to end.
type Cancel struct {
	// Reason is the author's own text; empty if there is none.
	Reason string
}

// Help asks for the help.
type Help struct{}

func (Test) call()   {}
func (Cancel) call() {}
func (Help) call()   {}

// Verb is one command of the grammar. The grammar is data: the parser, the help and the hints for typos are made from it.
type Verb struct {
	// Name is the word after Prefix.
	Name string
	// Args are the positional arguments, any number of them; nil means none.
	Args *Value
	// Flags are the flags, in the order of the help.
	Flags []Flag
	// Who may use the command, in words.
	Who string
	// Example is a whole line.
	Example string
	// Help is a sentence.
	Help string
	// build makes the typed value of what was parsed.
	build func(input) Call
}

// Flag is one flag of a command. It always has a value.
type Flag struct {
	// Name does not include the dashes.
	Name  string
	Value Value
	// Many allows the flag more than once.
	Many bool
}

// Value is a kind of value that an argument or a flag takes.
type Value struct {
	// Placeholder represents the value in usages; empty leaves it out of them.
	Placeholder string
	// read returns the value of a word, or a sentence about what is wrong with it.
	read func(word string) (value, problem string)
}

// input is what the parser hands to a verb: the values of the arguments and of each flag, in order.
type input struct {
	args  []string
	flags map[string][]string
}

// last returns the last value of a flag, or "" if it was not given.
func (i input) last(flag string) string {
	if all := i.flags[flag]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// Grammar returns every command, in the order of the help.
func Grammar() []Verb {
	const writers = "write permission"
	return []Verb{
		{
			Name: "test", Args: suite("suite..."), Flags: []Flag{{Name: "suite", Value: *suite("NAME"), Many: true}},
			Who: writers, Example: "/conductor test integration",
			Help:  "Runs the integration tests: of a pull request's head, or of the default branch for an issue. Without a suite it runs all of them.",
			build: func(i input) Call { return Test{Suites: unique(i.args, i.flags["suite"])} },
		},
		{
			Name: "cancel", Flags: []Flag{{Name: "reason", Value: freeText("TEXT")}},
			Who: writers, Example: `/conductor cancel --reason "wrong branch"`,
			Help:  "Ends the runs of this issue or pull request that are under way.",
			build: func(i input) Call { return Cancel{Reason: i.last("reason")} },
		},
		{
			Name: "help", Args: &Value{read: func(word string) (string, string) { return word, "" }},
			Who: writers, Example: "/conductor help",
			Help:  "Shows this.",
			build: func(input) Call { return Help{} },
		},
	}
}

// Line is Prefix and the name of the command.
func (v Verb) Line() string { return Prefix + " " + v.Name }

// Usage returns how the command is written.
func (v Verb) Usage() string {
	words := []string{v.Line()}
	if v.Args != nil && v.Args.Placeholder != "" {
		words = append(words, "["+v.Args.Placeholder+"]")
	}
	for _, f := range v.Flags {
		word := fmt.Sprintf("[--%s %s]", f.Name, f.Value.Placeholder)
		if f.Many {
			word += "..."
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// HelpText returns the help, in Markdown.
func HelpText() string {
	var b strings.Builder
	b.WriteString("| Command | What it does | Who may | Example |\n|---|---|---|---|\n")
	for _, v := range Grammar() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", v.Usage(), v.Help, v.Who, v.Example)
	}
	fmt.Fprintf(&b, "\nA command is at the beginning of a line of a new comment, outside code blocks and quotes. "+
		"A comment may have up to %d commands; they are acted on in order.\n", MaxCommands)
	return b.String()
}

// suiteName is how .conductor.yaml names suites: a DNS label, RFC 1123.
var suiteName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// suite reads the name of a suite, in any case: phones capitalize.
func suite(placeholder string) *Value {
	return &Value{Placeholder: placeholder, read: func(word string) (string, string) {
		if word = strings.ToLower(word); !suiteName.MatchString(word) {
			return "", fmt.Sprintf("%s is not the name of a suite.", quote(word))
		}
		return word, ""
	}}
}

// freeText reads a text of limited length.
func freeText(placeholder string) Value {
	return Value{Placeholder: placeholder, read: func(word string) (string, string) {
		word = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, word))
		if utf8.RuneCountInString(word) > maxText {
			return "", fmt.Sprintf("%s is longer than %d characters.", quote(word), maxText)
		}
		return word, ""
	}}
}

// unique concatenates lists and drops repetitions.
func unique(lists ...[]string) []string {
	var out []string
	seen := map[string]bool{}
	for _, list := range lists {
		for _, s := range list {
			if !seen[s] {
				seen[s], out = true, append(out, s)
			}
		}
	}
	return out
}

// quote shows a word of a comment as code. What could end the code or does not print becomes a question mark, and
// long words are truncated.
func quote(word string) string {
	const most = 40
	r := []rune(word)
	truncated := len(r) > most
	if truncated {
		r = r[:most]
	}
	for i, c := range r {
		if c <= ' ' || c >= 0x7f || c == '`' {
			r[i] = '?'
		}
	}
	if truncated {
		return "`" + string(r) + "`…"
	}
	return "`" + string(r) + "`"
}
