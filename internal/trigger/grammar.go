package trigger

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
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

// Call is what a valid command asks for: one of the types below.
type Call interface{ call() }

// Test asks for a Run.
type Test struct {
	// Suites are the suites to run, each once; empty means all.
	Suites []string
	// Keep is how long the stack is kept, a duration or Forever; empty means as the repository's file has it.
	Keep string
}

// Rerun asks for a Run that repeats another one.
type Rerun struct {
	// Run is the name of that Run; empty means the last one of the issue that has finished.
	Run string
	// Failed selects the suites that did not pass.
	Failed bool
}

// Cancel asks for the Runs of the issue or pull request to end.
type Cancel struct {
	// Reason is the author's own text; empty if there is none.
	Reason string
}

// Status asks for the state of the Runs and stacks of the issue.
type Status struct{}

// Extend asks for the kept stacks of the issue to be kept longer.
type Extend struct {
	// For is counted from the comment; Forever asks for no end instead.
	For     time.Duration
	Forever bool
}

// Down asks for the kept stacks of the issue to be deleted.
type Down struct{}

// Help asks for the help.
type Help struct {
	// Verb is the command to explain; empty means all of them.
	Verb string
}

func (Test) call()   {}
func (Rerun) call()  {}
func (Cancel) call() {}
func (Status) call() {}
func (Extend) call() {}
func (Down) call()   {}
func (Help) call()   {}

// Verb is one command of the grammar. The grammar is data: the parser, the help and the hints for typos are made from it.
type Verb struct {
	// Name is the word after Prefix.
	Name string
	// Args are the positional arguments; nil means none.
	Args *Value
	// Most is how many arguments the verb takes at most; 0 means any number. Needs means that one has to be there.
	Most  int
	Needs bool
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

// Flag is one flag of a command.
type Flag struct {
	// Name does not include the dashes.
	Name string
	// Value is the kind of value; the zero value means that the flag does not have one.
	Value Value
	// Many allows the flag more than once.
	Many bool
}

// Value is a kind of value that an argument or a flag takes.
type Value struct {
	// Placeholder represents the value in usages; empty leaves it out of them.
	Placeholder string
	// read returns the value of a word, or a sentence about what is wrong with it. It drops a word by an empty value.
	read func(word string) (value, problem string)
}

// isSwitch reports whether the flag does not have a value.
func (f Flag) isSwitch() bool { return f.Value.read == nil }

// input is what the parser hands to a verb: the values of the arguments and of the flags, in order.
type input struct {
	args  []string
	flags []v1alpha1.CommandFlag
}

// all returns the values of a flag.
func (i input) all(flag string) []string {
	var values []string
	for _, f := range i.flags {
		if f.Name == flag {
			values = append(values, f.Value)
		}
	}
	return values
}

// first returns the first argument, or "".
func (i input) first() string {
	if len(i.args) == 0 {
		return ""
	}
	return i.args[0]
}

// last returns the last value of a flag, or "" if it was not given.
func (i input) last(flag string) string {
	if all := i.all(flag); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// Grammar returns every command, in the order of the help.
func Grammar() []Verb {
	const writers = "write permission"
	return []Verb{
		{
			Name: "test", Args: suite("suite..."), Flags: []Flag{{Name: "suite", Value: *suite("NAME"), Many: true}, {Name: "keep", Value: *keepFor("TIME")}},
			Who: writers, Example: "/conductor test integration --keep 4h",
			Help: "Runs the integration tests: of a pull request's head, or of the default branch for an issue. Without a suite it runs all of them. " +
				"`--keep` is how long the stack stays, such as 4h or forever.",
			build: func(i input) Call { return Test{Suites: unique(i.args, i.all("suite")), Keep: i.last("keep")} },
		},
		{
			Name: "rerun", Args: &Value{Placeholder: "RUN", read: runName}, Most: 1, Flags: []Flag{{Name: "failed"}},
			Who: writers, Example: "/conductor rerun --failed",
			Help:  "Repeats the last finished run of this issue or pull request, or the named one: the same commit with the same suites. `--failed` runs only the suites that did not pass.",
			build: func(i input) Call { return Rerun{Run: i.first(), Failed: len(i.all("failed")) > 0} },
		},
		{
			Name: "cancel", Flags: []Flag{{Name: "reason", Value: freeText("TEXT")}},
			Who: writers, Example: `/conductor cancel --reason "wrong branch"`,
			Help:  "Ends the runs of this issue or pull request that are under way.",
			build: func(i input) Call { return Cancel{Reason: i.last("reason")} },
		},
		{
			Name: "status", Who: writers, Example: "/conductor status",
			Help:  "Lists the runs of this issue or pull request that are in progress, and its kept stacks.",
			build: func(input) Call { return Status{} },
		},
		{
			Name: "extend", Args: keepFor("TIME"), Most: 1, Needs: true, Who: writers, Example: "/conductor extend 4h",
			Help:  "Keeps the stacks of this issue or pull request for at least this time from now, such as 4h or forever.",
			build: func(i input) Call { return extension(i.first()) },
		},
		{
			Name: "down", Who: writers, Example: "/conductor down",
			Help:  "Deletes the kept stacks of this issue or pull request. The results stay.",
			build: func(input) Call { return Down{} },
		},
		{
			Name: "help", Args: &Value{Placeholder: "command", read: verbName}, Most: 1,
			Who: writers, Example: "/conductor help test",
			Help:  "Shows this, or one command.",
			build: func(i input) Call { return Help{Verb: i.first()} },
		},
	}
}

// Line is Prefix and the name of the command.
func (v Verb) Line() string { return Prefix + " " + v.Name }

// Usage returns how the command is written.
func (v Verb) Usage() string {
	words := []string{v.Line()}
	switch {
	case v.Args == nil:
	case v.Needs:
		words = append(words, v.Args.Placeholder)
	default:
		words = append(words, "["+v.Args.Placeholder+"]")
	}
	for _, f := range v.Flags {
		word := "[" + f.usage() + "]"
		if f.Many {
			word += "..."
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// usage returns how the flag is written.
func (f Flag) usage() string {
	if f.isSwitch() {
		return "--" + f.Name
	}
	return "--" + f.Name + " " + f.Value.Placeholder
}

// HelpFor returns the help for one command, in Markdown; that for all of them if the grammar does not have it.
func HelpFor(verb string) string {
	for _, v := range Grammar() {
		if v.Name == verb {
			return fmt.Sprintf("`%s`\n\n%s\n\nWho may: %s. Example: `%s`\n", v.Usage(), v.Help, v.Who, v.Example)
		}
	}
	return HelpText()
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

// Forever is the time of a stack that is kept without an end.
const Forever = "forever"

// keepFor reads the time for which a stack is kept.
func keepFor(placeholder string) *Value {
	return &Value{Placeholder: placeholder, read: func(word string) (string, string) {
		word = strings.ToLower(word)
		if d, err := time.ParseDuration(word); word != Forever && (err != nil || d <= 0 || len(word) > 32) {
			return "", fmt.Sprintf("%s is not a time such as 30m, 4h or forever.", quote(word))
		}
		return strings.TrimPrefix(word, "+"), ""
	}}
}

// extension returns the command for a time that keepFor has read.
func extension(word string) Extend {
	d, _ := time.ParseDuration(word) // Forever is not one.
	return Extend{For: d, Forever: word == Forever}
}

// runNames are the names of Runs: DNS subdomains, RFC 1123.
var runNames = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// runName reads the name of a Run.
func runName(word string) (string, string) {
	if word = strings.ToLower(word); !runNames.MatchString(word) {
		return "", fmt.Sprintf("%s is not the name of a run.", quote(word))
	}
	return word, ""
}

// verbName reads the name of a command, and drops other words.
func verbName(word string) (string, string) {
	v, _ := findVerb(word)
	return v.Name, ""
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
