// Conductor runs integration tests for GitHub repositories on Kubernetes: a tag, a comment or an agent asks, and the
// whole QA stack of that commit runs in a namespace of its own, is tested, reported on the issue, and stays to be looked at.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/agent/wrapper"
)

// version is set by the linker.
var version = "dev"

func main() {
	// The wrapper forwards every signal to the test, and starts before anything else is set up.
	if len(os.Args) > 1 && os.Args[1] == "wrap" {
		os.Exit(wrapper.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == planChild {
		if err := runPlanChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "conductor:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	var code exitCode
	if errors.As(err, &code) {
		os.Exit(int(code))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conductor:", err)
		os.Exit(2)
	}
}

// exitCode ends the program with a status of its own, after everything was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// rootCommand is the whole command line.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "conductor", Short: "Integration tests for GitHub repositories, on Kubernetes", Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), drainCommand(), validateCommand(), planCommand(), convertCommand(), runsCommand(),
		agentCommand(), wrapCommand(), installCommand(), waitCommand(), filesCommand())
	return root
}
