package testreport

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// outcomes lists the status and the ID of each case.
func outcomes(cases []evidence.Case) string {
	var all []string
	for _, c := range cases {
		all = append(all, string(c.Status)+" "+c.ID())
	}
	return strings.Join(all, "\n")
}

// TestFormats distinguishes the formats by their content.
func TestFormats(t *testing.T) {
	trx := `<TestRun xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010"><Results><UnitTestResult testName="N.K.A" outcome="Passed"/></Results></TestRun>`
	event := `{"Time":"2026-03-04T12:00:00Z","Action":"pass","Package":"p","Test":"A","Elapsed":0.5}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
	for name, test := range map[string]struct{ content, want string }{
		"JUnit":                     {`<testsuite><testcase name="A" classname="k"/></testsuite>`, "passed k › A"},
		"JUnit after text":          {"running\n" + `<testsuite><testcase name="A" classname="k"/></testsuite>`, "passed k › A"},
		"TRX":                       {trx, "passed N.K › A"},
		"TRX with a mark":           {"\ufeff" + `<?xml version="1.0" encoding="utf-8"?>` + trx, "passed N.K › A"},
		"TRX as UTF-16":             {wide(`<?xml version="1.0" encoding="utf-16"?>` + trx), "passed N.K › A"},
		"go test":                   {event, "passed p › A"},
		"go test with CRLF":         {strings.ReplaceAll(event, "\n", "\r\n"), "passed p › A"},
		"go test as UTF-16":         {wide(event), "passed p › A"},
		"go test after other lines": {"go: downloading example.com/a v1.0.0\n{}\n" + event, "passed p › A"},
		"go test on a started line": {"warning" + event, "passed p › A"},
		"TAP":                       {"TAP version 13\n1..1\nok 1 - A\n", "passed A"},
		"TAP without a version":     {"1..1\nok A\n", "passed A"},
		"TAP with a plan at last":   {"starting\nok 1 - A\n1..1", "passed A"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcomes(parse(t, test.content)); got != test.want {
				t.Errorf("cases\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// wide encodes ASCII text as UTF-16 with a byte order mark, as PowerShell does when it redirects output.
func wide(s string) string {
	out := "\xff\xfe"
	for _, r := range s {
		out += string([]byte{byte(r), byte(r >> 8)})
	}
	return out
}

func TestTRX(t *testing.T) {
	for name, test := range map[string]struct {
		results, definitions, want string
		problems                   []string
	}{
		"outcomes": {
			`<UnitTestResult testName="a" outcome="Passed"/><UnitTestResult testName="b" outcome="Failed"/><UnitTestResult testName="c" outcome="Aborted"/>
			<UnitTestResult testName="d" outcome="Inconclusive"/><UnitTestResult testName="e"/><WebTestResult testName="f" outcome="Completed"/>`, "",
			"passed a\nfailed b\nerror c\nskipped d\nerror e\npassed f", nil,
		},
		"a class for two rows": {
			`<UnitTestResult testId="1" testName="a (1)" outcome="Passed"/><UnitTestResult testId="1" testName="a (1)" outcome="Failed"/>`,
			`<UnitTest id="1"><TestMethod className="N.K"/></UnitTest>`, "passed N.K › a (1)\nfailed N.K › a (1) (2)", nil,
		},
		"a sentence as the name": {`<UnitTestResult testName="it works. Always." outcome="Passed"/>`, "", "passed it works. Always.", nil},
		"a test that fails itself": {
			`<UnitTestResult testName="a" outcome="Failed"><InnerResults><UnitTestResult testName="b" outcome="Passed"/></InnerResults></UnitTestResult>`, "",
			"passed b\nfailed a", nil,
		},
		"an ordered test":  {`<TestResultAggregation testName="a" outcome="Passed"><InnerResults><UnitTestResult testName="b" outcome="Passed"/></InnerResults></TestResultAggregation>`, "", "passed b", nil},
		"without a result": {"", `<UnitTest id="1"><TestMethod className="N.K"/></UnitTest>`, "", []string{"does not contain any test case"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := `<TestRun><Results>` + test.results + `</Results><TestDefinitions>` + test.definitions + `</TestDefinitions></TestRun>`
			if got := outcomes(parse(t, file, test.problems...)); got != test.want {
				t.Errorf("cases\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	cut := parse(t, `<TestRun><Results><UnitTestResult testName="N.K.a" outcome="Passed"/><UnitTestResult testName="b`, "incomplete or damaged; kept 1 test case")
	if got := outcomes(cut); got != "passed N.K › a" {
		t.Errorf("a damaged file has %s", got)
	}
}

func TestClock(t *testing.T) {
	for in, want := range map[string]float64{
		"00:00:00": 0, "00:00:01.5000000": 1.5, "01:02:03": 3723, "1.00:00:00": 86400, " 00:01:00 ": 60, "": 0, "5": 0, "-1:00:00": 0, "00:00:x": 0, "a:b:c": 0,
		"99999999999:0:0": 0,
	} {
		if got := clock(in); math.Abs(got-want) > 1e-9 {
			t.Errorf("%q is %v seconds, want %v", in, got, want)
		}
	}
}

// events are lines of go test -json: action, test, output.
func events(lines ...[3]string) string {
	var b strings.Builder
	for _, l := range lines {
		line, _ := json.Marshal(event{Action: l[0], Package: "example.com/shop/cart", Test: l[1], Output: l[2]}) // It has only strings.
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func TestGoTest(t *testing.T) {
	for name, test := range map[string]struct {
		content, want, message string
		problems               []string
	}{
		"a build of Go 1.23": {
			"# example.com/shop/cart [example.com/shop/cart.test]\ncart/cart.go:3:1: syntax error\n" +
				events([3]string{"output", "", "FAIL\texample.com/shop/cart [build failed]\n"}, [3]string{"fail"}),
			"error example.com/shop/cart › (build)", "cart/cart.go:3:1: syntax error", nil,
		},
		"nothing but a verdict": {
			events([3]string{"output", "", "FAIL\n"}, [3]string{"fail"}),
			"error example.com/shop/cart › (package)", "The package failed, but none of its tests did", nil,
		},
		"the same test twice": {
			events([3]string{"pass", "TestA"}, [3]string{"fail", "TestA"}, [3]string{"fail"}),
			"passed example.com/shop/cart › TestA\nfailed example.com/shop/cart › TestA (2)", "", nil,
		},
		"cut off": {
			events([3]string{"run", "TestA"}, [3]string{"run", "TestA/b/c"}),
			"error example.com/shop/cart › TestA/b/c\nerror example.com/shop/cart › TestA", "1 subtest failed, first TestA/b/c",
			[]string{"It ends before the package example.com/shop/cart does; kept 2 test cases"},
		},
		"a benchmark": {events([3]string{"run", "BenchmarkA"}, [3]string{"bench", "BenchmarkA"}, [3]string{"pass"}), "passed example.com/shop/cart › BenchmarkA", "", nil},
		"no tests":    {events([3]string{"start"}, [3]string{"skip"}), "", "", []string{"does not contain any test case"}},
		"a stray line": {
			events([3]string{"run", "TestA"}) + "exit status 1\n" + events([3]string{"output", "TestA", "    a_test.go:3: \x1b[31mred\x1b[0m\n"}, [3]string{"fail", "TestA"}, [3]string{"fail"}),
			"failed example.com/shop/cart › TestA", "a_test.go:3: red", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cases := parse(t, test.content, test.problems...)
			if got := outcomes(cases); got != test.want {
				t.Errorf("cases\n%s\nwant\n%s", got, test.want)
			}
			if len(cases) > 0 && cases[len(cases)-1].Message != test.message {
				t.Errorf("message %q, want %q", cases[len(cases)-1].Message, test.message)
			}
		})
	}
	other := parse(t, "a panic of the tool\n"+events([3]string{"fail"}))
	if other[0].Output != "a panic of the tool" {
		t.Errorf("the output besides the events is %q", other[0].Output)
	}
}

func TestTAP(t *testing.T) {
	for name, test := range map[string]struct {
		content, want string
		problems      []string
	}{
		"bail out":           {"1..3\nok 1 - a\nBail out!  no database\nok 2 - b\n", "passed a\nerror Bail out!", nil},
		"bail out below":     {"1..1\n# Subtest: s\n    ok 1 - a\n    Bail out!\n", "passed s › a\nerror s › Bail out!", nil},
		"fewer than planned": {"1..3\nok 1 - a\n", "passed a\nerror (plan)", nil},
		"more than planned":  {"1..1\nok 1 - a\nok 2 - b\n", "passed a\npassed b\nerror (plan)", nil},
		"all skipped":        {"1..0 # SKIP no network\n", "skipped (all)", nil},
		"no plan":            {"TAP version 13\nok 1 - a\n", "passed a", []string{"does not have a plan; kept 1 test case"}},
		"no tests":           {"TAP version 13\n", "", []string{"does not contain any test case"}},
		"directives": {
			"1..5\nok 1 - a # skip\nnot ok 2 - b # todo later\nok 3 - c # TODO\nok 4 - d \\# skip\nnot ok 5 - e # Skipped: why\n",
			"skipped a\nskipped b\npassed c\npassed d # skip\nskipped e", nil,
		},
		"without names":          {"1..2\nok\nnot ok 2\n", "passed test 1\nfailed test 2", nil},
		"the verdict of prove":   {"t/a.t .. \n1..1\nok 1 - a\nok\nt/b.t .. \n1..1\nok 1 - a\nok\nAll tests successful.\n", "passed t/a.t › a\npassed t/b.t › a", nil},
		"two documents":          {"TAP version 13\n1..1\nok 1 - a\nTAP version 13\n1..2\nok 1 - a\n", "passed a\npassed a (2)\nerror (plan)", nil},
		"a subtest of its own":   {"1..1\n    ok 1 - a\n    1..1\nok 1 - s\n", "passed a", nil},
		"a subtest without help": {"1..1\n# Subtest: s\n    ok 1 - a\n    1..1\nnot ok 1 - s\n  ---\n  message: no end\n  ...\n", "passed s › a\nfailed s", nil},
		"other output":           {"1..1\nokay then\n   ok 7 things\nnot okay\nok: 3\nok 1 - a\n", "passed a", nil},
		"a block without an end": {"1..2\nnot ok 1 - a\n  ---\n  message: x\nok 2 - b\n", "failed a\npassed b", nil},
		"subtests too deep":      {"1..1\n" + deepTAP(maxDepth+1), "", []string{"nested more than 64 levels deep"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcomes(parse(t, test.content, test.problems...)); got != test.want {
				t.Errorf("cases\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	c := parse(t, "1..1\nstarting\nnot ok 1 - a # time=1.5s\n# expected 1\n")[0]
	if c.Output != "starting" || c.Message != "expected 1" || c.Seconds != 1.5 {
		t.Errorf("case %+v", c)
	}
}

func deepTAP(levels int) string {
	var b strings.Builder
	for n := range levels {
		b.WriteString(strings.Repeat(" ", n*tapIndent) + "# Subtest: s\n")
	}
	return b.String() + strings.Repeat(" ", levels*tapIndent) + "ok 1\n"
}

// TestMaxCasesOfFormats reads as many cases as allowed and reports that there are more.
func TestMaxCasesOfFormats(t *testing.T) {
	for name, file := range map[string][3]string{
		"TRX":     {"<TestRun><Results>", `<UnitTestResult testName="a" outcome="Passed"/>`, "</Results></TestRun>"},
		"go test": {"", events([3]string{"pass", "TestA"}), events([3]string{"pass"})},
		"TAP":     {"TAP version 13\n", "ok 1 - a\n", "1..20000\n"},
	} {
		if n := len(parse(t, file[0]+strings.Repeat(file[1], MaxCases)+file[2])); n != MaxCases {
			t.Errorf("%s: %d cases", name, n)
		}
		if n := len(parse(t, file[0]+strings.Repeat(file[1], MaxCases+1)+file[2], "more than 20000 test cases")); n != MaxCases {
			t.Errorf("%s: %d cases", name, n)
		}
	}
}

// TestMemoryOfFormats reads files that keep as much open as they can.
func TestMemoryOfFormats(t *testing.T) {
	long := strings.Repeat("x", 900)
	for name, test := range map[string]struct {
		head, tail, problem string
		line                func(n int) string
		lines               int
	}{
		"open tests": {"", "", "of output at the same time", func(n int) string {
			return fmt.Sprintf(`{"Action":"output","Package":"p","Test":"T%d","Output":"%s"}`+"\n", n, long)
		}, 50_000},
		"open packages": {"", "", "of output at the same time", func(n int) string {
			return fmt.Sprintf(`{"Action":"output","Package":"p%d","Output":"%s"}`+"\n", n, long)
		}, 50_000},
		"results of TRX": {"<TestRun><Results>", "</Results></TestRun>", "the classes of some tests were left out", func(n int) string {
			return fmt.Sprintf(`<UnitTestResult testId="%d" testName="%d%s" outcome="Passed"/>`, n, n, long)
		}, MaxCases},
		"a line of go test": {events([3]string{"run", "TestA"}) + `{"Action":"`, "", "It ends before", func(int) string { return long }, 50_000},
		"a line of TAP":     {"1..1\nok 1 - ", "", "", func(int) string { return long }, 50_000},
		"a block of TAP":    {"1..1\nnot ok 1\n  ---\n  a: |\n", "", "", func(int) string { return "    " + long + "\n" }, 50_000},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			before, most := heap(), 0
			in, out := io.Pipe()
			go func() {
				_, err := io.WriteString(out, test.head)
				for n := 0; err == nil && n < test.lines; n++ {
					if n%(test.lines/8) == 0 {
						runtime.GC()
						most = max(most, heap())
					}
					_, err = io.WriteString(out, test.line(n))
				}
				if err == nil {
					_, err = io.WriteString(out, test.tail)
				}
				out.CloseWithError(err)
			}()
			problems, err := Parse(in, "/app", func(evidence.Case) error { return nil })
			t.Logf("the heap grew by %d KiB", (most-before)>>10)
			if err != nil || !strings.Contains(strings.Join(problems, "\n"), test.problem) {
				t.Errorf("problems %q, error %v", problems, err)
			}
			if grown := most - before; grown > 28<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
		})
	}
}
