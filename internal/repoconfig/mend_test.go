package repoconfig

import (
	"strings"
	"testing"
)

func TestTheMinimalFileIsValid(t *testing.T) {
	for _, command := range []string{AnyCommand, "npm test # a guess from package.json"} {
		c, err := Parse("f", []byte(Minimal(command)))
		if want, _, _ := strings.Cut(command, " #"); err != nil || c.Tests["integration"].Command.Shell != want {
			t.Errorf("%s: %+v, %v", command, c, err)
		}
	}
}

// mended applies the corrections of a file's problems.
func mended(data string, err error) string {
	lines := linesOf([]byte(data))
	for _, e := range err.(*Errors).List {
		if e.Source == "" {
			return e.Mended
		}
		if e.Mended != "" {
			lines[e.Line-1] = e.Mended
		}
	}
	return strings.Join(lines, "\n")
}

// Each of these files is valid once the suggested lines are in it.
func TestCorrectionsMendTheFile(t *testing.T) {
	for data, want := range map[string]string{
		"version: 1\ntest:\n  a: x\n":                                  "f:2:1: test: unknown key; did you mean tests?\n-test:\n+tests:",
		"version: 2\ntests: {a: x}\n":                                  "-version: 2\n+version: 1",
		"version: \"1\"\ntests: {a: x}\n":                              "-version: \"1\"\n+version: 1",
		"\ufeffversion: '1'\r\ntests: {a: x}\r\n":                      "-version: '1'\n+version: 1",
		"version: 1\ntests: {My_Suite: x}\n":                           "-tests: {My_Suite: x}\n+tests: {my-suite: x}",
		"version: 1\ntests: {a: x}\nkeep: 2d # days\n":                 "-keep: 2d # days\n+keep: 48h # days",
		"version: 1\ntests: {a: x}\nkeep: 1 week\n":                    "+keep: 168h",
		"version: 1\ntests: {a: {image: 1.5, command: x}}\n":           "-tests: {a: {image: 1.5, command: x}}\n+tests: {a: {image: \"1.5\", command: x}}",
		"version: 1\ntests: {a: {command: x, \"timeuot\": 1m}}\n":      "+tests: {a: {command: x, timeout: 1m}}",
		"version: 1\ntests: {é: x}\n":                                  " tests: {é: x}",
		"":                                                             "+version: 1\n+tests:\n+  integration: YOUR TEST COMMAND",
		"version: 1\ntests: {a: {shards: 99}}\n":                       " tests: {a: {shards: 99}}",
		"version: 1\ntests: {a: x}\nkeep: " + strings.Repeat("x", 200): "f:3:7: keep: must be a duration such as 90s, 30m or 24h",
		"version: 1\ntests:\n":                                         " tests:",
	} {
		_, err := Parse("f", []byte(data))
		if err == nil || !strings.Contains(Explain(err), want) {
			t.Errorf("%q: %s, want %q", data, Explain(err), want)
			continue
		}
		if _, err := Parse("f", []byte(mended(data, err))); strings.Contains(want, "+") && err != nil {
			t.Errorf("%q is not mended: %v", data, err)
		}
	}
}

func TestOnlySomeLinesAreShown(t *testing.T) {
	_, err := Parse("f", []byte("version: 1\ntests: {a: x}\n"+strings.Repeat("x: 1\n", 80)))
	got := strings.Split(Explain(err), "\n")
	if len(got) != maxErrors+1+maxQuoted || got[1] != " x: 1" || got[len(got)-1] != "and 30 more" {
		t.Errorf("%d lines: %q", len(got), got)
	}
}
