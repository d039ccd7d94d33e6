package wrapper

import (
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
)

// options are the arguments from Conductor's Job.
type options struct {
	agentURL, tokenFile string
	key                 evidence.AttemptKey
	// timeout limits the test, 0 means no limit; grace is the time from SIGTERM to SIGKILL; wait limits the time without a response from
	// the agent before the test starts.
	timeout, grace, wait time.Duration
	// junit and artifacts are the patterns of test reports and artifacts, absolute or relative to the working directory.
	junit, artifacts []string
	// guess means that junit holds default patterns. Finding no file is then not a problem.
	guess bool
	// artifactsLimit is in bytes and the same as the agent's.
	artifactsLimit int64
	argv           []string
}

// parse reads the flags and, after --, the test's argv.
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
		return o, errors.New("--agent, --token-file and --suite are required")
	case len(o.argv) == 0 || o.argv[0] == "":
		return o, errors.New("missing program: give its name and arguments after --")
	}
	return o, nil
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }
