package testreport

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// TestStatus reads how cases end in the dialects.
func TestStatus(t *testing.T) {
	for content, want := range map[string]evidence.Status{
		``:                                    evidence.Passed,
		`<failure/>`:                          evidence.Failed,
		`<error/>`:                            evidence.Error,
		`<error/><failure/>`:                  evidence.Failed,
		`<failure/><error/>`:                  evidence.Failed,
		`<skipped/>`:                          evidence.Skipped,
		`<ignored/>`:                          evidence.Skipped,
		`<skipped/><failure/>`:                evidence.Failed,
		`<properties><failure/></properties>`: evidence.Passed,
		`<rerunFailure/>`:                     evidence.Passed,
	} {
		if c := parse(t, `<testsuite><testcase name="a">`+content+`</testcase></testsuite>`)[0]; c.Status != want {
			t.Errorf("%s: %s, want %s", content, c.Status, want)
		}
	}
	for attribute, want := range map[string]evidence.Status{
		`status="run"`: evidence.Passed, `status="fail"`: evidence.Failed, `status="Failed"`: evidence.Failed, `result="failure"`: evidence.Failed,
		`status="error"`: evidence.Error, `status="errored"`: evidence.Error, `status="disabled"`: evidence.Skipped, `status="notrun"`: evidence.Skipped,
		`status="run" result="skipped"`: evidence.Skipped, `status="ignored"`: evidence.Skipped, `result="suppressed"`: evidence.Skipped, `status="pending"`: evidence.Skipped,
	} {
		if c := parse(t, `<testsuite><testcase name="a" `+attribute+`/></testsuite>`)[0]; c.Status != want {
			t.Errorf("%s: %s, want %s", attribute, c.Status, want)
		}
	}
	for content, flaky := range map[string]bool{`<flakyFailure/>`: true, `<flakyError/>`: true, `<flakyFailure/><failure/>`: false, `<rerunError/>`: false} {
		if c := parse(t, `<testsuite><testcase name="a">`+content+`</testcase></testsuite>`)[0]; c.Flaky != flaky {
			t.Errorf("%s: flaky %v", content, c.Flaky)
		}
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]float64{
		"": 0, "1": 1, "0.25": 0.25, " 2.5 ": 2.5, "0.": 0, "1,5": 1.5, "1,034.5": 1034.5, "1,000,034.5": 1000034.5, "1e-3": 0.001,
		"-1": 0, "-0.001": 0, "NaN": 0, "Inf": 0, "1e999": 0, "soon": 0,
	} {
		if got := seconds(in); got != want {
			t.Errorf("seconds(%q) = %v, want %v", in, got, want)
		}
	}
}

// TestNames checks the names of cases.
func TestNames(t *testing.T) {
	for content, want := range map[string]string{
		`<testsuite name="s"><testcase name="a" classname="k"/></testsuite>`:                                       "k › a",
		`<testsuite name="s"><testcase name="a" class="k"/></testsuite>`:                                           "k › a",
		`<testsuite name="s"><testcase name="a"/></testsuite>`:                                                     "s › a",
		`<testsuite name="s"><testcase name="s a" classname="a"/></testsuite>`:                                     "s › s a",
		`<testsuite name="a"><testcase name="a" classname="a"/></testsuite>`:                                       "a",
		`<testsuite><testcase classname="k"/></testsuite>`:                                                         "k",
		`<testsuite><testcase/></testsuite>`:                                                                       "(no name)",
		`<testsuite><testcase id="7"/></testsuite>`:                                                                "7",
		`<testsuite name="s"><testcase name="&#10; a&#9;&#27;[1mb&#27;[0m " classname=" k "/></testsuite>`:         "k › a b",
		`<testsuite name="o"><testsuite name="i"><testcase name="a"/></testsuite></testsuite>`:                     "i › a",
		`<testsuite name="o"><testsuite name="i"></testsuite><testcase name="a"/></testsuite>`:                     "o › a",
		`<x:testsuite xmlns:x="u" name="s"><x:testcase name="a" x:name="b"/></x:testsuite>`:                        "s › a",
		`<testsuite name="s"><failure message="m"/></testsuite>`:                                                   "s",
		`<testsuite name="s"><error>m<b/></error><testcase name="a"/></testsuite>`:                                 "s",
		`<testsuites name="all"><testsuite name="s"><properties><testcase/></properties></testsuite></testsuites>`: "s › (no name)",
	} {
		if got := parse(t, content)[0].ID(); got != want {
			t.Errorf("%s: %q, want %q", content, got, want)
		}
	}
}

// TestSameNames numbers the cases of one name, also where a number is taken.
func TestSameNames(t *testing.T) {
	var content strings.Builder
	for _, name := range []string{"a", "a (2)", "a", "b", "a", "a (2)"} {
		fmt.Fprintf(&content, `<testcase name="%s" classname="k"/>`, name)
	}
	var got []string
	seen := map[string]bool{}
	for _, c := range parse(t, "<testsuite>"+content.String()+"</testsuite>") {
		got = append(got, c.Name)
		if seen[c.ID()] {
			t.Errorf("%s is there twice", c.ID())
		}
		seen[c.ID()] = true
	}
	if diff := cmp.Diff([]string{"a", "a (2)", "a (3)", "b", "a (4)", "a (2) (2)"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestMessage is the failure in a few lines.
func TestMessage(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"attribute":          {`<failure message=" m &#10;n ">text</failure>`, " m \nn"},
		"text":               {`<failure message="failed">the text</failure>`, "the text"},
		"place and words":    {`<failure message="src/a.js:1:2 is wrong">text</failure>`, "src/a.js:1:2 is wrong"},
		"place and name":     {`<failure message="src/a.js:1:2 a">text</failure>`, "text"},
		"first attribute":    {`<failure>one</failure><failure message="m"/>`, "m"},
		"second":             {`<failure message="m"/><error message="n"/>`, "m"},
		"type alone":         {`<failure type="java.lang.Error"/>`, "java.lang.Error"},
		"nothing":            {`<failure/>`, ""},
		"nothing but failed": {`<failure message="Failed"/>`, "Failed"},
		"output":             {`<failure/><system-out>it broke</system-out>`, "it broke"},
		"six lines":          {"<failure>1\n2\n\n3\n4\n5\n6\n7</failure>", "1\n2\n\n3\n4\n5\n6"},
		"trace first":        {"<failure>at a\nat b</failure>", "at a"},
		"python":             {"<failure>ValueError: x\n  File \"a.py\", line 1\n</failure>", "ValueError: x"},
		"extended":           {"<failure message=\"panicked\">panicked:\n left: 1</failure>", "panicked:\nleft: 1"},
		"pytest's exception": {"<failure message=\"collection failure\">in x\nE   NameError: y\nE    more</failure>", "NameError: y\nmore"},
		"skipped":            {"<skipped message=\"=== RUN   TestA&#10;    a_test.go:1: no network&#10;--- SKIP: TestA\"/>", "a_test.go:1: no network"},
		"skipped at length":  {"<skipped message=\"=== RUN   TestA&#10;    a_test.go:1: " + strings.Repeat("no network ", 60) + "&#10;--- SKIP: TestA\"/>", "a_test.go:1: " + strings.TrimSpace(strings.Repeat("no network ", 60))},
		"passed":             {`<rerunFailure message="m">x</rerunFailure>`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, `<testsuite><testcase name="a" classname="k">`+test.content+`</testcase></testsuite>`)[0].Message; got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestOutput gives each case its own output, and a bad one its part of the testsuite's.
func TestOutput(t *testing.T) {
	outputs := func(content string) []string {
		var all []string
		for _, c := range parse(t, content) {
			all = append(all, c.Output)
		}
		return all
	}
	fails := func(name string) string {
		return fmt.Sprintf(`<testcase name="%s" classname="k"><failure>f</failure></testcase>`, name)
	}
	for name, test := range map[string]struct {
		content string
		want    []string
	}{
		"own":         {`<testsuite><testcase name="a"><system-out>one</system-out><system-err>two</system-err><properties><property><system-out>no</system-out></property></properties></testcase></testsuite>`, []string{"one\ntwo"}},
		"only one":    {`<testsuite>` + fails("a") + `<system-out>all of it</system-out></testsuite>`, []string{"all of it"}},
		"properties":  {`<testsuite><properties>p<property name="a">q</property></properties>` + fails("a") + `</testsuite>`, []string{""}},
		"one, passed": {`<testsuite><testcase name="a"/><system-out>all of it</system-out></testsuite>`, []string{""}},
		"own first":   {`<testsuite><testcase name="a"><failure/><system-out>own</system-out></testcase><system-out>all of it</system-out></testsuite>`, []string{"own"}},
		"parts": {`<testsuite>` + fails("testOne") + fails("testOneMore") + fails("testTwo") + "<system-out>setup\ntestOne:\n 1\ntestOneMore\n 2 testOneMore\ntestTwoo\n(testOne) again</system-out></testsuite>",
			[]string{"testOne:\n 1\n(testOne) again", "testOneMore\n 2 testOneMore\ntestTwoo", ""}},
		"four letters": {`<testsuite>` + fails("aaaa") + fails("bbbb") + "<system-out>aaaa bbbb\nbbbb\n1\naaaa</system-out></testsuite>", []string{"aaaa bbbb\naaaa", "bbbb\n1"}},
		"longest name": {`<testsuite>` + fails("the long name") + fails("name") + fails("a long name") + "<system-out>the long name, a long name\n1\nname\n2\nname of the long name</system-out></testsuite>",
			[]string{"the long name, a long name\n1", "name\n2\nname of the long name", ""}},
		"short names":  {`<testsuite>` + fails("one") + fails("two") + "<system-out>one\n1</system-out></testsuite>", []string{"", ""}},
		"outer suites": {`<testsuites><testsuite>` + fails("aaaa") + `</testsuite><testsuite>` + fails("bbbb") + "<system-out>x</system-out></testsuite></testsuites>", []string{"", "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, outputs(test.content)); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := `<testsuite>` + fails("chosen") + strings.Repeat(fails("other"), shareCases-1)
	if got := outputs(many + `<system-out>chosen one</system-out></testsuite>`)[0]; got != "chosen one" {
		t.Errorf("%q of a large testsuite", got)
	}
	if got := outputs(many + fails("last") + `<system-out>chosen one</system-out></testsuite>`)[0]; got != "" {
		t.Errorf("%q of too large a testsuite", got)
	}
}
