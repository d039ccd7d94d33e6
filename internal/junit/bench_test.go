package junit

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads 5,000 cases, one in ten of them bad, with 2 KiB of output each.
func BenchmarkParse(b *testing.B) {
	var file strings.Builder
	file.WriteString(`<testsuites><testsuite name="s">`)
	output := strings.Repeat("a line of the log, as long as they are\n", 52)
	for i := range 5000 {
		fmt.Fprintf(&file, `<testcase classname="k%d" name="does %d" time="0.01">`, i%50, i)
		if i%10 == 0 {
			fmt.Fprintf(&file, "<failure message=\"it broke\">Error: it broke\n    at Object.toBe (/app/src/k%d.test.js:%d:21)</failure>", i%50, i+1)
		}
		fmt.Fprintf(&file, `<system-out>%s</system-out></testcase>`, output)
	}
	file.WriteString(`</testsuite></testsuites>`)
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if cases, _, err := gather(strings.NewReader(file.String()), "/app"); err != nil || len(cases) != 5000 {
			b.Fatal(len(cases), err)
		}
	}
}
