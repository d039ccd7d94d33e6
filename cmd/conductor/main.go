// Conductor runs integration tests for GitHub repositories on Kubernetes. On a tag or a comment it runs the whole QA stack of that
// commit in a namespace of its own, tests it, reports the result on the issue, and keeps the stack for inspection.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; with go install it is the module's version.
var version = "dev"

func init() {
	if info, ok := debug.ReadBuildInfo(); version == "dev" && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
}

func main() {
	if status, ran := runFirst(os.Args[1:]); ran {
		os.Exit(status)
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

// exitCode is an error that only sets the exit status; the message is already printed.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// rootCommand returns the command with all its subcommands.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "conductor", Short: "Integration tests for GitHub repositories, on Kubernetes", Version: version,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(validateCommand(), planCommand(), convertCommand(), runsCommand(), deliveriesCommand(), drainCommand())
	root.AddCommand(containerCommands()...)
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "conductor %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		},
	})
	return root
}
