package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

func at(minute int) *time.Time {
	t := time.Date(2026, 11, 21, 10, minute, 0, 0, time.UTC)
	return &t
}

func sample() (evidence.Result, []evidence.Layer) {
	digest := "r.example/acme/shop/web@sha256:" + strings.Repeat("ab", 32)
	r := evidence.Result{
		SchemaVersion: 1, Run: "shop-1", Repository: "acme/shop", SHA: strings.Repeat("0123456789", 4), Ref: "refs/tags/run-integration-tests",
		Trust: "protected", Trigger: "tag", Actor: "anna", Outcome: "failed", Message: "1 of 3 tests failed", StartedAt: at(0), FinishedAt: at(3),
		Images:   []evidence.Image{{Name: "web", Reference: digest}},
		Services: []evidence.Service{{Name: "web", State: "Ready", Usage: &evidence.Usage{MemoryPeak: 100 << 20}}, {Name: "db", State: "Failed", Message: "exit code 1"}},
		Notes:    []string{"Not in this record: logs/build-web.log.gz: the build's pod is gone"},
		Suites: []evidence.Suite{{
			Name: "e2e", Outcome: "failed", StartedAt: at(1), FinishedAt: at(2), Totals: &evidence.Totals{Tests: 3, Passed: 2, Failed: 1, Flaky: 1},
			Attempts: []evidence.Attempt{{AttemptKey: evidence.AttemptKey{Suite: "e2e", Number: 1}, Problems: []string{"reports/*.xml matched no file"}}},
			Cases: []evidence.Case{
				{Class: "Cart", Name: "adds", File: "cart_test.go", Line: 12, Status: evidence.Failed, Message: "want 2\n\x1b[31mgot 3\x1b[0m\r\nprivate \u202ereversed"},
				{Class: "Cart", Name: "removes", Status: evidence.Passed, Flaky: true},
				{Class: "Cart", Name: "is there", Status: evidence.Passed},
			},
		}, {Name: "unit", Outcome: "passed"}},
	}
	layers := []evidence.Layer{{Name: "result.json", Size: 812}, {Name: "logs/test-e2e-0-1.log.gz", Size: 3 << 20}}
	return r, layers
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	r, layers := sample()
	if err := Print(&b, "r.example/records/acme/shop:shop-1", "sha256:"+strings.Repeat("cd", 32), r, layers); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "failed.txt")
	want, err := os.ReadFile(file)
	if diff := cmp.Diff(string(want), b.String()); diff != "" || err != nil {
		t.Errorf("%s (-want +got), %v:\n%s", file, err, diff)
	}
	if i := strings.IndexFunc(b.String(), func(r rune) bool { return r == 0x1b || r == '\r' || r == 0x202e }); i >= 0 {
		t.Errorf("a control character at %d", i)
	}
}

func TestPrintOfAnEmptyResult(t *testing.T) {
	var b bytes.Buffer
	if err := Print(&b, "", "", evidence.Result{}, nil); err != nil || b.Len() == 0 {
		t.Errorf("%q, %v", b.String(), err)
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("no room")
	}
	return len(p), nil
}

func TestPrintTellsThatItCouldNot(t *testing.T) {
	r, layers := sample()
	var whole bytes.Buffer
	if err := Print(&whole, "reference", "digest", r, layers); err != nil {
		t.Fatal(err)
	}
	for left := range whole.Len() {
		if Print(&full{left}, "reference", "digest", r, layers) == nil {
			t.Fatalf("with room for %d bytes there was no error", left)
		}
	}
}
