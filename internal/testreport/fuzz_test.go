package testreport

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// FuzzJUnit, FuzzTRX, FuzzGoTest and FuzzTAP hold every file to what its readers rely on.
func FuzzJUnit(f *testing.F) {
	f.Add(failing("a&#1;\xff<![CDATA[b]]]>]]><!-- c --><?d?>"), "")
	f.Add("\xff\xfe<\x00a\x00", "/")
	fuzz(f, ".xml")
}

func FuzzTRX(f *testing.F) {
	f.Add(`<TestRun><Results><TestResult outcome="Failed"><InnerResults><TestResult testId="a"/></InnerResults></TestResult></Results>`, "/")
	fuzz(f, ".trx")
}

func FuzzGoTest(f *testing.F) {
	f.Add("x{\"Action\":\"fail\",\"Package\":\"a\",\"Test\":\"b/c//\\u001b\"}\n# a\n{\"Action\":\"fail\",\"Package\":\"a\",\"Elapsed\":-1}", "/")
	fuzz(f, ".jsonl")
}

func FuzzTAP(f *testing.F) {
	f.Add("1..2\nok 1 - a {\n    # Subtest: b\n        not ok 1\n      ---\n      a: |\n        b\n}\nnot ok # TODO\n  ---\n  file: ../x", "/")
	fuzz(f, ".tap")
}

// fuzz starts from the reports with an extension.
func fuzz(f *testing.F, extension string) {
	for _, file := range reports(f) {
		if filepath.Ext(file) != extension {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content), "/app")
	}
	f.Fuzz(func(t *testing.T, content, root string) {
		cases, problems, err := gather(strings.NewReader(content), root)
		if err != nil {
			t.Fatalf("an error without one of the reader: %v", err)
		}
		if len(cases) == 0 && len(problems) == 0 {
			t.Error("nothing was read, and there is no problem")
		}
		seen := map[string]bool{}
		for _, c := range cases {
			check(t, c)
			if seen[c.ID()] {
				t.Errorf("%q is there twice", c.ID())
			}
			seen[c.ID()] = true
		}
		if _, err := json.Marshal(cases); err != nil {
			t.Error(err)
		}
	})
}

func check(t *testing.T, c evidence.Case) {
	t.Helper()
	for _, text := range []struct {
		name, is string
		max      int
	}{
		// A number may follow the name, and what was forbidden is longer when it is replaced.
		{"name", c.Name, maxName + 16}, {"class", c.Class, maxName}, {"message", c.Message, evidence.MaxMessage},
		{"detail", c.Detail, evidence.MaxDetail}, {"output", c.Output, evidence.MaxOutput}, {"file", c.File, maxAttribute},
	} {
		if !utf8.ValidString(text.is) || len(text.is) > text.max {
			t.Errorf("%s of %d bytes: %.80q", text.name, len(text.is), text.is)
		}
	}
	if c.Name == "" || c.Status == "" || c.Seconds < 0 || c.Line < 0 {
		t.Errorf("a case that makes no sense: %+v", c)
	}
	if strings.HasPrefix(c.File, "/") || strings.HasPrefix(c.File, "../") || strings.Contains(c.File, `\`) {
		t.Errorf("the file %q is not in the repository", c.File)
	}
}
