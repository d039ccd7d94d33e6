// Command cluster brings up a real Kubernetes on this machine, for the tests
// of this project: no virtual machine, no container engine, nothing pulled
// from outside but Debian, npm and Go packages. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/w3evolutionsllc/conductor/test/cluster/internal/cache"
	"github.com/w3evolutionsllc/conductor/test/cluster/internal/plan"
)

const usage = `usage: cluster COMMAND

  up       bring the cluster up, or repair it, and check it
  down     end it and leave nothing behind
  status   say what runs; exit 1 if anything is not as it should be
  check    try everything that tests rely on
  env      print settings for a shell: eval "$(go run . env)"
  build    build the programs a cluster is made of (about 10 minutes the first time)
  images   make the images that the registry serves (about a minute the first time)
  databases  make databases under their usual names, and put them into the running cluster's registry
  add      bring up what a cluster can do without: add traefik metrics-server (built when it is asked for the first time)
  drop     take that away again
  program  print the path of a program that is built when it is asked for: program oras
  image    pack a static program into an image and push it: image -binary FILE -name NAME[:TAG]

CLUSTER_NAME     which cluster (default "default"); clusters share nothing
CLUSTER=existing use the cluster of KUBECONFIG: only up, check, status and env apply
CONDUCTOR_CACHE  where built things are kept (default: conductor in the user's cache directory)
CONDUCTOR_STATE  where clusters live (default /var/lib/conductor/clusters)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// program is what every command needs to know.
type program struct {
	out      io.Writer // the command's answer
	progress io.Writer // what it is doing
	sources  string    // the directory of this module
	cacheDir string
	root     string // where clusters live
	name     string // the cluster's name
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	if args[0] == serveHub {
		return serveHubCommand(ctx, args[1:])
	}
	p, err := newProgram(out, progress)
	if err != nil {
		return err
	}
	commands := map[string]func(context.Context, []string) error{
		"up": p.up, "down": p.down, "status": p.status, "check": p.check, "env": p.env,
		"build": p.build, "images": p.images, "databases": p.databases, "image": p.image, "add": p.add, "drop": p.drop, "program": p.program,
	}
	if os.Getenv("CLUSTER") == "existing" {
		commands = map[string]func(context.Context, []string) error{
			"up": p.existingCheck, "check": p.existingCheck, "status": p.existingStatus, "env": p.existingEnv,
		}
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("no command %q\n%s", args[0], usage)
	}
	return command(ctx, args[1:])
}

func newProgram(out, progress io.Writer) (*program, error) {
	p := &program{out: out, progress: progress, root: os.Getenv("CONDUCTOR_STATE"), name: os.Getenv("CLUSTER_NAME")}
	if p.root == "" {
		p.root = "/var/lib/conductor/clusters"
	}
	if p.name == "" {
		p.name = plan.First
	}
	var err error
	if p.cacheDir, err = cache.Dir(); err != nil {
		return nil, err
	}
	p.sources, err = sources()
	return p, err
}

// sources finds the directory of this module: the working directory under
// `go run`, else where it was compiled.
func sources() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	for _, dir := range []string{".", filepath.Dir(file)} {
		if _, err := os.Stat(filepath.Join(dir, "parts", "kubernetes", "go.mod")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", errors.New("run this in the directory test/cluster: the modules it builds lie there")
}
