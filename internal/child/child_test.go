package child

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// TestMain is the child, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if err := Confine(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		act(os.Args[2])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// kept is what the child holds on to.
var kept [][]byte

func act(what string) {
	switch what {
	case "copy":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "environment":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "memory": // As fast as it gets: no sample of the resident size comes between.
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "slow memory":
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
			time.Sleep(time.Millisecond)
		}
	case "cpu":
		for n := 0; ; n++ {
			kept = [][]byte{{byte(n)}}
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "crash":
		fmt.Fprintln(os.Stderr, "the reason")
		os.Exit(5)
	}
}

func run(t *testing.T, limits Limits, what, input string) (string, Usage, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	used, err := Runner{Limits: limits}.Run(t.Context(), []string{"child", what}, []byte(input), out, "test this")
	data, rerr := os.ReadFile(out.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	return string(data), used, err
}

var small = Limits{Memory: 64 << 20, CPU: time.Second, Deadline: time.Minute}

func TestAChildReadsAndWrites(t *testing.T) {
	out, used, err := run(t, small, "copy", "some input")
	if err != nil || out != "some input" {
		t.Errorf("%q, %v", out, err)
	}
	if used.Memory < 1<<20 || used.Memory > small.Memory {
		t.Errorf("%d bytes were resident", used.Memory)
	}
}

func TestAChildGetsNothingOfTheEnvironment(t *testing.T) {
	t.Setenv("SOME_TOKEN", "hunter2")
	out, _, err := run(t, small, "environment", "")
	if err != nil || !strings.Contains(out, "GOMEMLIMIT=") || strings.Contains(out, "hunter2") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestWhatHitsALimitIsRefused(t *testing.T) {
	for _, tc := range []struct {
		what   string
		limits Limits
		kind   failure.Kind
		want   string
	}{
		{"memory", small, failure.Terminal, "Could not test this: it needs more than 64 MiB of memory"},
		{"slow memory", small, failure.Terminal, "Could not test this: it needs more than 64 MiB of memory"},
		{"cpu", small, failure.Terminal, "Could not test this: it needs more than 1 seconds of CPU time"},
		{"sleep", Limits{Memory: small.Memory, CPU: small.CPU, Deadline: 200 * time.Millisecond}, failure.Transient, "within 200ms"},
		{"crash", small, failure.Transient, "ended"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			_, used, err := run(t, tc.limits, tc.what, "")
			f := failure.Of(err)
			if f == nil || f.Kind != tc.kind || !strings.Contains(f.Sentence, tc.want) {
				t.Errorf("%v", err)
			}
			if most := tc.limits.Memory + slack; used.Memory > most {
				t.Errorf("%d bytes were resident, and %d can be mapped", used.Memory, most)
			}
		})
	}
}

func TestTheCauseIsForOperators(t *testing.T) {
	_, _, err := run(t, small, "crash", "")
	if err == nil || !strings.Contains(err.Error(), "the reason") || strings.Contains(failure.Of(err).Sentence, "the reason") {
		t.Errorf("%v", err)
	}
}

func TestAChildEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := (Runner{Limits: small}).Run(ctx, []string{"child", "sleep"}, nil, out, "test this"); err == nil || failure.IsTerminal(err) {
		t.Errorf("%v", err)
	}
}
