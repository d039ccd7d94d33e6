package testreport

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestRelative makes paths those of the repository.
func TestRelative(t *testing.T) {
	for _, test := range []struct{ root, in, want string }{
		{"/app", "/app/src/a.js", "src/a.js"},
		{"/app/", "/app//src/../a.js", "a.js"},
		{"/app", "./src/a.js", "src/a.js"},
		{"/app", "src/a.js", "src/a.js"},
		{"/app", `src\a.cs`, "src/a.cs"},
		{`C:\app`, `C:\app\src\a.cs`, "src/a.cs"},
		{"/app", `C:\other\a.cs`, ""},
		{"/app", "/application/a.js", ""},
		{"/app", "/app", ""},
		{"/app", "/other/a.js", ""},
		{"/app", "../a.js", ""},
		{"/app", "/app/../a.js", ""},
		{"/app", "a/../../b.js", ""},
		{"/app", "", ""},
		{"/app", "file:///app/a.js", "a.js"},
		{"/app", "webpack://shop/./src/a.js", "src/a.js"},
		{"/app", "webpack-internal:///./src/a.js", "src/a.js"},
		{"/app", "/_/tests/a.cs", "tests/a.cs"},
		{"/app", "http://localhost/a.js", ""},
		{"/app", "node:internal/a.js", ""},
		{"/app", "internal/process/task_queues.js", ""},
		{"/app", "internal/cart/cart.go", "internal/cart/cart.go"},
		{"/app", "/app/node_modules/a/b.js", ""},
		{"/app", "/app/packages/x/node_modules/a/b.js", ""},
		{"/app", "/app/.venv/lib/a.py", ""},
		{"/app", "/app/vendor/a/b.php", ""},
		{"/app", "/app/vendors/b.php", "vendors/b.php"},
		{"/app", "<frozen importlib>", ""},
		{"/usr/src/app", "/usr/src/app/a.js", "a.js"},
		{"/usr/src/app", "/usr/lib/a.js", ""},
		{"/", "/src/a.js", "src/a.js"},
		{"/", "/usr/lib/a.js", ""},
		{"/", "/home/me/.cargo/a.rs", ""},
		{"/", "/srv/shop/a.rs", "srv/shop/a.rs"},
		{"", "/src/a.js", ""},
		{"", "src/a.js", "src/a.js"},
	} {
		if got := newPaths(test.root).relative(test.in); got != test.want {
			t.Errorf("relative(%q) below %q = %q, want %q", test.in, test.root, got, test.want)
		}
	}
}

// TestFrames finds lines as the languages' tools write them.
func TestFrames(t *testing.T) {
	for text, want := range map[string]string{
		"at Object.toBe (/app/src/a.test.js:12:21)":                   "[{src/a.test.js 12}]",
		"at /app/src/a.mjs:3:1":                                       "[{src/a.mjs 3}]",
		"at async file:///app/src/a.mts:3:1":                          "[{src/a.mts 3}]",
		" ❯ src/a.svelte:3:1":                                         "[{src/a.svelte 3}]",
		`  File "/app/my tests/test_a.py", line 7, in test_a`:         "[{my tests/test_a.py 7}]",
		"tests/test_a.py:14: AssertionError":                          "[{tests/test_a.py 14}]",
		"   at A.B() in /app/tests/A.cs:line 14":                      "[{tests/A.cs 14}]",
		`   at A.B() in C:\src\A.cs:line 14`:                          "[]",
		"#0 /app/src/A.php(33): A->b()":                               "[{src/A.php 33}]",
		"./spec/a_spec.rb:14:in `block'":                              "[{spec/a_spec.rb 14}]",
		"panicked at src/a.rs:5:9:":                                   "[{src/a.rs 5}]",
		"\t/app/internal/a.go:22 +0x1d":                               "[{internal/a.go 22}]",
		"/app/a.cpp:14: Failure\n/app/b.hpp(3): error":                "[{a.cpp 14} {b.hpp 3}]",
		"(test/a_test.exs:4)":                                         "[{test/a_test.exs 4}]",
		"at src/[id]/page.test.tsx:3:1":                               "[{src/[id]/page.test.tsx 3}]",
		"http://localhost:3000/a.js:1:2":                              "[]",
		"listening on 10.0.0.1:8080, took 12:30, v1.2:3 and a.json:3": "[]",
		"a.js:0 b.js:99999999999 c.js:":                               "[]",
		"/usr/lib/ruby/a.rb:3 /app/a.rb:4":                            "[{a.rb 4}]",
	} {
		if got := fmt.Sprint(slices.Collect(newPaths("/app").frames(text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestLocation selects a position from the report and the failure.
func TestLocation(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"attributes":              {`<testsuite><testcase name="a" file="/app/a.js" line="7"/></testsuite>`, "a.js:7"},
		"filepath":                {`<testsuite filepath="src/a.js"><testcase name="a" line="7"/></testsuite>`, "src/a.js:0"},
		"suite's":                 {`<testsuite file="src/a.js"><testcase name="a"/></testsuite>`, "src/a.js:0"},
		"outer suite's":           {`<testsuite file="src/a.js"><testsuite><testcase name="a"/></testsuite></testsuite>`, "src/a.js:0"},
		"root suite's":            {`<testsuites><testsuite name="Root Suite" file="a.js"/><testsuite name="Root Suite" file="b.js"/><testsuite><testcase name="a"/></testsuite></testsuites>`, "b.js:0"},
		"own before root's":       {`<testsuites><testsuite name="Root Suite" file="a.js"/><testsuite file="c.js"><testcase name="a"/></testsuite></testsuites>`, "c.js:0"},
		"bad line":                {`<testsuite><testcase name="a" file="a.js" line="x"/></testsuite>`, "a.js:0"},
		"negative line":           {`<testsuite><testcase name="a" file="a.js" line="-4"/></testsuite>`, "a.js:0"},
		"line 0":                  {`<testsuite><testcase name="a" file="a.js" line="0"/></testsuite>`, "a.js:0"},
		"pytest's line 0":         {`<testsuite name="pytest"><testcase name="a" file="a.py" line="0"/></testsuite>`, "a.py:1"},
		"line of the failure":     {`<testsuite><testcase name="a" file="t/a.js" line="7"><failure>lib.js:3:1 /app/t/a.js:9:1 /app/t/a.js:10:1</failure></testcase></testsuite>`, "t/a.js:9"},
		"bare in the failure":     {`<testsuite><testcase name="a" file="t/a.js" line="7"><failure>a.js:9:1</failure></testcase></testsuite>`, "t/a.js:9"},
		"another's ending":        {`<testsuite><testcase name="a" file="t/aa.js" line="7"><failure>a.js:9:1</failure></testcase></testsuite>`, "t/aa.js:7"},
		"line of the message":     {`<testsuite><testcase name="a" file="t/a.js" line="7"><failure message="t/a.js:9"/></testcase></testsuite>`, "t/a.js:9"},
		"passed":                  {`<testsuite><testcase name="a"><system-out>t/a.js:9</system-out></testcase></testsuite>`, ":0"},
		"skipped":                 {`<testsuite><testcase name="a"><skipped>t/a.js:9</skipped></testcase></testsuite>`, ":0"},
		"message's":               {`<testsuite><testcase name="a"><failure message="t/a.js:9"/></testcase></testsuite>`, "t/a.js:9"},
		"output's":                {`<testsuite><testcase name="a"><failure/><system-err>t/a.js:9</system-err></testcase></testsuite>`, "t/a.js:9"},
		"directory before bare":   {`<testsuite><testcase name="a"><failure>b.js:1 t/a.js:9</failure></testcase></testsuite>`, "t/a.js:9"},
		"bare":                    {`<testsuite><testcase name="a"><failure>b.js:1 c.js:9</failure></testcase></testsuite>`, "b.js:1"},
		"bare on the JVM":         {`<testsuite><testcase name="a" classname="x.B"><failure>C.java:1</failure></testcase></testsuite>`, ":0"},
		"JVM, no package":         {`<testsuite><testcase name="a" classname="B"><failure>C.java:1 B.java:2</failure></testcase></testsuite>`, "src/test/java/B.java:2"},
		"go, unknown package":     {`<testsuite><testcase name="a" classname="a b"><failure>a_test.go:2</failure></testcase></testsuite>`, "a_test.go:2"},
		"class is a path":         {`<testsuite><testcase name="a" classname="t/a.test.ts"><failure>x</failure></testcase></testsuite>`, "t/a.test.ts:0"},
		"suite is a path":         {`<testsuite name="t/a.test.ts"><testcase name="a" classname="k"><failure>x</failure></testcase></testsuite>`, "t/a.test.ts:0"},
		"suite is a sentence":     {`<testsuite name="reads a.ts"><testcase name="a" classname="k"><failure>x</failure></testcase></testsuite>`, ":0"},
		"class passed":            {`<testsuite><testcase name="a" classname="t/a.test.ts"/></testsuite>`, ":0"},
		"file outside":            {`<testsuite><testcase name="a" file="/other/a.js" line="7"/></testsuite>`, ":0"},
		"suite failed as a whole": {`<testsuite name="s"><error>t/a.js:9</error></testsuite>`, "t/a.js:9"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spotOf(parse(t, test.content)[0]); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestInModule(t *testing.T) {
	for pkg, want := range map[string]string{
		"github.com/acme/shop": "", "github.com/acme/shop/cart": "cart", "github.com/acme/shop/v2/internal/cart": "internal/cart",
		"gitlab.com/acme/shop/a/b": "a/b", "bitbucket.org/acme/shop/a": "a", "example.com/shop": "", "example.com/shop/a/b": "a/b",
		"k8s.io/api/v2/a": "a", "shop": "", "shop/a/b": "a/b", "shop/v1x/a": "v1x/a", "github.com": "",
	} {
		if got := inModule(pkg); got != want {
			t.Errorf("inModule(%q) = %q, want %q", pkg, got, want)
		}
	}
}

// TestLongTracesAreReadAtTheirEnds: the test's own frame is the first or the last of hundreds.
func TestLongTracesAreReadAtTheirEnds(t *testing.T) {
	library := strings.Repeat("    at run (node_modules/jest/run.js:1:1)\n", 500)
	p := newPaths("/app")
	for name, text := range map[string]string{
		"first": "Error: no\n    at pay (/app/src/pay.js:7:3)\n" + library, "last": library + "    at pay (/app/src/pay.js:7:3)\n",
		"a line without an end": "Error: no at pay (/app/src/pay.js:7:3) " + strings.Repeat("x", 10*maxTrace) + "\n    at pay (/app/src/pay.js:7:3)\n",
	} {
		if got := slices.Collect(p.frames(text)); len(got) != 1 || got[0] != (spot{"src/pay.js", 7}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
