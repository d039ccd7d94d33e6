package testreport

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDialects reads what the tools write. All of them ran the same tests in /app: one that passes, one that fails, and one
// that is skipped, more or less.
func TestDialects(t *testing.T) {
	files := reports(t)
	if len(files) < 25 {
		t.Fatalf("found %d files", len(files))
	}
	for _, file := range files {
		tool := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		t.Run(tool, func(t *testing.T) {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			cases, problems, err := gather(in, "/app")
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(map[string]any{"cases": cases, "problems": problems}); err != nil {
				t.Fatal(err)
			}
			got := out.String()
			golden := filepath.Join("testdata", tool+".json")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestFailingLine is what matters most of the fixtures, so that a golden file written anew cannot hide its loss.
func TestFailingLine(t *testing.T) {
	for tool, want := range map[string]string{
		"jest": "src/cart.test.js:12", "mocha": "test/cart.js:14", "cypress": "cypress/e2e/cart.cy.js:14", "playwright": "tests/cart.spec.ts:14",
		"vitest": "test/cart.test.ts:10", "pytest": "tests/test_cart.py:14", "pytest-xunit1": "tests/test_cart.py:14",
		"gotestsum": "internal/cart/cart_test.go:14", "go-junit-report": "cart/cart_test.go:21", "surefire": "src/test/java/com/acme/shop/CartTest.java:21",
		"gradle": "src/test/kotlin/com/acme/shop/CartTest.kt:21", "phpunit": "tests/CartTest.php:21", "rspec": "spec/cart_spec.rb:14",
		"mstest": "tests/CartTests.cs:14", "xunit": "tests/CartTests.cs:14", "go-test": "boom/b_test.go:9", "node": "test/cart.test.js:11",
		"perl": "t/cart.t:4", "bats": "test/cart.bats:14", "node-tap": "test/total.js:12", "tap14": "t/cart.t:14",
		"nextest": "src/cart.rs:14", "dotnet": "tests/CartTests.cs:14", "ctest": "tests/cart_test.cpp:14", "googletest": "tests/cart_test.cpp:14",
	} {
		cases := parseFile(t, tool)
		found := false
		for _, c := range cases {
			if !c.Status.Bad() {
				continue
			}
			found = true
			if got := spotOf(c); got != want {
				t.Errorf("%s: %s failed at %s, want %s", tool, c.ID(), got, want)
			}
			if c.Message == "" || strings.EqualFold(c.Message, "failed") {
				t.Errorf("%s: %s has the message %q", tool, c.ID(), c.Message)
			}
			break
		}
		if !found {
			t.Errorf("%s: no bad case", tool)
		}
	}
}
