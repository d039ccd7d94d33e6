package repoconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const least = "version: 1\ntests:\n  integration: yarn test:integration:nc\n"

func TestThreeLinesAreEnough(t *testing.T) {
	got, err := Parse(".conductor.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Version: 1, Path: ".conductor.yaml",
		Tests: map[string]Test{"integration": {Command: Command{Shell: "yarn test:integration:nc"}, Timeout: Duration{30 * time.Minute}, Shards: 1}},
		Stack: Stack{Compose: []string{"docker-compose.qa.yml"}, Ready: Ready{Timeout: Duration{10 * time.Minute}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := got.Tests["integration"].Command.Argv(); !slices.Equal(got, []string{"/bin/sh", "-c", "yarn test:integration:nc"}) {
		t.Errorf("argv %q", got)
	}
}

func TestParse(t *testing.T) {
	got, err := Parse("f", []byte(`
version: 1
tests:
  b: {command: [yarn, test, 3], env: {A: 1.10, B: true, C: 2026-01-01, D: "", E: 0x1F}, image: "ghcr.io/acme/tests@sha256:00"}
  a: {command: "make test", timeout: 1h30m}
stack:
  compose: compose.yml
  env_file: [a.env, qa/b.env]
  profiles: ["*", qa]
  public: [{service: my_web.1, port: 8080}]
  strict: true
build:
  images:
    base: {}
    tests: {context: ./services/api/, dockerfile: ..dev/Dockerfile, target: e2e, args: {V: 24}}
keep: {ttl: forever}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Version: 1, Path: "f",
		Tests: map[string]Test{
			"a": {Command: Command{Shell: "make test"}, Timeout: Duration{90 * time.Minute}, Shards: 1},
			"b": {
				Command: Command{Args: []string{"yarn", "test", "3"}}, Timeout: Duration{30 * time.Minute}, Shards: 1, Image: "ghcr.io/acme/tests@sha256:00",
				Env: map[string]string{"A": "1.10", "B": "true", "C": "2026-01-01", "D": "", "E": "0x1F"},
			},
		},
		Stack: Stack{
			Compose: []string{"compose.yml"}, EnvFile: []string{"a.env", "qa/b.env"}, Profiles: []string{"*", "qa"},
			Public: []Public{{"my_web.1", 8080}}, Strict: true, Ready: Ready{Timeout: Duration{10 * time.Minute}},
		},
		Build: Build{Images: map[string]Image{
			"base":  {Context: ".", Dockerfile: "Dockerfile"},
			"tests": {Context: "./services/api/", Dockerfile: "..dev/Dockerfile", Target: "e2e", Args: map[string]string{"V": "24"}},
		}},
		Keep: Keep{Forever: true},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(got.Suites(), []string{"a", "b"}) {
		t.Errorf("suites %q", got.Suites())
	}
	if argv := got.Tests["b"].Command.Argv(); !slices.Equal(argv, []string{"yarn", "test", "3"}) {
		t.Errorf("argv %q", argv)
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	got, err := Parse("f", []byte(`
version: 1
tests:
  a: &a {command: a, env: &env {X: 1, Y: 2}, timeout: 5m}
  b: {<<: *a, command: b}
  c: {command: c, env: {X: 9, <<: [*env, {X: 7, Z: 3}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if b := got.Tests["b"]; b.Command.Shell != "b" || b.Timeout.Duration != 5*time.Minute || b.Env["Y"] != "2" {
		t.Errorf("b = %+v", b)
	}
	if diff := cmp.Diff(map[string]string{"X": "9", "Y": "2", "Z": "3"}, got.Tests["c"].Env); diff != "" {
		t.Errorf("c's env (-want +got):\n%s", diff)
	}
}

func TestKeep(t *testing.T) {
	for text, want := range map[string]Keep{
		"24h": {TTL: Duration{24 * time.Hour}}, "forever": {Forever: true}, "{ttl: 90s}": {TTL: Duration{90 * time.Second}}, "{}": {},
		"{ttl: forever, idle: 2h, after_close: true}": {Forever: true, Idle: Duration{2 * time.Hour}, AfterClose: true}, "{idle: 30m}": {Idle: Duration{30 * time.Minute}},
	} {
		got, err := Parse("f", []byte(least+"keep: "+text+"\n"))
		if err != nil || got.Keep != want {
			t.Errorf("keep: %s is %+v, %v", text, got, err)
		}
	}
}

// TestErrors holds every kind of mistake to its line, column and words. A case's text follows the least file, whose
// three lines have to be counted.
func TestErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "stak: {}\n", `f:4:1: stak: unknown key; did you mean stack?`},
		{"unknown key, none near", "secrets: []\n", `f:4:1: secrets: unknown key; the known keys are version, tests, stack, build, keep`},
		{"unknown key inside", "stack:\n  redy: {timeout: 1m}\n", `f:5:3: stack.redy: unknown key; did you mean ready?`},
		{"unknown key in keep", "keep: {tll: 1h}\n", `f:4:8: keep.tll: unknown key; did you mean ttl?`},
		{"odd key", "\"a\\nb\": 1\n", `f:4:1: "a\nb": unknown key; the known keys are version, tests, stack, build, keep`},
		{"twice", "version: 1\n", `f:4:1: version: duplicate key, first used in line 1`},
		{"twice inside", "keep: {ttl: 1h, ttl: 2h}\n", `f:4:17: keep.ttl: duplicate key, first used in line 4`},
		{"no value", "stack:\n", `f:4:7: stack: must be a mapping, but is empty`},
		{"wrong type", "stack: [1]\n", `f:4:8: stack: must be a mapping, but is a list`},
		{"wrong type for a list", "stack: {compose: {a: b}}\n", `f:4:18: stack.compose: must be a list, but is a mapping`},
		{"wrong type for a bool", "stack: {strict: \"yes\"}\n", `f:4:17: stack.strict: must be true or false, but is the string "yes"`},
		{"wrong type for a text", "build: {images: {a: {target: 5}}}\n", `f:4:30: build.images.a.target: must be a string, but YAML reads a number here; write it in quotes`},
		{"wrong item", "stack:\n  compose:\n  - a.yml\n  - [b.yml]\n", `f:7:5: stack.compose[1]: must be a path inside the repository: relative, with slashes, without .., but is a list`},
		{"empty list", "stack: {compose: []}\n", `f:4:18: stack.compose: must not be empty`},
		{"port", "stack: {public: [{service: web, port: 70000}]}\n", `f:4:39: stack.public[0].port: must be a port between 1 and 65535, but is "70000"`},
		{"port in quotes", "stack: {public: [{service: web, port: \"80\"}]}\n", `f:4:39: stack.public[0].port: must be a number; write 80 without quotes`},
		{"no port", "stack: {public: [{service: web}]}\n", `f:4:18: stack.public[0]: the required key port is missing`},
		{"image name", "build: {images: {My_Image: {}}}\n", `f:4:18: build.images.My_Image: the name must be lowercase letters, digits and dashes, at most 63 characters, starting and ending with a letter or digit, but is "My_Image"`},
		{"env name", "stack: {env: {1A: x}}\n", `f:4:15: stack.env.1A: the name must be the name of an environment variable: letters, digits and underscores, not starting with a digit, but is "1A"`},
		{"env value", "stack: {env: {A: }}\n", `f:4:18: stack.env.A: must be a string without NUL characters, of at most 64 KiB, but is empty`},
		{"NUL", "stack: {env: {A: \"x\\0\"}}\n", `f:4:18: stack.env.A: must be a string without NUL characters, of at most 64 KiB, but is "x\x00"`},
		{"duration", "stack: {ready: {timeout: soon}}\n", `f:4:26: stack.ready.timeout: must be a duration such as 90s, 30m or 24h, but is "soon"`},
		{"number for a duration", "stack: {ready: {timeout: 30}}\n", `f:4:26: stack.ready.timeout: must be a duration such as 90s, 30m or 24h, but is "30"`},
		{"days", "keep: 7d\n", `f:4:7: keep: must be a duration such as 90s, 30m or 24h; the largest unit is h: write 168h`},
		{"idle forever", "keep: {idle: forever}\n", `f:4:14: keep.idle: must be a duration such as 90s, 30m or 24h, but is "forever"`},
		{"after_close as a word", "keep: {after_close: please}\n", `f:4:21: keep.after_close: must be true or false, but is the string "please"`},
		{"weeks", "keep: {ttl: 2w}\n", `f:4:13: keep.ttl: must be a duration such as 90s, 30m or 24h; the largest unit is h: write 336h`},
		{"too short", "keep: 1ms\n", `f:4:7: keep: must be between 1s and 8784h, but is "1ms"`},
		{"too long", "keep: 9999999h\n", `f:4:7: keep: must be between 1s and 8784h, but is "9999999h"`},
		{"far too long", "keep: 99999999999999999h\n", `f:4:7: keep: must be between 1s and 8784h, but is "99999999999999999h"`},
		{"negative", "keep: -1h\n", `f:4:7: keep: must be a duration such as 90s, 30m or 24h, but is "-1h"`},
		{"keep empty", "keep:\n", `f:4:6: keep: must be forever or a duration such as 24h, but is empty`},
		{"tag", "keep: !x 1h\n", `f:4:7: keep: tags such as "!x" are not supported`},
		{"merge of a text", "stack: {<<: x}\n", `f:4:13: stack: << must be a mapping or a list of mappings, but is the string "x"`},
		{"key that is a list", "? [a]\n: b\n", `f:4:3: a key must be a string, but is a list`},
	} {
		if _, err := Parse("f", []byte(least+tc.text)); err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.name, err, tc.want)
		}
	}
}

func TestErrorsOfTests(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                                    `f:2:8: tests: must not be empty`,
		"{a: }":                                 `f:2:12: tests.a: must be a command or a mapping, but is empty`,
		"{a: []}":                               `f:2:12: tests.a: must be a command or a mapping, but is a list`,
		"{a: \" \"}":                            `f:2:12: tests.a: must be a command that is not empty, without NUL characters, but is " "`,
		"{a: true}":                             `f:2:12: tests.a: must be a string, but YAML reads true or false here; write it in quotes`,
		"{a: {retry: 1}}":                       `f:2:12: tests.a: must have one of the keys command, image, service and run`,
		"{a: {image: x, service: y}}":           `f:2:12: tests.a: must have only one of the keys image, service and run, but has image and service`,
		"{a: {command: x, shards: 0}}":          `f:2:33: tests.a.shards: must be a number between 1 and 32, but is "0"`,
		"{a: {command: x, artifacts: ../x}}":    `f:2:36: tests.a.artifacts[0]: must be a pattern of paths with slashes and without ..: relative to the working directory, or absolute such as /out/*.xml, but is "../x"`,
		"{a: {command: x, reports: /out/../x}}": `f:2:34: tests.a.reports[0]: must be a pattern of paths with slashes and without ..: relative to the working directory, or absolute such as /out/*.xml, but is "/out/../x"`,
		"{a: {command: x, reports: [x, /**]}}":  `f:2:38: tests.a.reports[1]: must begin with the name of a directory, as in /out/**; the whole file system is not searched, but is "/**"`,
		"{a: {command: x, artifacts: \"/{out,tmp}/*\"}}":   `f:2:36: tests.a.artifacts[0]: must begin with the name of a directory, as in /out/**; the whole file system is not searched, but is "/{out,tmp}/*"`,
		"{a: {command: x, artifacts: /.}}":                 `f:2:36: tests.a.artifacts[0]: must begin with the name of a directory, as in /out/**; the whole file system is not searched, but is "/."`,
		"{a: {command: x, reports: {junit: /./proc/1/*}}}": `f:2:42: tests.a.reports.junit[0]: must not begin in /proc, /sys or /dev, but is "/./proc/1/*"`,
		"{a: {command: x, reports: {junti: x}}}":           "f:2:34: tests.a.reports: list the files of every format without a key, as in reports: [out/*.xml, out/*.trx]\nf:2:35: tests.a.reports.junti: unknown key; did you mean junit?",
		"{a: {command: x, reports: {trx: x}}}":             "f:2:34: tests.a.reports: list the files of every format without a key, as in reports: [out/*.xml, out/*.trx]\nf:2:35: tests.a.reports.trx: unknown key; the known keys are junit",
		"{a: {command: x, reports: }}":                     `f:2:34: tests.a.reports: must be a list, but is empty`,
		"{a: {command: []}}":                               `f:2:22: tests.a.command: must not be empty`,
		"{a: {command: [\"\"]}}":                           `f:2:23: tests.a.command[0]: must be a command that is not empty, without NUL characters, but is ""`,
		"{a: {command: {x: y}}}":                           `f:2:22: tests.a.command: must be a string or a list of strings, but is a mapping`,
		"{a: {comand: x}}":                                 "f:2:12: tests.a: must have one of the keys command, image, service and run\nf:2:13: tests.a.comand: unknown key; did you mean command?",
		"{A: x}":                                           `f:2:9: tests.A: the name must be lowercase letters, digits and dashes, at most 63 characters, starting and ending with a letter or digit, but is "A"`,
		"x":                                                `f:2:8: tests: must be a mapping, but is the string "x"`,
		"{a: {run: x, service: y}}":                        `f:2:12: tests.a: must have only one of the keys image, service and run, but has service and run`,
		"{a: {run: x, image: y, service: z}}":              `f:2:12: tests.a: must have only one of the keys image, service and run, but has image and service and run`,
	} {
		if _, err := Parse("f", []byte("version: 1\ntests: "+text)); err == nil || err.Error() != want {
			t.Errorf("tests: %s\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestReports has the same patterns in each notation.
func TestReports(t *testing.T) {
	for text, want := range map[string][]string{
		"/out/**/*.xml":            {"/out/**/*.xml"},
		"[a.xml, /results.trx]":    {"a.xml", "/results.trx"},
		"{junit: /out/x}":          {"/out/x"},
		"{junit: [a, ./b, ..c/*]}": {"a", "./b", "..c/*"},
		"{}":                       nil,
		"[]":                       nil,
	} {
		c, err := Parse("f", []byte("version: 1\ntests: {a: {command: x, reports: "+text+"}}"))
		if err != nil || !slices.Equal(c.Tests["a"].Reports.JUnit, want) {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
}

func TestPathsStayInside(t *testing.T) {
	for _, p := range []string{"..", "../x", "a/../../x", "a/..", "/etc/passwd", "", "a//b", `a\b`, `..\x`, "https://x/y", "a\x00b", "a\nb", strings.Repeat("a", 2000)} {
		for _, where := range []string{"stack: {compose: [%q]}", "stack: {env_file: %q}", "build: {images: {a: {context: %q}}}", "build: {images: {a: {dockerfile: %q}}}"} {
			text := fmt.Sprintf(where, p)
			if _, err := Parse("f", []byte(least+text)); err == nil || !strings.Contains(err.Error(), "must be a path inside the repository") {
				t.Errorf("%.60s: %.200v", text, err)
			}
		}
	}
}

func TestNotYAML(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "f:1:1: the file is empty; it needs at least a version and a test",
		"version 1\n":                  `f:1:1: must be a mapping, but is the string "version 1"`,
		"tests: {a: x}\n":              "f:1:1: the required key version is missing",
		"# nothing\n---\n":             "f:1:1: the file is empty; it needs at least a version and a test",
		"a: [1, 2\n":                   "f:1:9: invalid YAML: a comma or ] is missing: the list begins with [ in line 1",
		"a: b: c\n":                    "f:1:5: invalid YAML: a key is not expected here: check the indentation, and write a value that contains \": \" in quotes",
		"a: 1\n\tb: 2\n":               "f:2:1: invalid YAML: a tab: YAML is indented with spaces",
		"a:\n  b: c\n d: e\n":          "f:3:2: invalid YAML: the indentation of this line does not fit: the keys since line 1 are indented by 0",
		"é: 'x'y\n":                    "f:1:7: invalid YAML: the value before this has ended: check its quotes",
		"a: 1\r\nb: @\r\n":             "f:2:4: invalid YAML: a value cannot begin with @: write it in quotes",
		"a: 1\nb: *x\n":                "f:2:4: invalid YAML: the anchor &x is not defined above: write a value that begins with * in quotes",
		"a: 1\n---\nb: 2\n":            "f:2:1: a second document begins here; only one is allowed",
		"a: é\xff\n":                   "f:1:5: invalid UTF-8",
		"a: 1\nb: \x00\n":              "f:2:4: the control character U+0000 is not allowed",
		strings.Repeat("#", MaxSize+1): "f:1:1: the file is too large: 257 KiB, the limit is 256 KiB",
		strings.Repeat("x", 10<<20):    "f:1:1: the file is too large: 10240 KiB, the limit is 256 KiB",
	} {
		if _, err := Parse("f", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.40q:\n got %v\nwant %s", text, err, want)
		}
	}
	if _, err := Parse("f", []byte("\ufeff"+strings.ReplaceAll(least, "\n", "\r\n"))); err != nil {
		t.Errorf("with a byte order mark and CRLF: %v", err)
	}
}

// aliased are variables with the value of an anchor.
func aliased(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "      B%d: *a\n", i)
	}
	return b.String()
}

// TestHostileFiles ends in time, with a sentence.
func TestHostileFiles(t *testing.T) {
	var merges, wide strings.Builder
	merges.WriteString("version: 1\ntests:\n  a: {command: x, env: &m0 {A: b}}\n")
	for i := range 30 {
		fmt.Fprintf(&merges, "  t%d: {command: x, env: &m%d {<<: [*m%d, *m%d, *m%d]}}\n", i, i+1, i, i, i)
	}
	fmt.Fprint(&wide, "version: 1\ntests:\n  a: {command: x, env: &e {")
	for i := range 10000 {
		fmt.Fprintf(&wide, "A%d: b, ", i)
	}
	fmt.Fprint(&wide, "}}\n")
	for i := range 10000 {
		fmt.Fprintf(&wide, "  t%d: {command: x, env: *e}\n", i)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"merges of merges":        {merges.String(), "merges (<<) are nested more than 16 levels deep"},
		"many aliases":            {wide.String()[:MaxSize-MaxSize%29], ""},
		"a long text, many times": {"version: 1\ntests:\n  a:\n    command: x\n    env:\n      A: &a " + strings.Repeat("x", 20<<10) + "\n" + aliased(60), "the strings in the file exceed 1024 KiB, counting each use of an alias"},
		"itself":                  {"version: 1\ntests: &t {a: *t}\n", "must have one of the keys command"},
		"a merge of itself":       {"version: 1\ntests: &t {<<: *t, a: x}\n", "merges (<<) are nested more than 16 levels deep"},
		"open brackets":           {strings.Repeat("[", MaxSize), "invalid YAML"},
		"dashes":                  {strings.Repeat("- ", MaxSize/2), "invalid YAML"},
		"nested lists":            {strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "must be a mapping"},
		"many unknown keys":       {least + strings.Join(unknown(5000), ""), "and 950 more"},
		"a key of a whole file":   {least + strings.Repeat("k", 100<<10) + ": 1\n", "unknown key"},
	} {
		begin := time.Now()
		_, err := Parse("f", []byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %.300v", name, err)
		} else if len(err.Error()) > 20_000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s: took %s", name, d)
		}
	}
}

func unknown(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("unknown%d: 1\n", i)
	}
	return out
}

func TestErrorsAreAllReported(t *testing.T) {
	_, err := Parse("f", []byte("version: 2\ntests: {a: {command: x, timeout: 5}}\nstack: {ports: 1}\nkeep: never\n"))
	var all *Errors
	if !errors.As(err, &all) {
		t.Fatalf("error %T %v", err, err)
	}
	var lines []int
	for _, e := range all.List {
		if e.File != "f" || e.Column < 1 || e.Message == "" {
			t.Errorf("%+v", e)
		}
		lines = append(lines, e.Line)
	}
	if !slices.Equal(lines, []int{1, 2, 3, 4}) || all.More != 0 {
		t.Errorf("lines %v, %d more:\n%v", lines, all.More, err)
	}
	var one Error
	if !errors.As(err, &one) || one.Path != "version" {
		t.Errorf("errors.As finds %+v", one)
	}
}

func TestTheAttemptsOfAllSuitesHaveABound(t *testing.T) {
	suites := func(n, shards, retry int) string {
		var b strings.Builder
		b.WriteString("version: 1\nkeep: 1h\ntests:\n")
		for i := range n {
			fmt.Fprintf(&b, "  t%d: {command: x, shards: %d, retry: %d}\n", i, shards, retry)
		}
		return b.String()
	}
	for _, tc := range []struct{ file, want string }{
		{suites(64, 4, 0), ""},
		{suites(8, 32, 0), ""},
		{suites(1, 32, 5), ""},
		{suites(2, 32, 3), ""},
		{suites(64, 4, 0) + "  more: x\n", "f:3:1: tests: the suites may make 257 attempts in total (shards x (retry + 1) each), but the limit is 256. Suite t0 alone may make 4 x 1 = 4"},
		{suites(1, 16, 4) + "  wide: {command: x, shards: 30, retry: 5}\n", "f:3:1: tests: the suites may make 260 attempts in total (shards x (retry + 1) each), but the limit is 256. Suite wide alone may make 30 x 6 = 180"},
	} {
		_, err := Parse("f", []byte(tc.file))
		if got := fmt.Sprint(err); got != tc.want && (tc.want != "" || err != nil) {
			t.Errorf("%s...: %s, want %q", tc.file[:40], got, tc.want)
		}
	}
}

func TestProblemsHaveThePositionOfTheirValue(t *testing.T) {
	c, err := Parse("f", []byte("version: 1\ntests:\n  a:\n    image:  node\n    env: {A: b}\n  b: &b {service: web}\n  c: *b\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"tests.a.image": "f:4:13: tests.a.image: x 1", "tests.a.env.A": "f:5:14: tests.a.env.A: x 1", "tests.a.run": "f:4:5: tests.a.run: x 1",
		"tests.b.service": "f:6:19: tests.b.service: x 1", "tests.c.service": "f:6:19: tests.c.service: x 1", "stack.public": "f:1:1: stack.public: x 1",
	} {
		if got := c.Problem(path, "x %d", 1).Error(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
