package trigger

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// test, cancel and problem are commands as Parse returns them.
func test(suites ...string) Command { return Command{Verb: "test", Call: Test{Suites: suites}} }
func cancel(reason string) Command  { return Command{Verb: "cancel", Call: Cancel{Reason: reason}} }

// parsed parses a comment, stores its commands as a Delivery does, and resolves them.
func parsed(body string) (commands []Command, more int) {
	all, more := Parse(body)
	for _, c := range all {
		commands = append(commands, Resolve(c))
	}
	return commands, more
}

func help() Command { return Command{Verb: "help", Call: Help{}} }
func problem(verb, text string) Command {
	return Command{Verb: verb, Problem: text}
}

func TestParseFindsCommands(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		want       Command
	}{
		{"alone", "/conductor test", test()},
		{"suites", "/conductor test api e2e", test("api", "e2e")},
		{"the same suite twice", "/conductor test api API", test("api")},
		{"a phone's capitals", "/Conductor Test", test()},
		{"blanks", "  /conductor \t test  \n", test()},
		{"no-break space", "/conductor\u00a0test", test()},
		{"CRLF", "Please\r\n/conductor test api\r\nthanks\r\n", test("api")},
		{"CR", "Please\r/conductor test", test()},
		{"zero-width", "\u200b/con\u200dductor\ufeff te\u00adst\u202e", test()},
		{"after a quote", "> shall we?\n\n/conductor test", test()},
		{"after a quote that left a comment open", "> <!-- x\n\n/conductor test", test()},
		{"after a closed fence", "```sh\nls\n```\n/conductor test", test()},
		{"after a longer closing fence", "~~~\nx\n~~~~~\n/conductor test", test()},
		{"after an HTML comment", "<!-- note -->\n/conductor test", test()},
		{"after inline backticks", "```x``` is code\n/conductor test", test()},
		{"HTML that hides nothing", "<previous>\n<details>\n\n/conductor test", test()},
		{"after <pre>", "<PRE>\n/conductor cancel\n</Pre>\n/conductor test", test()},
		{"bare", "/conductor", help()},
		{"help", "/conductor help", help()},
		{"help for a command", "/conductor help Test", Command{Verb: "help", Call: Help{Verb: "test"}}},
		{"help for what is no command", "/conductor help me please", help()},
		{"a time to keep", "/conductor test api --keep 4H", Command{Verb: "test", Call: Test{Suites: []string{"api"}, Keep: "4h"}}},
		{"keep forever", "/conductor test --keep=Forever", Command{Verb: "test", Call: Test{Keep: "forever"}}},
		{"rerun", "/conductor rerun", Command{Verb: "rerun", Call: Rerun{}}},
		{"rerun of what failed", "/conductor rerun shop-0a1b --failed --failed", Command{Verb: "rerun", Call: Rerun{Run: "shop-0a1b", Failed: true}}},
		{"status", "/conductor status", Command{Verb: "status", Call: Status{}}},
		{"extend", "/conductor extend 1h30m", Command{Verb: "extend", Call: Extend{For: 90 * time.Minute}}},
		{"extend forever", "/conductor extend forever", Command{Verb: "extend", Call: Extend{Forever: true}}},
		{"down", "/conductor down", Command{Verb: "down", Call: Down{}}},
		{"cancel", "/conductor cancel", cancel("")},
		{"a suite flag", "/conductor test --suite api", test("api")},
		{"suite flags and arguments", "/conductor test --suite e2e api --Suite=API --suite smoke", test("api", "e2e", "smoke")},
		{"a reason", `/conductor cancel --reason "wrong branch"`, cancel("wrong branch")},
		{"a reason after =", `/conductor cancel --reason='it is Ann'"'"'s'`, cancel("it is Ann's")},
		{"a phone's dash and quotes", "/conductor cancel —reason “wrong  branch”", cancel("wrong  branch")},
		{"a reason that begins with a dash", "/conductor cancel --reason=--", cancel("--")},
		{"the longest reason", "/conductor cancel --reason " + strings.Repeat("é", maxText), cancel(strings.Repeat("é", maxText))},
		{"a reason with control characters", "/conductor cancel --reason \"a\x1b[31m\tb \"", cancel("a [31m b")},
	} {
		got, more := parsed(tc.body)
		if diff := cmp.Diff([]Command{tc.want}, got); diff != "" || more != 0 {
			t.Errorf("%s: %d more (-want +got):\n%s", tc.name, more, diff)
		}
	}
}

func TestParseReadsEveryCommandUpToABound(t *testing.T) {
	got, more := parsed("/conductor cancel --reason again\n\nand now\n/conductor dance\n> /conductor help\n/conductor test a\n")
	want := []Command{cancel("again"), problem("", "Unknown command `dance`."), test("a")}
	if diff := cmp.Diff(want, got); diff != "" || more != 0 {
		t.Errorf("%d more (-want +got):\n%s", more, diff)
	}
	var body string
	for i := range MaxCommands + 3 {
		body += fmt.Sprintf("/conductor test s%d\n", i)
	}
	got, more = parsed(body)
	if len(got) != MaxCommands || more != 3 || !slices.Equal(got[MaxCommands-1].Call.(Test).Suites, []string{"s4"}) {
		t.Errorf("%d more than %+v", more, got)
	}
	if got, more = parsed(body[:strings.Index(body, fmt.Sprintf("/conductor test s%d", MaxCommands))]); len(got) != MaxCommands || more != 0 {
		t.Errorf("%d commands and %d more, want %d and 0", len(got), more, MaxCommands)
	}
}

// A stored command has what the grammar recognized and none of the text around it.
func TestStoredCommandsHaveNoText(t *testing.T) {
	got, _ := Parse("Dear all,\n/conductor test api secret-1\n/conductor help my password is hunter2\n/conductor cancel --reason stuck\n/conductor " +
		strings.Repeat("z", 500))
	want := []v1alpha1.Command{
		{Verb: "test", Args: []string{"api", "secret-1"}}, {Verb: "help"},
		{Verb: "cancel", Flags: []v1alpha1.CommandFlag{{Name: "reason", Value: "stuck"}}},
		{Problem: "Unknown command `" + strings.Repeat("z", 40) + "`…."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Another version may have stored a command that this one does not have, or values that it would not accept.
func TestResolveReadsTheValuesAgain(t *testing.T) {
	for _, tc := range []struct {
		stored  v1alpha1.Command
		problem string
	}{
		{v1alpha1.Command{Verb: "deploy"}, "Unknown command `deploy`."},
		{v1alpha1.Command{Verb: "test", Args: []string{"../etc"}}, "`../etc` is not the name of a suite."},
		{v1alpha1.Command{Verb: "cancel", Flags: []v1alpha1.CommandFlag{{Name: "force", Value: "1"}}}, "`/conductor cancel` does not have the flag `--force`."},
		{v1alpha1.Command{}, "Unknown command ``."},
		{TooLong(v1alpha1.Command{Verb: "test", Args: []string{"a"}}),
			"`/conductor test` is too long together with the other commands. Put it into a comment of its own, with fewer arguments."},
	} {
		if got := Resolve(tc.stored); got.Problem != tc.problem || got.Call != nil {
			t.Errorf("%+v: %+v, want the problem %q", tc.stored, got, tc.problem)
		}
	}
}

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                nil,
		" a\t b\u00a0 c ": {"a", "b", "c"},
		`"a b" 'c "d'`:    {"a b", `c "d`},
		`a"b c"d''`:       {"ab cd"},
		`"" ''`:           {"", ""},
		`\a\ b \\ \"`:     {"a b", `\`, `"`},
		`"\" \\ \n" '\'`:  {`" \ \n`, `\`},
		`a\`:              {`a\`},
		"“a b” —c d—e":    {"a b", "--c", "d—e"},
		`"—" '—'`:         {"—", "—"},
		"it’s":            {"it’s"},
	} {
		got, closed := splitWords(line)
		if diff := cmp.Diff(want, got); diff != "" || !closed {
			t.Errorf("%q: closed %t (-want +got):\n%s", line, closed, diff)
		}
	}
	for _, line := range []string{`"a`, `a 'b "c"`, `"a\"`, `“a`} {
		if _, closed := splitWords(line); closed {
			t.Errorf("%q is closed", line)
		}
	}
}

func TestParseLeavesTheRestAlone(t *testing.T) {
	long := strings.Repeat("a/b ", 65536/4)
	for name, body := range map[string]string{
		"empty":                  "",
		"in a sentence":          "Please /conductor test",
		"in a path":              "/conductor/test and /usr/bin/conductor test",
		"a longer word":          "/conductors test",
		"in a fence":             "```\n/conductor test\n```",
		"in a tilde fence":       "~~~ sh\n/conductor test\n~~~",
		"in a fence left open":   "```\n/conductor test",
		"a fence in a fence":     "````\n```\n/conductor test\n````",
		"the wrong fence closes": "```\n~~~\n/conductor test\n```",
		"text closes no fence":   "```\n``` no\n/conductor test\n```",
		"a fence in a list":      "1. ```\n   /conductor test\n   ```",
		"indented code":          "    /conductor test\n\t/conductor test",
		"a quote":                "> /conductor test\n>/conductor test\n > > /conductor test",
		"an HTML comment":        "<!-- /conductor test -->",
		"lines in a comment":     "<!--\n/conductor test\n-->",
		"behind a comment":       "<!-- x\n--> /conductor test",
		"a comment left open":    "text <!--\n/conductor test",
		"two comments":           "<!-- a --> <!-- b\n/conductor test\n-->",
		"pre":                    "<pre>\n/conductor test\n</pre>",
		"pre with attributes":    "<pre lang=sh>\n\n/conductor test\n</pre>",
		"inline code":            "`/conductor test`",
		"a link":                 "[/conductor test](x)",
		"a long comment":         long,
		"unclosed openers":       strings.Repeat("<!--", 16384),
		"closed openers":         strings.Repeat("<!---->", 9000),
	} {
		if got, more := parsed(body); got != nil || more != 0 {
			t.Errorf("%s: %+v and %d more", name, got, more)
		}
	}
}

func TestProblems(t *testing.T) {
	for body, want := range map[string]string{
		"/conductor tset":                                              "Unknown command `tset`. Did you mean `/conductor test`?",
		"/conductor cancle":                                            "Unknown command `cancle`. Did you mean `/conductor cancel`?",
		"/conductor deploy":                                            "Unknown command `deploy`.",
		"/conductor don't":                                             "Unknown command `dont`.",
		"/conductor @team`<b>":                                         "Unknown command `@team?<b>`.",
		"/conductor \"\"":                                              "Unknown command ``.",
		"/conductor " + strings.Repeat("x", 100):                       "Unknown command `" + strings.Repeat("x", 40) + "`….",
		"/conductor test ../etc":                                       "`../etc` is not the name of a suite.",
		"/conductor test a`@b":                                         "`a?@b` is not the name of a suite.",
		"/conductor test --suite ../etc":                               "`../etc` is not the name of a suite.",
		"/conductor test --suite":                                      "The flag `--suite` needs a value: `--suite NAME`.",
		"/conductor test --suite --suite a":                            "The flag `--suite` needs a value: `--suite NAME`.",
		"/conductor test --suit api":                                   "`/conductor test` does not have the flag `--suit`. Did you mean `--suite`?",
		"/conductor test -suite api":                                   "`/conductor test` does not have the flag `-suite`. Did you mean `--suite`?",
		"/conductor test --reason x":                                   "`/conductor test` does not have the flag `--reason`.",
		"/conductor test " + many():                                    "`/conductor test` takes at most 64 arguments (got 130).",
		"/conductor cancel please":                                     "`/conductor cancel` takes no arguments (got `please`).",
		"/conductor cancel --reason wrong branch":                      "`/conductor cancel` takes no arguments (got `branch`). Put the value of a flag in quotes if it has several words.",
		"/conductor cancel --reason \"wrong":                           "A quotation mark in `/conductor cancel` is not closed.",
		"/conductor cancel --reason ''":                                "The flag `--reason` needs a value: `--reason TEXT`.",
		"/conductor cancel --reason ' '":                               "The flag `--reason` needs a value: `--reason TEXT`.",
		"/conductor cancel --reason a --reason b":                      "The flag `--reason` is given more than once.",
		"/conductor cancel --reason " + strings.Repeat("y", maxText+1): "`" + strings.Repeat("y", 40) + "`… is longer than 256 characters.",
		"/conductor extend":                                            "`/conductor extend` needs an argument: `/conductor extend TIME`.",
		"/conductor extend 1h 2h":                                      "`/conductor extend` takes one argument (got 2).",
		"/conductor extend -1h":                                        "`/conductor extend` does not have the flag `-1h`.",
		"/conductor extend 0s":                                         "`0s` is not a time such as 30m, 4h or forever.",
		"/conductor test --keep tomorrow":                              "`tomorrow` is not a time such as 30m, 4h or forever.",
		"/conductor rerun --failed=yes":                                "The flag `--failed` does not have a value.",
		"/conductor rerun ../x":                                        "`../x` is not the name of a run.",
		"/conductor down now":                                          "`/conductor down` takes no arguments (got `now`).",
		"/conductor statsu":                                            "Unknown command `statsu`. Did you mean `/conductor status`?",
		"/conductor help --all":                                        "`/conductor help` does not have the flag `--all`.",
	} {
		got, _ := parsed(body)
		if len(got) != 1 || got[0].Problem != want || got[0].Call != nil {
			t.Errorf("%.60q: %+v, want %q", body, got, want)
		}
	}
}

// many is more different suites than a command takes.
func many() string {
	var names []string
	for a := range 5 {
		for b := range 26 {
			names = append(names, string([]rune{rune('a' + a), rune('a' + b)}))
		}
	}
	return strings.Join(names, " ")
}

func TestHelpIsTheGrammar(t *testing.T) {
	text := HelpText()
	for _, v := range Grammar() {
		for _, want := range []string{v.Usage(), v.Who, v.Example, v.Help} {
			if want == "" || !strings.Contains(text, want) {
				t.Errorf("the help lacks %q", want)
			}
		}
		got, _ := parsed(v.Example)
		if len(got) != 1 || got[0].Verb != v.Name || got[0].Problem != "" || got[0].Call == nil {
			t.Errorf("the example %q is read as %+v", v.Example, got)
		}
		for _, f := range v.Flags {
			if !strings.Contains(v.Usage(), "[--"+strings.TrimSpace(f.Name+" "+f.Value.Placeholder)+"]") {
				t.Errorf("the usage %q lacks --%s", v.Usage(), f.Name)
			}
		}
	}
	if one := HelpFor("extend"); !strings.HasPrefix(one, "`/conductor extend TIME`\n") || !strings.Contains(one, "write permission. Example: `/conductor extend 4h`") {
		t.Errorf("the help for extend is %q", one)
	}
	if HelpFor("") != text {
		t.Error("the help for no command is not that for all")
	}
	if got, _ := parsed(text); got != nil {
		t.Errorf("the help itself has the commands %+v", got)
	}
	for verb, want := range map[string]string{
		"test": "/conductor test [suite...] [--suite NAME]... [--keep TIME]", "cancel": "/conductor cancel [--reason TEXT]", "help": "/conductor help [command]",
		"rerun": "/conductor rerun [RUN] [--failed]", "extend": "/conductor extend TIME", "down": "/conductor down",
	} {
		if v, _ := findVerb(verb); v.Usage() != want {
			t.Errorf("usage %q, want %q", v.Usage(), want)
		}
	}
}

func TestTheGrammarIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Grammar() {
		if !strings.Contains(string(page), "| `"+v.Usage()+"` |") {
			t.Errorf("docs/commands.md lacks %s", v.Usage())
		}
	}
}

// TestEveryVerbBuildsItsOwnType also fails for a type that is not built by a verb.
func TestEveryVerbBuildsItsOwnType(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Grammar() {
		c := v.build(input{})
		c.call()
		seen[fmt.Sprintf("%T", c)] = true
	}
	if len(seen) != len(Grammar()) {
		t.Errorf("%d verbs build the types %v", len(Grammar()), seen)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"/conductor test a", "```\n/conductor test\n```", "<!--\n-->\r\n/conductor\u200b x", "- ```\n> /conductor help", "<pre\n</pre>",
		"/conductor cancel --reason 'a b'\n/conductor test --suite=a", "/conductor test --suit \"", "/conductor cancel —reason “x\\” y",
		"/conductor extend 4h\n/conductor rerun a.b --failed", "/conductor extend +1h\n/conductor help help",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		commands, more := parsed(body)
		if len(commands) > MaxCommands || more > 0 && len(commands) < MaxCommands {
			t.Errorf("%q: %d commands and %d more", body, len(commands), more)
		}
		for _, c := range commands {
			if (c.Problem == "") != (c.Call != nil) {
				t.Errorf("%q: %+v has both a call and a problem, or neither", body, c)
			}
			switch call := c.Call.(type) {
			case Test:
				if len(call.Suites) > MaxArgs || slices.ContainsFunc(call.Suites, func(a string) bool { return !suiteName.MatchString(a) }) {
					t.Errorf("%q: %+v", body, c)
				}
			case Extend:
				if call.Forever == (call.For > 0) {
					t.Errorf("%q: %+v", body, c)
				}
			case Cancel:
				if len([]rune(call.Reason)) > maxText || strings.ContainsAny(call.Reason, "\n\r\x00") {
					t.Errorf("%q: %+v", body, c)
				}
			}
			if strings.Count(c.Problem, "`")%2 != 0 || strings.ContainsAny(c.Problem, "\n\r") {
				t.Errorf("%q: the problem %q would break a comment", body, c.Problem)
			}
		}
		if got, _ := parsed("> " + strings.NewReplacer("\n", "\n> ", "\r", " ").Replace(body)); got != nil {
			t.Errorf("%q in a quote is a command", body)
		}
		if got, _ := parsed("~~~~\n" + body); got != nil && !strings.Contains(body, "~~~~") {
			t.Errorf("%q in a fence is a command", body)
		}
	})
}
