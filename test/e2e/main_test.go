//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/test/lab"
)

// here is the lab that all tests share. Tests that change Conductor itself run first, one after the other; the others run in parallel with
// a repository each.
var here *lab.Lab

// values are the chart's values unless a test changes them.
var values = map[string]any{}

// sideBySide is how many tests run at once: they mostly wait for the kubelet.
const sideBySide = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["test.parallel"] {
		_ = flag.Set("test.parallel", sideBySide)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var err error
	if here, err = lab.New(ctx, lab.Options{Values: values, Out: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "there is no lab:", err)
		return 1
	}
	defer here.Close()
	if err := haunt(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if problems := verdict(context.Background()); len(problems) > 0 {
		for _, p := range problems {
			fmt.Fprintln(os.Stderr, "FAIL: after all tests:", p)
		}
		return max(code, 1)
	}
	return code
}
