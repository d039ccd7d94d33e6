package testreport

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// output is a log of 2 KiB.
var output = strings.Repeat("a line of the log, as long as they are\n", 52)

// BenchmarkParse reads 5,000 cases in each format, one in ten of them bad, with 2 KiB of output each.
func BenchmarkParse(b *testing.B) {
	for _, format := range []struct {
		name  string
		write func(file *strings.Builder)
	}{{"JUnit", benchJUnit}, {"TRX", benchTRX}, {"go-test", benchGoTest}, {"TAP", benchTAP}} {
		b.Run(format.name, func(b *testing.B) {
			var file strings.Builder
			format.write(&file)
			b.SetBytes(int64(file.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if cases, _, err := gather(strings.NewReader(file.String()), "/app"); err != nil || len(cases) != 5000 {
					b.Fatal(len(cases), err)
				}
			}
		})
	}
}

func benchJUnit(file *strings.Builder) {
	file.WriteString(`<testsuites><testsuite name="s">`)
	for i := range 5000 {
		fmt.Fprintf(file, `<testcase classname="k%d" name="does %d" time="0.01">`, i%50, i)
		if i%10 == 0 {
			fmt.Fprintf(file, "<failure message=\"it broke\">Error: it broke\n    at Object.toBe (/app/src/k%d.test.js:%d:21)</failure>", i%50, i+1)
		}
		fmt.Fprintf(file, `<system-out>%s</system-out></testcase>`, output)
	}
	file.WriteString(`</testsuite></testsuites>`)
}

func benchTRX(file *strings.Builder) {
	file.WriteString(`<TestRun xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010"><Results>`)
	for i := range 5000 {
		outcome, failure := "Passed", ""
		if i%10 == 0 {
			outcome = "Failed"
			failure = fmt.Sprintf("<ErrorInfo><Message>it broke</Message><StackTrace>   at N.K%d.Does() in /app/tests/K%d.cs:line %d</StackTrace></ErrorInfo>", i%50, i%50, i+1)
		}
		fmt.Fprintf(file, `<UnitTestResult testId="%d" testName="Does%d" duration="00:00:00.01" outcome="%s"><Output><StdOut>%s</StdOut>%s</Output></UnitTestResult>`,
			i, i, outcome, output, failure)
	}
	file.WriteString(`</Results><TestDefinitions>`)
	for i := range 5000 {
		fmt.Fprintf(file, `<UnitTest id="%d"><TestMethod className="N.K%d" name="Does%d"/></UnitTest>`, i, i%50, i)
	}
	file.WriteString(`</TestDefinitions></TestRun>`)
}

func benchGoTest(file *strings.Builder) {
	event := func(action, test, output string) {
		line, _ := json.Marshal(event{Action: action, Package: "example.com/shop", Test: test, Output: output}) // It has only strings.
		file.Write(append(line, '\n'))
	}
	for i := range 5000 {
		test, action := fmt.Sprintf("Test%d", i), "pass"
		event("run", test, "")
		for line := range strings.Lines(output) {
			event("output", test, line)
		}
		if i%10 == 0 {
			action = "fail"
			event("output", test, fmt.Sprintf("    k%d_test.go:%d: it broke\n", i%50, i+1))
		}
		event(action, test, "")
	}
	event("fail", "", "")
}

func benchTAP(file *strings.Builder) {
	file.WriteString("TAP version 13\n1..5000\n")
	for i := range 5000 {
		file.WriteString(output)
		if i%10 != 0 {
			fmt.Fprintf(file, "ok %d - does %d\n  ---\n  duration_ms: 10\n  ...\n", i+1, i)
			continue
		}
		fmt.Fprintf(file, "not ok %d - does %d\n  ---\n  message: it broke\n  stack: |-\n    Object.toBe (/app/src/k%d.test.js:%d:21)\n  ...\n", i+1, i, i%50, i+1)
	}
}
