package trigger

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseFindsCommands(t *testing.T) {
	test := func(args ...string) []Command { return []Command{{Name: "test", Args: args}} }
	for _, tc := range []struct {
		name, body string
		want       []Command
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
		{"bare", "/conductor", []Command{{Name: "help"}}},
		{"help", "/conductor help test", []Command{{Name: "help", Args: []string{"test"}}}},
		{"cancel", "/conductor cancel", []Command{{Name: "cancel"}}},
		{"two", "/conductor test\n/conductor cancel", []Command{{Name: "test"}, {Name: "cancel"}}},
	} {
		if diff := cmp.Diff(tc.want, Parse(tc.body), cmpopts.IgnoreFields(Command{}, "Action")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
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
		if got := Parse(body); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestProblems(t *testing.T) {
	for body, want := range map[string]string{
		"/conductor tset":                        "There is no command `tset`. Did you mean `/conductor test`?",
		"/conductor cancle":                      "There is no command `cancle`. Did you mean `/conductor cancel`?",
		"/conductor deploy":                      "There is no command `deploy`.",
		"/conductor @team`<b>":                   "There is no command `@team?<b>`.",
		"/conductor test ../etc":                 "`../etc` is not the name of a suite.",
		"/conductor test a`@b":                   "`a?@b` is not the name of a suite.",
		"/conductor cancel please":               "This command takes no arguments (got `please`).",
		"/conductor test " + many():              "A command takes at most 64 words.",
		"/conductor " + strings.Repeat("x", 100): "There is no command `" + strings.Repeat("x", 40) + "`….",
	} {
		c, ok := First(body)
		if !ok || c.Problem != want {
			t.Errorf("%.60q: %q, want %q", body, c.Problem, want)
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
	help := HelpText()
	for _, v := range Grammar() {
		for _, want := range []string{v.Usage(), v.Who, v.Example, v.Help} {
			if want == "" || !strings.Contains(help, want) {
				t.Errorf("the help lacks %q", want)
			}
		}
		c, ok := First(v.Example)
		if !ok || c.Name != v.Name || c.Problem != "" {
			t.Errorf("the example %q is read as %+v", v.Example, c)
		}
	}
	if Parse(help) != nil {
		t.Error("the help itself holds commands")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/conductor test a", "```\n/conductor test\n```", "<!--\n-->\r\n/conductor\u200b x", "- ```\n> /conductor help", "<pre\n</pre>"} {
		f.Add(s)
	}
	names := map[string]bool{}
	for _, v := range Grammar() {
		names[v.Name] = true
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, c := range Parse(body) {
			if c.Problem == "" && !names[c.Name] {
				t.Errorf("%q: %+v is no command and no problem", body, c)
			}
			if c.Problem == "" && c.Name == "test" && slices.ContainsFunc(c.Args, func(a string) bool { return !suiteName.MatchString(a) }) {
				t.Errorf("%q: %+v", body, c)
			}
			if strings.Count(c.Problem, "`")%2 != 0 || strings.ContainsAny(c.Problem, "\n\r") {
				t.Errorf("%q: the problem %q would break a comment", body, c.Problem)
			}
		}
		if quoted := "> " + strings.NewReplacer("\n", "\n> ", "\r", " ").Replace(body); Parse(quoted) != nil {
			t.Errorf("%q in a quote is a command", body)
		}
		if !strings.Contains(body, "~~~~") && Parse("~~~~\n"+body) != nil {
			t.Errorf("%q in a fence is a command", body)
		}
	})
}
