package testreport

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// gather parses a file whole.
func gather(r io.Reader, root string) (cases []evidence.Case, problems []string, err error) {
	problems, err = Parse(r, root, func(c evidence.Case) error {
		cases = append(cases, c)
		return nil
	})
	return cases, problems, err
}

// reports lists the reports in testdata, without their golden files.
func reports(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return filepath.Ext(file) == ".json" })
}

func parseFile(t *testing.T, tool string) []evidence.Case {
	t.Helper()
	i := slices.IndexFunc(reports(t), func(file string) bool { return strings.HasPrefix(filepath.Base(file), tool+".") })
	if i < 0 {
		t.Fatalf("no report of %s", tool)
	}
	in, err := os.Open(reports(t)[i])
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cases, _, err := gather(in, "/app")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// parse reads a text and expects as many problems as sentences are given, each with its words.
func parse(t *testing.T, content string, problems ...string) []evidence.Case {
	t.Helper()
	cases, got, err := gather(strings.NewReader(content), "/app")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(problems) {
		t.Fatalf("problems %q, want %q", got, problems)
	}
	for i := range got {
		if !strings.Contains(got[i], problems[i]) {
			t.Errorf("problem %q, want %q", got[i], problems[i])
		}
	}
	return cases
}

func spotOf(c evidence.Case) string { return fmt.Sprintf("%s:%d", c.File, c.Line) }
