package testreport

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

func failing(text string) string {
	return `<testsuite name="s"><testcase name="a" classname="k"><failure>` + text + `</failure></testcase></testsuite>`
}

// TestDamaged reads files that are not JUnit, or damaged JUnit.
func TestDamaged(t *testing.T) {
	ok := `<testcase name="a" classname="k"/>`
	for name, test := range map[string]struct {
		content  string
		cases    int
		problems []string
	}{
		"empty":               {"", 0, []string{"It is empty"}},
		"blank":               {" \n", 0, []string{"It is empty"}},
		"json":                {`{"tests": 3}`, 0, []string{"it is JSON, but without the events of go test"}},
		"binary":              {"\x7fELF\x02\x01\x01\x00\xff\xfe<\x00", 0, []string{"it begins with"}},
		"coverage":            {`<coverage version="1"><packages/></coverage>`, 0, []string{"not JUnit XML, TRX, go test -json or TAP: its first element is <coverage>"}},
		"html":                {`<html><body><br>x</body></html>`, 0, []string{"<html>"}},
		"text":                {"== Results ==\nall passed\nok  \texample.com/shop\t0.1s\n", 0, []string{"it begins with \"== Results ==\""}},
		"no cases":            {`<testsuites tests="0"></testsuites>`, 0, []string{"not contain any test case"}},
		"cut between":         {`<testsuite>` + ok + ok, 2, []string{"incomplete or damaged; kept 2 test cases"}},
		"cut within a case":   {`<testsuite>` + ok + `<testcase name="b"><failure>`, 1, []string{"kept 1 test case"}},
		"cut within a tag":    {`<testsuite>` + ok + `<testcase name="b`, 1, []string{"incomplete"}},
		"cut within CDATA":    {`<testsuite>` + ok + `<system-out><![CDATA[ab`, 1, []string{"incomplete"}},
		"cut within comment":  {`<testsuite>` + ok + `<!-- ab`, 1, []string{"incomplete"}},
		"cut within doctype":  {`<!DOCTYPE x [`, 0, []string{"it begins with \"<!DOCTYPE x [\""}},
		"stray end":           {`<testsuite>` + ok + `</testsuite></testsuite>`, 1, []string{"end is damaged"}},
		"wrong end":           {`<testsuite>` + ok + `</testsuites>`, 1, []string{"end is damaged"}},
		"two documents":       {`<?xml version="1.0"?><testsuite>` + ok + "</testsuite>\n<?xml version='1.0'?>\n<testsuite>" + ok + `</testsuite>`, 2, nil},
		"a case alone":        {ok, 1, nil},
		"unquoted attribute":  {`<testsuite><testcase name=a></testcase></testsuite>`, 1, nil},
		"less in attribute":   {`<testsuite><testcase name="a < b & c"/></testsuite>`, 1, nil},
		"stray marks":         {failing(`1 < 2 && a<b> ]]> "x`), 1, nil},
		"unknown entity":      {failing(`&nbsp;&foo;&#;&#x;&#99999999;&`), 1, nil},
		"forbidden character": {failing("a\x00\x08&#0;&#x1b;&#xFFFE;b\xff"), 1, nil},
		"entities":            {`<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;">` + `<!-- > -->]>` + failing("&b;"), 1, nil},
		"doctype":             {`<!DOCTYPE testsuite SYSTEM "a>b.dtd">` + failing("x"), 1, nil},
		"odd instruction":     {`<?xml-stylesheet it's?><testsuite>` + ok + `</testsuite>`, 1, nil},
		"nested case":         {`<testsuite><testcase name="a"><testcase name="b"/></testcase></testsuite>`, 1, nil},
		"long tag":            {`<testsuite>` + ok + `<testcase ` + strings.Repeat("a ", maxTag/2) + `/></testsuite>`, 1, []string{"a tag of more than"}},
		"deep":                {strings.Repeat("<testsuite>", maxDepth+1), 0, []string{"nested more than 64 levels deep"}},
		"deep enough":         {strings.Repeat("<testsuite>", maxDepth-1) + ok + strings.Repeat("</testsuite>", maxDepth-1), 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if cases := parse(t, test.content, test.problems...); len(cases) != test.cases {
				t.Errorf("%d cases, want %d", len(cases), test.cases)
			}
		})
	}
}

// TestText is what becomes of a failure's text.
func TestText(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"marks":                {`1 < 2 && a > b ]]> "x`, `1 < 2 && a > b ]]> "x`},
		"references":           {`&lt;a&gt; &amp;lt; &#65;&#x42;&#x10FFFF; &nbsp; &#X41; &#x110000; &#99999999999;`, "<a> &lt; AB\U0010FFFF &nbsp; &#X41; &#x110000; &#99999999999;"},
		"forbidden references": {"a&#0;b&#8;c&#xB;d&#x1F;e&#xD800;f&#xFFFE;g&#xffff;h", "a\uFFFDb\uFFFDc\uFFFDd\uFFFDe\uFFFDf\uFFFDg\uFFFDh"},
		"CDATA":                {`<![CDATA[a]b]]c<d>&lt;]]>e`, `a]b]]c<d>&lt;e`},
		"comment":              {`a<!-- <b> -- -->c`, `ac`},
		"declaration":          {`a<!DOCTYPE b>c`, `ac`},
		"instruction":          {`a<?php "?>c`, `ac`},
		"child":                {`a<b x="1">c</b>d`, `acd`},
		"forbidden":            {"a\x01b&#2;c\xffd", "a\uFFFDb\uFFFDc\uFFFDd"},
		"colours":              {"\x1b[1;31mred\x1b[0m &#27;[2mdim&#x1B;[22m #x1B[31mpytest#x1B[0m", "red dim pytest"},
		"lines":                {"\n  \n  a\r\nb  \n\n", "  a\nb"},
		"kept":                 {"a\tb\u00e9\U0001F600\uFFFD", "a\tb\u00e9\U0001F600\uFFFD"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, failing(test.in))[0].Detail; got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestLegal is the production Char of XML 1.0, at its edges.
func TestLegal(t *testing.T) {
	for r, want := range map[rune]bool{
		0: false, 8: false, '\t': true, '\n': true, 0xB: false, '\r': true, 0xE: false, 0x1F: false, 0x20: true, 0xD7FF: true, 0xD800: false,
		0xDFFF: false, 0xE000: true, 0xFFFD: true, 0xFFFE: false, 0xFFFF: false, 0x10000: true, 0x10FFFF: true, 0x110000: false,
	} {
		if legal(r) != want {
			t.Errorf("%U: legal %v", r, !want)
		}
	}
	for b, want := range map[byte]bool{
		'a': true, 'z': true, 'A': true, 'Z': true, '_': true, ':': true, 0x80: true, 0xC3: true, '`': false, '{': false, '@': false, '[': false, '0': false, ' ': false, 0x7F: false,
	} {
		if nameStart(b) != want {
			t.Errorf("%q: begins a name %v", b, !want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		in    string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abc", 2, "ab"}, {"aé", 3, "aé"}, {"aé", 2, "a"}, {"é", 1, ""}, {"", 0, ""}, {"a", 0, ""}} {
		if got := text.Head(test.in, test.limit); got != test.want {
			t.Errorf("text.Head(%q, %d) = %q", test.in, test.limit, got)
		}
	}
}

// TestCharset reads other charsets, and files that declare the wrong one.
func TestCharset(t *testing.T) {
	document := func(declared, text string) string {
		return fmt.Sprintf(`<?xml version="1.0" encoding="%s"?>%s`, declared, failing(text))
	}
	utf16 := func(s string) string {
		out := "\xff\xfe"
		for _, r := range s {
			out += string([]byte{byte(r), byte(r >> 8)})
		}
		return out
	}
	for name, test := range map[string]struct {
		content, want string
		problems      []string
	}{
		"utf-8":              {document("UTF-8", "é"), "é", nil},
		"mark":               {"\ufeff" + document("utf-8", "é"), "é", nil},
		"latin-1":            {document("ISO-8859-1", "\xe9"), "é", nil},
		"windows-1252":       {document("windows-1252", "\x80"), "€", nil},
		"shift-jis":          {document("Shift_JIS", "\x93\xfa"), "日", nil},
		"utf-16 with a mark": {utf16(document("utf-16", "é€")), "é€", nil},
		"utf-16 in words":    {document("utf-16", "é"), "é", nil},
		"unknown":            {document("x-klingon", "é"), "é", []string{"x-klingon is not supported"}},
		"none":               {failing("é"), "é", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, test.content, test.problems...)[0].Detail; got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestLimits keeps the ends of long texts and reports the omitted length.
func TestLimits(t *testing.T) {
	long := "begin " + strings.Repeat("é", 1<<17) + " end"
	for name, content := range map[string]string{"text": long, "CDATA": "<![CDATA[" + long + "]]>"} {
		c := parse(t, failing(content))[0]
		if len(c.Detail) > evidence.MaxDetail || len(c.Detail) < evidence.MaxDetail-100 || !utf8.ValidString(c.Detail) {
			t.Errorf("%s: %d bytes", name, len(c.Detail))
		}
		if !strings.HasPrefix(c.Detail, "begin é") || !strings.HasSuffix(c.Detail, "é end") {
			t.Errorf("%s: an end is missing", name)
		}
		kept := len(c.Detail) - len("\n[245819 bytes left out]\n")
		if want := fmt.Sprintf("\n[%d bytes left out]\n", len(long)-kept); !strings.Contains(c.Detail, want) {
			t.Errorf("%s: no %q", name, want)
		}
		if len(c.Message) > evidence.MaxMessage || !utf8.ValidString(c.Message) {
			t.Errorf("%s: a message of %d bytes", name, len(c.Message))
		}
	}
	c := parse(t, `<testsuite><testcase classname="k`+long+`" name="`+long+`"><failure message="`+long+`"/><system-out>`+long+`</system-out></testcase><testcase name="next"/></testsuite>`)[0]
	for what, n := range map[string][2]int{"name": {len(c.Name), maxName}, "class": {len(c.Class), maxName}, "message": {len(c.Message), evidence.MaxMessage}} {
		if n[0] > n[1] || n[0] < n[1]-1 {
			t.Errorf("a %s of %d bytes, want %d", what, n[0], n[1])
		}
	}
	if len(c.Output) > evidence.MaxOutput || !strings.HasSuffix(c.Output, "é end") {
		t.Errorf("an output of %d bytes", len(c.Output))
	}
	for n := range 4 {
		c := parse(t, failing(strings.Repeat("x", n)+strings.Repeat("\U0001F600", evidence.MaxDetail)))[0]
		if !utf8.ValidString(c.Detail) || strings.Contains(c.Detail, "\uFFFD") {
			t.Errorf("a character is split after %d bytes", n)
		}
	}
	exact := strings.Repeat("x", evidence.MaxDetail-leftOut)
	if got := parse(t, failing(exact))[0].Detail; got != exact {
		t.Errorf("%d bytes of a text that fits", len(got))
	}
}

// TestMaxCases reads as many cases as allowed and reports that there are more.
func TestMaxCases(t *testing.T) {
	all := strings.Repeat(`<testcase name="a"/>`, MaxCases)
	if n := len(parse(t, "<testsuite>"+all+"</testsuite>")); n != MaxCases {
		t.Errorf("%d cases", n)
	}
	if n := len(parse(t, "<testsuite>"+all+`<testcase name="a"/></testsuite>`, "more than 20000 test cases")); n != MaxCases {
		t.Errorf("%d cases", n)
	}
}

// TestMemory reads a file of 8 MiB in less: all of it a text, a CDATA section, an attribute or a comment.
func TestMemory(t *testing.T) {
	for name, around := range map[string][2]string{
		"text": {"", ""}, "CDATA": {"<![CDATA[", "]]>"}, "comment": {"<!--", "-->"}, "attribute": {`<a b="`, `"/>`},
	} {
		runtime.GC()
		filler := &zeros{left: 8 << 20}
		before := heap()
		in := io.MultiReader(strings.NewReader(`<testsuite><testcase name="a"><failure>`+around[0]), filler, strings.NewReader(around[1]+`</failure></testcase></testsuite>`))
		cases, problems, err := gather(in, "/app")
		if err != nil || len(problems) > 0 || len(cases) != 1 || filler.left > 0 {
			t.Fatal(name, len(cases), problems, err)
		}
		if grown := filler.most - before; grown > 5<<20 {
			t.Errorf("%s: the heap grew by %d MiB", name, grown>>20)
		}
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// zeros are many, and look how much memory is used while they are read.
type zeros struct{ left, most int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left <= 0 {
		return 0, io.EOF
	}
	if z.left%(1<<21) == 0 {
		z.most = max(z.most, heap())
	}
	for i := range b {
		b[i] = '0'
	}
	z.left -= len(b)
	return len(b), nil
}

// TestCasesAreNotHeld reads 20,000 cases with long names in less memory than these have, and hands each out once no output can be for it.
func TestCasesAreNotHeld(t *testing.T) {
	in, out := io.Pipe()
	go func() {
		long := strings.Repeat("x", 1000)
		_, err := io.WriteString(out, "<testsuites><testsuite>")
		for i := 0; err == nil && i < MaxCases; i++ {
			_, err = fmt.Fprintf(out, `<testcase name="%d %s"/>`, i, long)
		}
		out.CloseWithError(err)
	}()
	runtime.GC()
	before, most, cases := heap(), 0, 0
	_, err := Parse(in, "/app", func(evidence.Case) error {
		if cases++; cases%2000 == 0 {
			runtime.GC()
			most = max(most, heap())
		}
		return nil
	})
	if err != nil || cases != MaxCases {
		t.Fatalf("%d cases: %v", cases, err)
	}
	if grown := most - before; grown > 5<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// TestReadingStops ends with the first error of the function that takes the cases.
func TestReadingStops(t *testing.T) {
	full, taken := errors.New("full"), 0
	_, err := Parse(strings.NewReader(strings.Repeat(`<testsuite><testcase name="a"/></testsuite>`, 10)), "/app", func(evidence.Case) error {
		taken++
		return full
	})
	if !errors.Is(err, full) || taken != 1 {
		t.Errorf("%d cases were handed out: %v", taken, err)
	}
}

// TestReadError keeps an error of the reader apart from one of the content.
func TestReadError(t *testing.T) {
	broken := errors.New("connection lost")
	in := io.MultiReader(strings.NewReader(`<testsuite><testcase name="a"/>`), iotest.ErrReader(broken))
	cases, _, err := gather(in, "/app")
	if !errors.Is(err, broken) || len(cases) != 1 {
		t.Errorf("%d cases, %v", len(cases), err)
	}
	if cases, problems, err := gather(iotest.OneByteReader(strings.NewReader(failing("a&#1;<b/>]]>"))), ""); err != nil || len(problems) > 0 || cases[0].Detail != "a\uFFFD]]>" {
		t.Errorf("read by bytes: %v %q %v", cases, problems, err)
	}
}
