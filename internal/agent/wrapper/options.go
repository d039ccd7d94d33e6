package wrapper

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// options are what Conductor's Job says.
type options struct {
	agentURL, tokenFile string
	key                 evidence.AttemptKey
	// timeout bounds the test, 0 does not; grace is between SIGTERM and SIGKILL; wait bounds the time without an agent before it.
	timeout, grace, wait time.Duration
	// junit and artifacts are patterns from the working directory.
	junit, artifacts []string
	// guess says that junit is where tools usually write: nothing there is no problem.
	guess bool
	// artifactsLimit is in bytes, as the agent's.
	artifactsLimit int64
	argv           []string
}

// parse reads the flags; what follows -- is the test's argv.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("wrap", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.agentURL, "agent", "", "")
	f.StringVar(&o.tokenFile, "token-file", "", "")
	f.StringVar(&o.key.Suite, "suite", "", "")
	f.IntVar(&o.key.Shard, "shard", 0, "")
	f.IntVar(&o.key.Number, "number", 1, "")
	f.DurationVar(&o.timeout, "timeout", 0, "")
	f.DurationVar(&o.grace, "grace", 10*time.Second, "")
	f.DurationVar(&o.wait, "wait", 15*time.Minute, "")
	f.Var((*list)(&o.junit), "junit", "")
	f.BoolVar(&o.guess, "junit-guess", false, "")
	f.Var((*list)(&o.artifacts), "artifacts", "")
	f.Int64Var(&o.artifactsLimit, "artifacts-limit", 512<<20, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.argv = f.Args()
	switch {
	case o.agentURL == "" || o.tokenFile == "" || o.key.Suite == "":
		return o, errors.New("--agent, --token-file and --suite are needed")
	case len(o.argv) == 0 || o.argv[0] == "":
		return o, errors.New("there is no program to run: its name and arguments come after --")
	}
	return o, nil
}

// list is a flag that can be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// words says a duration without its empty parts: 30m, not 30m0s.
func words(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// count says how many of a thing there are.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
